import Kernels
import Parallel
import Support
import Tensors

/// One block of memory that grows to the largest request. What it held before is gone after each.
final class Scratch {
  private var memory: AlignedMemory?

  var byteCount: Int { memory?.byteCount ?? 0 }

  /// At least `bytes`, at a 64-byte boundary, with undefined contents.
  func reserve(_ bytes: Int) throws(ComputeError) -> UnsafeMutableRawPointer {
    if let memory, memory.byteCount >= bytes { return memory.base }
    memory = nil
    guard let larger = AlignedMemory(byteCount: max(64, bytes)) else { throw .outOfMemory(bytes: bytes) }
    memory = larger
    return larger.base
  }

  /// `workers` parts of at least `bytes` each, at 64-byte boundaries.
  func reserve(_ bytes: Int, workers: Int) throws(ComputeError) -> WorkerScratch {
    // A page apart, so that workers share no cache line and no page.
    let stride = (bytes + 4095) / 4096 * 4096
    return WorkerScratch(base: try reserve(stride * workers), stride: stride)
  }
}

/// A part of scratch memory for each worker of a loop.
struct WorkerScratch {
  let base: UnsafeMutableRawPointer
  let stride: Int

  subscript(worker: Int) -> UnsafeMutableRawPointer { base + worker * stride }
}

/// Lays out several arrays in one block of scratch memory, each at a 64-byte boundary.
struct ScratchLayout {
  private(set) var byteCount = 0

  /// The offset of room for `count` values.
  mutating func add<Value: BitwiseCopyable>(_ count: Int, of _: Value.Type) -> Int {
    defer { byteCount += (count * MemoryLayout<Value>.stride + 63) / 64 * 64 }
    return byteCount
  }
}

extension UnsafeMutableRawPointer {
  /// The values from `offset` bytes on.
  func values<Value: BitwiseCopyable>(_ offset: Int, of type: Value.Type) -> UnsafeMutablePointer<Value> {
    (self + offset).assumingMemoryBound(to: type)
  }
}

/// The measures of a model that scratch memory depends on.
package struct ScratchMeasures: Sendable {
  /// Columns of the widest input of a linear layer.
  package var widestInput: Int
  /// Query heads, key heads and their size.
  package var heads: Int
  package var keyHeads: Int
  package var headDimension: Int
  /// Positions in a row of the widest map of a depthwise convolution; 0 where there is none.
  package var mapWidth: Int
  /// Tokens of an encoder, each of which sees all; 0 where there is none.
  package var encoderTokens: Int

  package init(widestInput: Int, heads: Int, keyHeads: Int, headDimension: Int, mapWidth: Int, encoderTokens: Int = 0) {
    self.widestInput = widestInput
    self.heads = heads
    self.keyHeads = keyHeads
    self.headDimension = headDimension
    self.mapWidth = mapWidth
    self.encoderTokens = encoderTokens
  }
}

extension Engine {
  /// The most scratch memory that operators of these measures make an engine hold, however many tokens there are: for memory plans.
  /// Tables of rotary angles are not in it; they take `4 · headDimension` bytes for each token of the longest prompt.
  package static func scratchBytes(_ measures: ScratchMeasures, kernels: KernelTable, threads: Int) -> Int {
    // Inputs may be quantized for all three group sizes at once, each with what a token of the smallest group costs at most.
    let tokenBytes = 3 * (measures.widestInput + largestGroup) * 3 / 2
    let quantized = max(partBytes, 4 * tileTokens * tokenBytes) + (64 << 10)
    // Normalised inputs, and what is between the layers of a perceptron, at most as floats.
    let inner = max(partBytes, 4 * tileTokens * measures.widestInput * MemoryLayout<Float>.stride)
    let block = max(4 * tileTokens, kernels.quantized.inputBlockBytes / (PanelProduct.floatBlock * MemoryLayout<Float>.stride))
    let packed = PanelProduct.floatBlock * panelRows * MemoryLayout<Float>.stride
    let decoded = QuantizedScheme.bitChoices.map {
      kernels.quantized.scratchBytes(bits: $0, columns: measures.widestInput + largestGroup)
    }
    let linear =
      block * (2 * panelRows + largestGroup) * MemoryLayout<Float>.stride + max(decoded.max() ?? 0, 2 * packed)

    let group = max(1, measures.heads / max(1, measures.keyHeads))
    let rows = max(AttentionTile.rows, group)
    let width = (measures.headDimension + KeyValueCache.block) * MemoryLayout<Float>.stride
    let state = rows * (width + 8)
    var digits = ScratchLayout()
    _ = AttentionDigits.Layout(rows: rows, headDimension: measures.headDimension, kernels, in: &digits)
    // The greater of what keys and values of 8 bits take and of what others do.
    let tile =
      2 * rows * (width + AttentionTile.chunk * 4)
      + max(digits.byteCount, KeyValueCache.block * max(measures.headDimension, AttentionTile.chunk) * 4)
    // Without a cache, as int8; of floats it takes less than state and tile.
    let coded = CodedEntries(count: measures.encoderTokens, dimension: measures.headDimension, heads: measures.keyHeads)
    let encoder =
      measures.encoderTokens == 0
      ? (shared: 0, worker: 0) : (shared: coded.byteCount, worker: CodedAttentionLayout(coded, kernels).byteCount)
    let partials = 2 * AttentionTile.fewestTasks * state

    // Of narrower maps a task may take more rows, but not more positions.
    let rowsOfOne = max(stripPositions, 8 * (measures.mapWidth + 6))
    let convolution =
      (depthwiseScratchCount(rows: 0, width: measures.mapWidth) + rowsOfOne * depthwiseBlockChannels) * MemoryLayout<Float>.stride
    // Parts begin at pages, and their arrays at cache lines.
    let worker = max(linear, state + tile, encoder.worker, convolution, normScratchBytes(columns: measures.widestInput)) + 8192
    return max(quantized, partials, encoder.shared) + 2 * inner + threads * worker
  }
}
