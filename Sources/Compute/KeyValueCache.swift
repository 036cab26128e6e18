import Kernels
import Parallel
import Support
import Tensors

/// Keys and values of one layer, in the layout its attention reads.
///
/// Keys are kept in blocks of 32 positions, `[heads][blocks][headDimension][32]`, so that the scores of 32 positions are one panel
/// product; values in slices of 32 columns, `[heads][slices][positions][32]`, so that the weighted sum of any positions is one too.
package final class KeyValueCache: @unchecked Sendable {
  package let heads: Int
  package let headDimension: Int
  /// Entries that fit.
  package let capacity: Int
  /// Entries there are; lowering it forgets the last ones.
  package var count: Int = 0 {
    willSet { precondition(newValue >= 0 && newValue <= capacity) }
  }
  /// `.float16` or `.float32`.
  package let type: ScalarType

  private let memory: AlignedMemory
  private let valuesOffset: Int

  /// Throws when memory is out, also where the measures are beyond counting.
  package init(heads: Int, headDimension: Int, capacity: Int, type: ScalarType) throws(ComputeError) {
    precondition(heads > 0 && headDimension > 0 && capacity >= 0 && type != .bfloat16)
    self.heads = heads
    self.headDimension = headDimension
    self.capacity = capacity
    self.type = type
    let bytes = KeyValueCache.byteCount(heads: heads, headDimension: headDimension, capacity: capacity, type: type)
    guard bytes < .max, let memory = AlignedMemory(byteCount: max(64, bytes)) else { throw .outOfMemory(bytes: bytes) }
    self.memory = memory
    valuesOffset = heads * KeyValueCache.blocks(capacity) * KeyValueCache.block * headDimension * type.size
  }

  /// Bytes that a cache of these measures takes; `Int.max` where that is no number of bytes.
  package static func byteCount(heads: Int, headDimension: Int, capacity: Int, type: ScalarType) -> Int {
    let factors = [blocks(capacity) * block, headDimension + slices(headDimension) * block, type.size]
    return factors.reduce(heads) { product, factor in
      let (result, overflow) = product.multipliedReportingOverflow(by: factor)
      return overflow ? .max : result
    }
  }

  /// Positions in a block of keys, columns in a slice of values.
  static let block = 32
  private static func blocks(_ positions: Int) -> Int { positions / block + (positions % block == 0 ? 0 : 1) }
  private static func slices(_ headDimension: Int) -> Int { (headDimension + block - 1) / block }

  /// Slices of 32 columns that a head's values take.
  var slices: Int { KeyValueCache.slices(headDimension) }

  /// `[headDimension][32]`: the keys of positions `32 · block ...`.
  func keys(head: Int, block: Int) -> UnsafeMutableRawPointer {
    memory.base + (head * KeyValueCache.blocks(capacity) + block) * headDimension * KeyValueCache.block * type.size
  }

  /// `[positions][32]`: columns `32 · slice ...` of the values from `position` on; zeros beyond `headDimension`.
  func values(head: Int, slice: Int, position: Int) -> UnsafeMutableRawPointer {
    let rows = (head * slices + slice) * KeyValueCache.blocks(capacity) * KeyValueCache.block + position
    return memory.base + valuesOffset + rows * KeyValueCache.block * type.size
  }

  /// The memory of the first `count` entries, run by run: as many runs, and of the same lengths, in every cache of these heads and this
  /// type, whatever its capacity. So entries can be copied from cache to cache, and kept in files.
  package func runs(_ count: Int) -> [UnsafeMutableRawBufferPointer] {
    precondition(count >= 0 && count <= capacity)
    if count == 0 { return [] }
    let keyBytes = KeyValueCache.blocks(count) * KeyValueCache.block * headDimension * type.size
    let valueBytes = count * KeyValueCache.block * type.size
    var runs: [UnsafeMutableRawBufferPointer] = []
    for head in 0..<heads {
      runs.append(UnsafeMutableRawBufferPointer(start: keys(head: head, block: 0), count: keyBytes))
      for slice in 0..<slices {
        runs.append(UnsafeMutableRawBufferPointer(start: values(head: head, slice: slice, position: 0), count: valueBytes))
      }
    }
    return runs
  }

  /// Bytes of all `runs(count)` of a cache of these measures.
  package static func runBytes(heads: Int, headDimension: Int, count: Int, type: ScalarType) -> Int {
    heads * (blocks(count) * headDimension + slices(headDimension) * count) * block * type.size
  }

  /// Takes over `count` entries from the bytes that `runs(count)` had in another cache, one run after the other: `runBytes(…)` of them.
  package func restore(_ count: Int, from bytes: UnsafeRawBufferPointer) {
    let runs = runs(count)
    precondition(bytes.count == runs.reduce(0) { $0 + $1.count })
    var start = 0
    for run in runs {
      run.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + run.count]))
      start += run.count
    }
    self.count = count
  }

  /// The same entries with room for more.
  package func grown(to capacity: Int) throws(ComputeError) -> KeyValueCache {
    precondition(capacity >= count)
    let larger = try KeyValueCache(heads: heads, headDimension: headDimension, capacity: capacity, type: type)
    larger.count = count
    for (target, source) in zip(larger.runs(count), runs(count)) { target.copyMemory(from: UnsafeRawBufferPointer(source)) }
    return larger
  }

  /// Adds rows: `keys`, `values` `[tokens, heads · headDimension]` (any stride, so that one may be columns of a wider matrix).
  /// With `interleaved`, `keys` holds both: per head its key, then its value, and `values` is nil.
  package func append(keys: Matrix, values: Matrix?, interleaved: Bool, using engine: Engine) {
    let width = heads * headDimension
    if interleaved {
      precondition(values == nil && keys.columns == 2 * width)
    } else {
      precondition(keys.columns == width && values?.columns == width && values?.rows == keys.rows)
    }
    let start = count
    let end = start + keys.rows
    precondition(end <= capacity)
    if keys.rows == 0 { return }
    let headStride = interleaved ? 2 * headDimension : headDimension
    let valueRows = values ?? keys[columns: headDimension..<keys.columns]
    let firstBlock = start / KeyValueCache.block
    let blocks = (end - 1) / KeyValueCache.block - firstBlock + 1
    let work = { (head: Int, block: Int) in
      let positions = max(start, block * KeyValueCache.block)..<min(end, (block + 1) * KeyValueCache.block)
      let column = head * headStride
      self.store(
        keys: keys.row(positions.lowerBound - start) + column, stride: keys.stride, head: head, positions: positions,
        using: engine.kernels.float)
      self.store(
        values: valueRows.row(positions.lowerBound - start) + column, stride: valueRows.stride, head: head, positions: positions,
        using: engine.kernels.float)
    }
    if keys.rows == 1 {
      for head in 0..<heads { work(head, firstBlock) }
    } else {
      engine.pool.forEachInRuns(heads * blocks) { index, _ in work(index % heads, firstBlock + index / heads) }
    }
    count = end
  }

  /// Keys of positions in one block.
  private func store(
    keys: UnsafePointer<Float>, stride: Int, head: Int, positions: Range<Int>, using kernels: FloatKernels
  ) {
    let block = KeyValueCache.block
    let target = self.keys(head: head, block: positions.lowerBound / block)
    let offset = positions.lowerBound % block
    withUnsafeTemporaryAllocation(of: Float.self, capacity: headDimension * block) { panel in
      guard let panel = panel.baseAddress else { return }
      kernels.packPanel(.float32, keys, stride, positions.count, headDimension, panel)
      if positions.count == block {
        store(panel, headDimension * block, target, kernels)
        return
      }
      for d in 0..<headDimension {
        store(panel + d * block, positions.count, target + (d * block + offset) * type.size, kernels)
      }
    }
  }

  private func store(
    values: UnsafePointer<Float>, stride: Int, head: Int, positions: Range<Int>, using kernels: FloatKernels
  ) {
    for slice in 0..<slices {
      let column = slice * KeyValueCache.block
      let columns = min(KeyValueCache.block, headDimension - column)
      for (row, position) in positions.enumerated() {
        store(values + row * stride + column, columns, self.values(head: head, slice: slice, position: position), kernels)
      }
    }
  }

  /// `count` floats in the cache's type.
  private func store(_ from: UnsafePointer<Float>, _ count: Int, _ to: UnsafeMutableRawPointer, _ kernels: FloatKernels) {
    if type == .float16 {
      kernels.toHalf(from, count, to.assumingMemoryBound(to: UInt16.self))
    } else {
      to.assumingMemoryBound(to: Float.self).update(from: from, count: count)
    }
  }
}
