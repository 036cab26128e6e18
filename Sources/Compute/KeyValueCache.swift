import Kernels
import Parallel
import Support
import Tensors

/// What keys and values are kept as.
package enum KeyValueType: String, Sendable, CaseIterable {
  case float32, float16
  /// Codes of 8 bits; keys with a scale for some of a position's values in a head, values with one for all of them.
  case int8

  package init?(bits: Int) {
    guard let type = Self.allCases.first(where: { $0.bits == bits }) else { return nil }
    self = type
  }

  /// Bits of a value, scales apart.
  package var bits: Int {
    switch self {
    case .float32: 32
    case .float16: 16
    case .int8: 8
    }
  }
}

/// Keys and values of one layer, in the layout its attention reads.
///
/// Keys are kept in blocks of 32 positions, `[heads][blocks][headDimension][32]`, so that the scores of 32 positions are one panel
/// product; values in slices of 32 columns, `[heads][slices][positions][32]`, so that the weighted sum of any positions is one too.
///
/// Of 8 bits, a block of keys is a `QuantizedPanel` with positions as rows, its codes and then its scales; a slice of values is one with
/// columns as rows and positions as inputs, `[positions / 4][32][4]`. A panel's scales are its rows', but values have theirs by position:
/// those are multiplied into the weights before the product.
package final class KeyValueCache: @unchecked Sendable {
  package let heads: Int
  package let headDimension: Int
  /// Entries that fit.
  package let capacity: Int
  /// Entries there are; lowering it forgets the last ones.
  package var count: Int = 0 {
    willSet { precondition(newValue >= 0 && newValue <= capacity) }
  }
  package let type: KeyValueType

  private let memory: AlignedMemory
  private let valuesOffset: Int
  private let scalesOffset: Int

  /// Throws when memory is out, also where the measures are beyond counting.
  package init(heads: Int, headDimension: Int, capacity: Int, type: KeyValueType) throws(ComputeError) {
    precondition(heads > 0 && headDimension > 0 && capacity >= 0)
    self.heads = heads
    self.headDimension = headDimension
    self.capacity = capacity
    self.type = type
    let bytes = KeyValueCache.byteCount(heads: heads, headDimension: headDimension, capacity: capacity, type: type)
    guard bytes < .max, let memory = AlignedMemory(byteCount: max(64, bytes)) else { throw .outOfMemory(bytes: bytes) }
    self.memory = memory
    let blocks = heads * KeyValueCache.blocks(capacity)
    valuesOffset = blocks * KeyValueCache.keyBlockBytes(headDimension, type)
    scalesOffset = valuesOffset + blocks * KeyValueCache.slices(headDimension) * KeyValueCache.block * KeyValueCache.block * type.bits / 8
  }

  /// Bytes that a cache of these measures takes; `Int.max` where that is no number of bytes.
  package static func byteCount(heads: Int, headDimension: Int, capacity: Int, type: KeyValueType) -> Int {
    let ofBlock =
      keyBlockBytes(headDimension, type) + slices(headDimension) * block * block * type.bits / 8 + block * valueScaleBytes(type)
    return [blocks(capacity), ofBlock].reduce(heads) { product, factor in
      let (result, overflow) = product.multipliedReportingOverflow(by: factor)
      return overflow ? .max : result
    }
  }

  /// Positions in a block of keys, columns in a slice of values.
  static let block = 32
  private static func blocks(_ positions: Int) -> Int { positions / block + (positions % block == 0 ? 0 : 1) }
  private static func slices(_ headDimension: Int) -> Int { (headDimension + block - 1) / block }

  /// Values of a key that share a scale, where keys have 8 bits.
  static func keyGroup(_ headDimension: Int) -> Int { headDimension % 64 == 0 ? 64 : 32 }
  static func keyGroups(_ headDimension: Int) -> Int {
    (headDimension + keyGroup(headDimension) - 1) / keyGroup(headDimension)
  }

  private static func keyBlockBytes(_ headDimension: Int, _ type: KeyValueType) -> Int {
    guard type == .int8 else { return headDimension * block * type.bits / 8 }
    return keyGroups(headDimension) * block * (keyGroup(headDimension) + MemoryLayout<UInt16>.size)
  }

  /// Of a position.
  private static func valueScaleBytes(_ type: KeyValueType) -> Int { type == .int8 ? MemoryLayout<Float>.size : 0 }

  /// Slices of 32 columns that a head's values take.
  var slices: Int { KeyValueCache.slices(headDimension) }

  /// `[headDimension][32]`: the keys of positions `32 · block ...`; of 8 bits a panel's codes, and then its scales.
  func keys(head: Int, block: Int) -> UnsafeMutableRawPointer {
    memory.base + (head * KeyValueCache.blocks(capacity) + block) * KeyValueCache.keyBlockBytes(headDimension, type)
  }

  /// Keys of 8 bits.
  func keyPanel(head: Int, block: Int) -> QuantizedPanel {
    let (codes, group, groups) = (
      keys(head: head, block: block), KeyValueCache.keyGroup(headDimension), KeyValueCache.keyGroups(headDimension)
    )
    let scales = (codes + groups * group * KeyValueCache.block).assumingMemoryBound(to: UInt16.self)
    return QuantizedPanel(codes: codes, scales: scales, minima: nil, groups: groups, group: group)
  }

  /// `[positions][32]`: columns `32 · slice ...` of the values from `position` on; zeros beyond `headDimension`. Of 8 bits
  /// `[positions / 4][32][4]`, and `position` a multiple of 4.
  func values(head: Int, slice: Int, position: Int) -> UnsafeMutableRawPointer {
    let rows = (head * slices + slice) * KeyValueCache.blocks(capacity) * KeyValueCache.block + position
    return memory.base + valuesOffset + rows * KeyValueCache.block * type.bits / 8
  }

  /// Scales of the values of 8 bits, from `position` on.
  func valueScales(head: Int, position: Int) -> UnsafeMutablePointer<Float> {
    (memory.base + scalesOffset).assumingMemoryBound(to: Float.self) + head * KeyValueCache.blocks(capacity) * KeyValueCache.block
      + position
  }

  /// The memory of the first `count` entries, run by run: as many runs, and of the same lengths, in every cache of these heads and this
  /// type, whatever its capacity. So entries can be copied from cache to cache, and kept in files.
  package func runs(_ count: Int) -> [UnsafeMutableRawBufferPointer] {
    precondition(count >= 0 && count <= capacity)
    if count == 0 { return [] }
    let bytes = KeyValueCache.runBytes(headDimension, count, type)
    var runs: [UnsafeMutableRawBufferPointer] = []
    for head in 0..<heads {
      runs.append(UnsafeMutableRawBufferPointer(start: keys(head: head, block: 0), count: bytes.keys))
      for slice in 0..<slices {
        runs.append(UnsafeMutableRawBufferPointer(start: values(head: head, slice: slice, position: 0), count: bytes.slice))
      }
      if bytes.scales > 0 {
        runs.append(UnsafeMutableRawBufferPointer(start: valueScales(head: head, position: 0), count: bytes.scales))
      }
    }
    return runs
  }

  /// Bytes of a head's keys, of each slice of its values and of their scales.
  private static func runBytes(_ headDimension: Int, _ count: Int, _ type: KeyValueType) -> (keys: Int, slice: Int, scales: Int) {
    let positions = type == .int8 ? (count + 3) / 4 * 4 : count
    return (blocks(count) * keyBlockBytes(headDimension, type), positions * block * type.bits / 8, count * valueScaleBytes(type))
  }

  /// Bytes of all `runs(count)` of a cache of these measures.
  package static func runBytes(heads: Int, headDimension: Int, count: Int, type: KeyValueType) -> Int {
    let bytes = runBytes(headDimension, count, type)
    return heads * (bytes.keys + slices(headDimension) * bytes.slice + bytes.scales)
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
    if type == .int8 { return storeCodes(keys: keys, stride: stride, head: head, positions: positions, using: kernels.codes) }
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
        store(panel + d * block, positions.count, target + (d * block + offset) * type.bits / 8, kernels)
      }
    }
  }

  private func store(
    values: UnsafePointer<Float>, stride: Int, head: Int, positions: Range<Int>, using kernels: FloatKernels
  ) {
    if type == .int8 { return storeCodes(values: values, stride: stride, head: head, positions: positions, using: kernels.codes) }
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

  // MARK: 8 bits

  private func storeCodes(
    keys: UnsafePointer<Float>, stride: Int, head: Int, positions: Range<Int>, using kernels: CodeKernels
  ) {
    let (group, first) = (KeyValueCache.keyGroup(headDimension), positions.lowerBound)
    let panel = self.keys(head: head, block: first / KeyValueCache.block)
    let scales = (panel + KeyValueCache.keyGroups(headDimension) * group * KeyValueCache.block).assumingMemoryBound(to: Float16.self)
    withUnsafeTemporaryAllocation(byteCount: group, alignment: 64) { codes in
      guard let codes = codes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
      for position in positions {
        let (x, lane) = (keys + (position - first) * stride, position % KeyValueCache.block)
        for index in 0..<KeyValueCache.keyGroups(headDimension) {
          let known = min(group, headDimension - index * group)
          let scale = KeyValueCache.keyScale(kernels.greatestMagnitude(x + index * group, known))
          scales[index * KeyValueCache.block + lane] = scale
          kernels.toCodes(x + index * group, known, KeyValueCache.inverse(Float(scale)), codes)
          (codes + known).update(repeating: 128, count: group - known)
          let target = panel + (index * group * KeyValueCache.block + 4 * lane)
          for word in 0..<group / 4 {
            (target + 128 * word).storeBytes(of: UnsafeRawPointer(codes).load(fromByteOffset: 4 * word, as: UInt32.self), as: UInt32.self)
          }
        }
      }
    }
  }

  private func storeCodes(
    values: UnsafePointer<Float>, stride: Int, head: Int, positions: Range<Int>, using kernels: CodeKernels
  ) {
    let (block, first) = (KeyValueCache.block, positions.lowerBound)
    withUnsafeTemporaryAllocation(byteCount: slices * block, alignment: 64) { codes in
      guard let codes = codes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
      (codes + headDimension).update(repeating: 128, count: slices * block - headDimension)
      for position in positions {
        let x = values + (position - first) * stride
        let scale = kernels.greatestMagnitude(x, headDimension) / 127
        valueScales(head: head, position: position)[0] = scale.isFinite ? scale : .nan
        kernels.toCodes(x, headDimension, KeyValueCache.inverse(scale), codes)
        for slice in 0..<slices {
          let target = (self.values(head: head, slice: slice, position: position / 4 * 4) + position % 4).assumingMemoryBound(
            to: UInt8.self)
          for column in 0..<block { target[4 * column] = codes[slice * block + column] }
        }
      }
    }
  }

  /// The next float16 that is not below: so that codes stay within −127 ... 127.
  private static func keyScale(_ greatest: Float) -> Float16 {
    guard greatest.isFinite else { return .nan }
    let scale = Float16(greatest / 127)
    return Float(scale) * 127 < greatest ? scale.nextUp : scale
  }

  /// What values are multiplied by to become codes; 0 where they have no scale.
  private static func inverse(_ scale: Float) -> Float {
    let inverse = 1 / scale
    return inverse.isFinite ? inverse : 0
  }
}
