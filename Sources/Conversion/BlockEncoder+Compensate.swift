import Parallel
import Quantization
import Support
import Tensors

extension BlockEncoder {
  /// Rows are quantized by GPTQ, many together by all threads.
  var compensates: Bool { method == .gptq && treatment.compensation != nil && layout != nil }

  /// Encodes `rows`, whole panels unless they are the last, to the planes' places. Returns whether all values were finite.
  func compensate(
    _ rows: Range<Int>, to planes: [UnsafeMutableRawPointer], scratch: [ConversionScratch], _ pool: ThreadPool
  ) throws(ConversionError) -> Bool {
    guard let layout, let compensation = treatment.compensation else { return true }
    let gptq = GPTQ(layout, compensation.factor, compensation.kernels)
    let byteCount = rows.count * gptq.stride * MemoryLayout<Float>.stride
    guard let memory = AlignedMemory(byteCount: byteCount) else { throw .outOfMemory(bytes: byteCount) }
    let weights = memory.base.assumingMemoryBound(to: Float.self)
    let blocks = (rows.count + QuantizedLayout.panelRows - 1) / QuantizedLayout.panelRows
    var finite = [Bool](repeating: true, count: blocks)
    try finite.withUnsafeMutableBufferPointer { finite throws(ConversionError) in
      try read(rows, to: weights, stride: gptq.stride, finite, scratch: scratch, pool)
    }
    var isDone = true
    var failure: QuantizationError?
    do throws(QuantizationError) {
      isDone = try gptq.quantize(
        weights, rows: rows.count, codes: planes[0], scales: planes[1].assumingMemoryBound(to: UInt16.self),
        minima: layout.scheme.isSymmetric ? nil : planes[2].assumingMemoryBound(to: UInt16.self), pool)
    } catch { failure = error }
    if let failure { throw try refusal(of: failure, rows, scratch[0]) }
    if !isDone { throw .outOfMemory(bytes: byteCount) }
    return finite.allSatisfy { $0 }
  }

  /// Reads rows as floats, 32 by each thread, and notes for each 32 whether all were finite; those that were not become 0.
  private func read(
    _ rows: Range<Int>, to weights: UnsafeMutablePointer<Float>, stride: Int, _ finite: UnsafeMutableBufferPointer<Bool>,
    scratch: [ConversionScratch], _ pool: ThreadPool
  ) throws(ConversionError) {
    nonisolated(unsafe) let finite = finite
    try pool.forEach(finite.count) { index, worker throws(ConversionError) in
      let first = index * QuantizedLayout.panelRows
      let block = rows.lowerBound + first..<min(rows.upperBound, rows.lowerBound + first + QuantizedLayout.panelRows)
      let target = weights + first * stride
      finite[index] = try source.floats(block, to: target, stride: stride, scratch: scratch[worker])
      guard !finite[index] else { return }
      try refuseNonfinite(block, scratch[worker])
      for row in 0..<block.count {
        for column in 0..<source.columns where !target[row * stride + column].isFinite { target[row * stride + column] = 0 }
      }
    }
  }
}
