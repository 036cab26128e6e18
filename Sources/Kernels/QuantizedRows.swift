/// Tokens whose activations lie interleaved, on every machine: what the widest kernel takes at once.
@inlinable package var tileTokens: Int { 12 }

/// Activations as int8 with one scale per token and group: `activation[t][k] ≈ scale[t][g] · value[t][k]`.
///
/// Tokens come in tiles of `tileTokens`; only the last tile may be narrower. Within each plane a tile's numbers lie together, and within a
/// tile the tokens lie side by side, so that a kernel reads one stream from front to back whatever the shape. With `w` the tile's width:
/// - `values`: `[tile][columns / 4][w][4 inputs]`, or eights in place of fours (`QuantizedKernels.interleave`)
/// - `scales`, `sums`: `[tile][groups][w]`
/// - `offsets`: `[tile][columns / 32][w]`, of which a kernel table may use fewer.
///
/// Rows of one tile share cache lines: let one thread quantize a whole tile.
@usableFromInline package struct QuantizedRows: @unchecked Sendable {
  /// Each in −127 ... 127; zeros beyond the row's true length.
  @usableFromInline package var values: UnsafeMutablePointer<Int8>
  @usableFromInline package var scales: UnsafeMutablePointer<Float>
  /// Scale · sum of the group's values: what a group minimum of the weights is multiplied by.
  @usableFromInline package var sums: UnsafeMutablePointer<Float>
  /// What integer accumulators start from, in the form that the kernels of the same table want; not readable by another table's.
  @usableFromInline package var offsets: UnsafeMutablePointer<Int32>
  @usableFromInline package var count: Int
  /// Groups along the inputs.
  @usableFromInline package var groups: Int
  /// Inputs in a group: a multiple of 32, at most `largestGroup`.
  @usableFromInline package var group: Int

  /// Inputs of one token, padding included.
  @inlinable package var columns: Int { groups * group }
  @inlinable package var tiles: Int { (count + tileTokens - 1) / tileTokens }

  /// Rows to be written by `quantizeRows` in `byteCount(…)` bytes at a 64-byte boundary.
  @inlinable
  package init(memory: UnsafeMutableRawPointer, count: Int, groups: Int, group: Int) {
    let parts = QuantizedRows.parts(count: count, groups: groups, group: group)
    values = memory.assumingMemoryBound(to: Int8.self)
    scales = (memory + parts.values).assumingMemoryBound(to: Float.self)
    sums = (memory + parts.values + parts.scales).assumingMemoryBound(to: Float.self)
    offsets = (memory + parts.values + 2 * parts.scales).assumingMemoryBound(to: Int32.self)
    self.count = count
    self.groups = groups
    self.group = group
  }

  /// Bytes that rows of these measures take: about 1 + 4 / 32 + 8 / group for each value.
  @inlinable
  package static func byteCount(count: Int, groups: Int, group: Int) -> Int {
    let parts = parts(count: count, groups: groups, group: group)
    return parts.values + 2 * parts.scales + parts.offsets
  }

  /// Bytes of each plane, rounded up so that the next one begins at a 64-byte boundary.
  @usableFromInline
  static func parts(count: Int, groups: Int, group: Int) -> (values: Int, scales: Int, offsets: Int) {
    func rounded(_ bytes: Int) -> Int { (bytes + 63) & ~63 }
    return (rounded(count * groups * group), rounded(count * groups * 4), rounded(count * groups * group / 32 * 4))
  }

  /// Some of the tiles, as rows of their own: for callers that multiply a block of tokens at a time.
  @inlinable
  package func tiles(_ range: Range<Int>) -> QuantizedRows {
    var part = self
    let first = range.lowerBound * tileTokens
    part.values += first * columns
    part.scales += first * groups
    part.sums += first * groups
    part.offsets += first * columns / 32
    part.count = smaller(range.upperBound * tileTokens, count) - first
    return part
  }
}

/// Where one token's numbers go from a group on, a tile's width apart: what `quantizeRows` writes to.
@usableFromInline package struct QuantizedRowPlace {
  /// The first values that lie side by side, `interleave` of them; the next ones are as many times `width` bytes on.
  @usableFromInline package var values: UnsafeMutableRawPointer
  /// Of the first group; the next one's are `width` on.
  @usableFromInline package var scales: UnsafeMutablePointer<Float>
  @usableFromInline package var sums: UnsafeMutablePointer<Float>
  /// Of the first group; the next one's are `offsetsPerGroup · width` on.
  @usableFromInline package var offsets: UnsafeMutablePointer<Int32>
  @usableFromInline package var width: Int

  @inlinable @inline(__always)
  package init(_ rows: QuantizedRows, _ token: Int, group: Int, interleave: Int, offsetsPerGroup: Int) {
    let first = token / tileTokens * tileTokens
    let column = token - first
    width = smaller(tileTokens, rows.count - first)
    values = UnsafeMutableRawPointer(rows.values + first * rows.columns + group * rows.group * width + interleave * column)
    scales = rows.scales + first * rows.groups + group * width + column
    sums = rows.sums + first * rows.groups + group * width + column
    offsets = rows.offsets + first * rows.columns / 32 + group * offsetsPerGroup * width + column
  }
}
