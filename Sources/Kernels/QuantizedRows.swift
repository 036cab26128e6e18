/// Tokens whose activations lie interleaved, on every machine: what the widest kernel takes at once.
public let tileTokens = 12

/// Activations as int8 with one scale per token and group: `activation[t][k] ≈ scale[t][g] · value[t][k]`.
///
/// Tokens come in tiles of `tileTokens`; only the last tile may be narrower. Within each plane a tile's numbers lie together, and within a
/// tile the tokens lie side by side, so that a kernel reads one stream from front to back whatever the shape. With `w` the tile's width:
/// - `values`: `[tile][columns / 4][w][4 inputs]`, or eights in place of fours (`QuantizedKernels.inputsTogether`)
/// - `scales`, `sums`: `[tile][groups][w]`
/// - `offsets`: `[tile][columns / 32][w]`, of which a kernel table may use fewer.
///
/// Rows of one tile share cache lines: let one thread quantize a whole tile.
public struct QuantizedRows: @unchecked Sendable {
  /// Each in −127 ... 127; zeros beyond the row's true length.
  public var values: UnsafeMutablePointer<Int8>
  public var scales: UnsafeMutablePointer<Float>
  /// Scale · sum of the group's values: what a group minimum of the weights is multiplied by.
  public var sums: UnsafeMutablePointer<Float>
  /// What integer accumulators start from, in the form that the kernels of the same table want; not readable by another table's.
  public var offsets: UnsafeMutablePointer<Int32>
  public var count: Int
  /// Groups along the inputs.
  public var groups: Int
  /// Inputs in a group: a multiple of 32, at most `largestGroup`.
  public var group: Int

  /// Inputs of one token, padding included.
  @inlinable public var columns: Int { groups * group }
  @inlinable public var tiles: Int { (count + tileTokens - 1) / tileTokens }

  /// Rows to be written by `quantizeRows` in `byteCount(…)` bytes at a 64-byte boundary.
  @inlinable
  public init(memory: UnsafeMutableRawPointer, count: Int, groups: Int, group: Int) {
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
  public static func byteCount(count: Int, groups: Int, group: Int) -> Int {
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
  public func tiles(_ range: Range<Int>) -> QuantizedRows {
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

/// Where one token's numbers go from a group on, a tile's width apart: what `quantizeRows` writes to. `words` is how many offsets a group has.
public struct QuantizedRowPlace {
  /// The first values that lie together, four or eight; the next ones are as many times `width` bytes on.
  public var values: UnsafeMutableRawPointer
  /// Of the first group; the next one's are `width` on.
  public var scales: UnsafeMutablePointer<Float>
  public var sums: UnsafeMutablePointer<Float>
  public var offsets: UnsafeMutablePointer<Int32>
  public var width: Int

  @inlinable @inline(__always)
  public init(_ rows: QuantizedRows, _ token: Int, group: Int, words: Int, together: Int = 4) {
    let first = token / tileTokens * tileTokens
    let column = token - first
    width = smaller(tileTokens, rows.count - first)
    values = UnsafeMutableRawPointer(rows.values + first * rows.columns + group * rows.group * width + together * column)
    scales = rows.scales + first * rows.groups + group * width + column
    sums = rows.sums + first * rows.groups + group * width + column
    offsets = rows.offsets + first * rows.columns / 32 + group * words * width + column
  }
}

/// The scale of a group of activations whose greatest magnitude has these bits, and what to multiply its values by: see `quantizeRows`.
@inlinable @inline(__always)
public func scaleAndInverse(_ greatest: Int32) -> (scale: Float, inverse: Float) {
  let magnitude = Float(bitPattern: UInt32(bitPattern: greatest))
  if !magnitude.isFinite { return (.nan, 0) }
  // 127 / 2⁻¹¹⁶ is still finite, and the scale still normal.
  if magnitude < 0x1p-116 { return (0, 0) }
  return (magnitude / 127, 127 / magnitude)
}
