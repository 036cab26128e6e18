import ModelFile
import Models
import Parallel
import Quantization
import Safetensors
import Support
import Tensors

/// Encodes blocks of rows of one tensor. Several threads may encode different blocks at once.
struct BlockEncoder {
  let source: RowSource
  let descriptor: TensorDescriptor
  private let allowsNonfinite: Bool
  /// nil where values are stored one by one.
  let layout: QuantizedLayout?
  let treatment: TensorTreatment
  let method: QuantizationMethod

  /// A plane of a block.
  struct Plane {
    var kind: PlaneKind
    /// Of a whole block.
    var byteCount: Int
    /// Where the last block may be short: bytes of a row.
    var rowByteCount: Int?

    func byteCount(blocks: Int, rows: Int) -> Int { rowByteCount.map { $0 * rows } ?? byteCount * blocks }
  }

  init(
    _ source: RowSource, _ descriptor: TensorDescriptor, _ treatment: TensorTreatment, method: QuantizationMethod, allowsNonfinite: Bool
  ) {
    self.treatment = treatment
    self.method = method
    self.source = source
    self.descriptor = descriptor
    self.allowsNonfinite = allowsNonfinite
    layout = descriptor.quantizedLayout
  }

  /// Rows of a block where the encoding prescribes them.
  var blockRows: Int? { layout == nil ? nil : QuantizedLayout.panelRows }

  func planes(rows: Int) -> [Plane] {
    guard let layout else {
      let rowByteCount = source.columns * (descriptor.encoding.valueSize ?? 0)
      return [Plane(kind: .values, byteCount: rows * rowByteCount, rowByteCount: rowByteCount)]
    }
    return descriptor.encoding.planes.map { kind in
      Plane(kind: kind, byteCount: kind == .codes ? layout.panelCodeBytes : layout.panelScaleBytes)
    }
  }

  /// Encodes `rows` to the planes' places. Returns whether all values were finite; throws if they were not and that is not allowed.
  func encode(
    _ rows: Range<Int>, to planes: [UnsafeMutableRawPointer], scratch: ConversionScratch
  ) throws(SlowFastError) -> Bool {
    if let layout { return try quantize(rows, layout, to: planes, scratch: scratch) }
    let isFinite: Bool
    let count = rows.count * source.columns
    switch descriptor.encoding {
    case .quantized: preconditionFailure("a panel has a layout")
    case .float(source.type) where !source.isChanged:
      try source.read(rows, into: planes[0])
      isFinite = source.type.areFinite(planes[0], count)
    case .float(.float32):
      let floats = planes[0].assumingMemoryBound(to: Float.self)
      isFinite = try source.floats(rows, to: floats, stride: source.columns, scratch: scratch)
    case .float(let type):
      let floats = try scratch.block(count: count)
      isFinite = try source.floats(rows, to: floats, stride: source.columns, scratch: scratch)
      type.encode(floats, count, to: planes[0])
      if isFinite && !type.areFinite(planes[0], count) { try refuseTooLarge(rows, limit: type.greatestMagnitude, scratch) }
    }
    if !isFinite { try refuseNonfinite(rows, scratch) }
    return isFinite
  }

  func refuseNonfinite(_ rows: Range<Int>, _ scratch: ConversionScratch) throws(SlowFastError) {
    guard !allowsNonfinite, let found = try source.first(in: rows, scratch: scratch, where: { !$0.isFinite }) else { return }
    throw .conversion(.nonFinite(tensor: source.tensor.name, index: found.index, value: found.value))
  }

  /// `limit`: the largest magnitude that can be stored.
  func refuseTooLarge(_ rows: Range<Int>, limit: Float, _ scratch: ConversionScratch) throws(SlowFastError) {
    guard let found = try source.first(in: rows, scratch: scratch, where: { $0.isFinite && abs($0) > limit }) else { return }
    throw .conversion(
      .weightTooLarge(tensor: source.tensor.name, index: found.index, value: found.value, limit: limit, encoding: descriptor.encoding))
  }
}

extension BlockEncoder {
  /// Rows are quantized by GPTQ, many together by all threads.
  var compensates: Bool { method == .gptq && treatment.compensation != nil && layout != nil }

  /// Encodes `rows`, whole panels unless they are the last, to the planes' places. Returns whether all values were finite.
  func compensate(
    _ rows: Range<Int>, to planes: [UnsafeMutableRawPointer], scratch: [ConversionScratch], _ pool: ThreadPool
  ) throws(SlowFastError) -> Bool {
    guard let layout, let compensation = treatment.compensation else { return true }
    let gptq = GPTQ(layout, compensation.factor, compensation.kernels)
    let byteCount = rows.count * gptq.stride * MemoryLayout<Float>.stride
    guard let memory = AlignedMemory(byteCount: byteCount) else { throw .conversion(.outOfMemory(bytes: byteCount)) }
    let weights = memory.base.assumingMemoryBound(to: Float.self)
    let blocks = (rows.count + QuantizedLayout.panelRows - 1) / QuantizedLayout.panelRows
    var finite = [Bool](repeating: true, count: blocks)
    try finite.withUnsafeMutableBufferPointer { finite throws(SlowFastError) in
      try read(rows, to: weights, stride: gptq.stride, finite, scratch: scratch, pool)
    }
    var isDone = true
    var failure: QuantizationError?
    do throws(QuantizationError) {
      isDone = try gptq.quantize(
        weights, rows: rows.count, codes: planes[0], scales: planes[1].assumingMemoryBound(to: UInt16.self),
        minima: layout.scheme.isSymmetric ? nil : planes[2].assumingMemoryBound(to: UInt16.self), pool)
    } catch { failure = error }
    if let failure { throw .conversion(try refusal(of: failure, rows, scratch[0])) }
    if !isDone { throw .conversion(.outOfMemory(bytes: byteCount)) }
    return finite.allSatisfy { $0 }
  }

  /// Reads rows as floats, 32 by each thread, and notes for each 32 whether all were finite; those that were not become 0.
  private func read(
    _ rows: Range<Int>, to weights: UnsafeMutablePointer<Float>, stride: Int, _ finite: UnsafeMutableBufferPointer<Bool>,
    scratch: [ConversionScratch], _ pool: ThreadPool
  ) throws(SlowFastError) {
    nonisolated(unsafe) let finite = finite
    try pool.forEach(finite.count) { index, worker throws(SlowFastError) in
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

extension BlockEncoder {
  /// Encodes one panel: up to 32 rows to codes, scales and, where the codes are asymmetric, minima.
  func quantize(
    _ rows: Range<Int>, _ layout: QuantizedLayout, to planes: [UnsafeMutableRawPointer], scratch: ConversionScratch
  ) throws(SlowFastError) -> Bool {
    let columns = source.columns
    let floats = try scratch.block(count: rows.count * columns)
    let isFinite = try source.floats(rows, to: floats, stride: columns, scratch: scratch)
    if !isFinite {
      try refuseNonfinite(rows, scratch)
      for index in 0..<rows.count * columns where !floats[index].isFinite { floats[index] = 0 }
    }
    var failure: QuantizationError?
    (treatment.moments ?? []).withUnsafeBufferPointer { moments in
      do throws(QuantizationError) {
        try layout.quantize(
          floats, stride: columns, rows: rows.count, PanelQuantizer(method, moments: treatment.moments == nil ? nil : moments.baseAddress),
          codes: planes[0], scales: planes[1].assumingMemoryBound(to: UInt16.self),
          minima: layout.scheme.isSymmetric ? nil : planes[2].assumingMemoryBound(to: UInt16.self))
      } catch { failure = error }
    }
    if let failure { throw .conversion(try refusal(of: failure, rows, scratch)) }
    return isFinite
  }

  /// The error in the checkpoint's terms: its first weight that is beyond the limit, by its place there.
  func refusal(
    of error: QuantizationError, _ rows: Range<Int>, _ scratch: ConversionScratch
  ) throws(SlowFastError) -> ConversionError {
    let name = source.tensor.name
    switch error {
    case .notFinite(let row, let column, let value): return .nonFinite(tensor: name, index: [rows.lowerBound + row, column], value: value)
    case .tooLarge(let row, let column, let value, let limit):
      try refuseTooLarge(rows, limit: limit, scratch)
      return .weightTooLarge(
        tensor: name, index: [rows.lowerBound + row, column], value: value, limit: limit, encoding: descriptor.encoding)
    }
  }
}

/// A checkpoint's tensor as rows of floats in the model file's layout.
struct RowSource {
  let checkpoint: Checkpoint
  let tensor: CheckpointTensor
  let type: ScalarType
  /// Of the model file's matrix; a vector, and a depthwise convolution, which is turned as a whole, are one row.
  let rows: Int
  let columns: Int
  /// Where a row is `[count][area]` in the checkpoint and `[area][count]` in the model file.
  private let turn: (count: Int, area: Int)?
  /// What each column, and each row, is multiplied with.
  private let columnFactors: [Float]?
  private let rowFactors: [Float]?

  /// nil for a type that holds no weights.
  init?(
    _ checkpoint: Checkpoint, _ tensor: CheckpointTensor, _ requirement: TensorRequirement, columnFactors: [Float]? = nil,
    rowFactors: [Float]? = nil
  ) {
    guard let type = tensor.type.scalar else { return nil }
    self.checkpoint = checkpoint
    self.tensor = tensor
    self.type = type
    let shape = requirement.shape
    let count = shape.reduce(1, *)
    switch requirement.layout {
    case .asStored:
      turn = nil
      rows = shape.count < 2 ? 1 : shape[0]
    case .patchMatrix:
      turn = (shape[1], shape[2] * shape[3])
      rows = shape[0]
    case .depthwise:
      turn = (shape[0], shape[2] * shape[3])
      rows = 1
    }
    columns = count / rows
    self.columnFactors = columnFactors
    self.rowFactors = rowFactors
    precondition((columnFactors?.count ?? columns) == columns && (rowFactors?.count ?? rows) == rows)
  }

  private var isTurned: Bool { turn != nil }
  /// The rows have other bytes than in a model file that stores values of the same type.
  var isChanged: Bool { isTurned || columnFactors != nil || rowFactors != nil }
  var rowByteCount: Int { columns * type.size }

  /// The bytes of these rows in the checkpoint's order.
  func read(_ rows: Range<Int>, into buffer: UnsafeMutableRawPointer) throws(SlowFastError) {
    try classified { () throws(CheckpointError) in
      let bytes = UnsafeMutableRawBufferPointer(start: buffer, count: rows.count * rowByteCount)
      try checkpoint.read(tensor, at: rows.lowerBound * rowByteCount, into: bytes)
    }
  }

  /// These rows as floats in the model file's order, `stride` floats from row to row; floats beyond `columns` are left alone.
  /// Returns whether all are finite.
  func floats(
    _ rows: Range<Int>, to floats: UnsafeMutablePointer<Float>, stride: Int, scratch: ConversionScratch
  ) throws(SlowFastError) -> Bool {
    let raw = try scratch.raw(byteCount: rows.count * rowByteCount)
    try read(rows, into: raw)
    var isFinite = true
    let turned = isTurned ? try scratch.row(count: columns) : nil
    for row in 0..<rows.count {
      let target = floats + row * stride
      let isRowFinite = type.decode(raw + row * rowByteCount, columns, to: turned ?? target)
      isFinite = isRowFinite && isFinite
      if let turned, let turn { Self.turn(turned, turn.count, turn.area, to: target) }
      if let factor = rowFactors?[rows.lowerBound + row] {
        for column in 0..<columns { target[column] *= factor }
      }
      columnFactors?.withUnsafeBufferPointer { factors in
        for column in 0..<columns { target[column] *= factors[column] }
      }
    }
    return isFinite
  }

  /// `[count][area]` to `[area][count]`.
  private static func turn(_ from: UnsafePointer<Float>, _ count: Int, _ area: Int, to: UnsafeMutablePointer<Float>) {
    for position in 0..<area {
      for index in 0..<count { to[position * count + index] = from[index * area + position] }
    }
  }

  /// The first value of these rows, in the checkpoint's order, that `isWanted`, and its index in the checkpoint's shape.
  func first(
    in rows: Range<Int>, scratch: ConversionScratch, where isWanted: (Float) -> Bool
  ) throws(SlowFastError) -> (index: [Int], value: Float)? {
    let raw = try scratch.raw(byteCount: rowByteCount)
    let values = try scratch.row(count: columns)
    for row in rows {
      try read(row..<row + 1, into: raw)
      type.decode(raw, columns, to: values)
      for column in 0..<columns where isWanted(values[column]) { return (index(of: row * columns + column), values[column]) }
    }
    return nil
  }

  private func index(of position: Int) -> [Int] {
    var rest = position
    var index: [Int] = []
    for size in tensor.shape.reversed() {
      index.insert(rest % size, at: 0)
      rest /= size
    }
    return index
  }
}

/// Memory of one worker, used again for one block after the other.
final class ConversionScratch: @unchecked Sendable {  // No two threads are the same worker at a time.
  private var memory: [AlignedMemory?] = [nil, nil, nil]

  /// Bytes as the checkpoint has them.
  func raw(byteCount: Int) throws(SlowFastError) -> UnsafeMutableRawPointer { try slot(0, byteCount) }
  /// A row before it is turned, or looked at.
  func row(count: Int) throws(SlowFastError) -> UnsafeMutablePointer<Float> { try slot(1, count * 4).assumingMemoryBound(to: Float.self) }
  /// Rows in the model file's order.
  func block(count: Int) throws(SlowFastError) -> UnsafeMutablePointer<Float> {
    try slot(2, count * 4).assumingMemoryBound(to: Float.self)
  }

  private func slot(_ index: Int, _ byteCount: Int) throws(SlowFastError) -> UnsafeMutableRawPointer {
    if let memory = memory[index], memory.byteCount >= byteCount { return memory.base }
    memory[index] = nil
    guard let new = AlignedMemory(byteCount: max(64, byteCount)) else { throw .conversion(.outOfMemory(bytes: byteCount)) }
    memory[index] = new
    return new.base
  }
}
