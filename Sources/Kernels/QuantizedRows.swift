/// Tokens whose activations lie interleaved, on every machine: what the widest kernel takes at once.
@inlinable package var tileTokens: Int { 12 }

/// Activations as int8 with one scale per token and group: `activation[t][k] ≈ scale[t][g] · value[t][k]`.
///
/// Tokens come in tiles of `tileTokens`; only the last tile may be narrower. Within each plane a tile's numbers lie together, and within a
/// tile the tokens lie side by side, so that a kernel reads one stream from front to back whatever the shape. With `w` the tile's width:
/// - `values`: `[tile][columns / 4][w][4 inputs]`, or eights or groups in place of fours (`QuantizedKernels.interleave`)
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

// MARK: rounding

// The loops of every table's `quantizeRows`. Closures are the instruction set's own part: they are inlined, so that no generic function,
// whose copies could be mixed up between instruction sets, stands between the loops and their vectors.

/// Some groups of one token: see `QuantizedKernels.quantizeRows`.
///
/// Of a group's `known` inputs from `x` on, `greatest` gives the bits of the greatest magnitude. `values` writes a whole group's values
/// from `to` on, zeros for inputs that are not known and where the inverse is 0, and returns their sum; `interleave` of them lie side by
/// side, and `interleave · width` bytes on the next ones. A group's offset is −8 · Σ values, unless `values` writes offsets of its own,
/// `offsetsPerGroup` of them.
@inlinable @inline(__always)
package func quantizeRow(
  _ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int, _ groups: Range<Int>, interleave: Int = 4,
  offsetsPerGroup: Int = 1, hasOwnOffsets: Bool = false, greatest: (_ x: UnsafePointer<Float>, _ known: Int) -> Int32,
  values: (
    _ x: UnsafePointer<Float>, _ known: Int, _ inverse: Float, _ to: UnsafeMutableRawPointer, _ width: Int,
    _ offsets: UnsafeMutablePointer<Int32>
  ) -> Int32
) {
  let place = QuantizedRowPlace(rows, token, group: groups.lowerBound, interleave: interleave, offsetsPerGroup: offsetsPerGroup)
  for group in 0..<groups.count {
    let start = group * rows.group
    let known = greater(0, smaller(rows.group, columns - start))
    let (scale, inverse) = scaleAndInverse(greatest(x + start, known))
    let column = group * place.width
    let offsets = place.offsets + offsetsPerGroup * column
    let sum = values(x + start, known, inverse, place.values + start * place.width, place.width, offsets)
    place.scales[column] = scale
    // A NaN scale keeps being one.
    place.sums[column] = scale * Float(sum)
    if !hasOwnOffsets { offsets.pointee = -8 &* sum }
  }
}

/// A table's `quantizeRows` that takes four tokens at once, where so many lie side by side in a tile: their bytes, packed together, come
/// out as the tile holds them.
///
/// Of a group, beginning at `x`, `greatest` gives the bits of the four tokens' greatest magnitudes; `values` writes their values, the first
/// ones to `to`, and returns the sums of each. `single` quantizes one token: those beside which no three others stand, and of four tokens
/// the groups that end early or where one has no scale. A group's offset is −8 · Σ values.
@inlinable @inline(__always)
package func quantize4RowsAtOnce(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>,
  interleave: Int = 4, greatest: (_ x: UnsafePointer<Float>) -> SIMD4<Int32>,
  values: (_ x: UnsafePointer<Float>, _ inverses: SIMD4<Float>, _ to: UnsafeMutableRawPointer, _ width: Int) -> SIMD4<Int32>,
  single: (_ x: UnsafePointer<Float>, _ columns: Int, _ token: Int, _ groups: Range<Int>) -> Void
) {
  var token = tokens.lowerBound
  var x = x
  while token < tokens.upperBound {
    if smaller((token / tileTokens + 1) * tileTokens, tokens.upperBound) - token < 4 {
      single(x, columns, token, groups)
      token += 1
      x += stride
      continue
    }
    let place = QuantizedRowPlace(rows, token, group: groups.lowerBound, interleave: interleave, offsetsPerGroup: 1)
    for group in 0..<groups.count {
      let start = group * rows.group
      guard columns - start >= rows.group, let (scales, inverses) = scalesAndInverses(greatest(x + start)) else {
        let index = groups.lowerBound + group
        for four in 0..<4 { single(x + four * stride + start, columns - start, token + four, index..<index + 1) }
        continue
      }
      let sums = values(x + start, inverses, place.values + start * place.width, place.width)
      let column = group * place.width
      for four in 0..<4 {
        place.scales[column + four] = scales[four]
        place.sums[column + four] = scales[four] * Float(sums[four])
        place.offsets[column + four] = -8 &* sums[four]
      }
    }
    token += 4
    x += 4 * stride
  }
}

/// `scaleAndInverse` of four groups at once; nil where one of them is not finite or too small.
@inlinable @inline(__always)
package func scalesAndInverses(_ greatest: SIMD4<Int32>) -> (scales: SIMD4<Float>, inverses: SIMD4<Float>)? {
  let smallest = Int32(bitPattern: (0x1p-116 as Float).bitPattern)
  let infinity = Int32(bitPattern: Float.infinity.bitPattern)
  for index in 0..<4 where greatest[index] < smallest || greatest[index] >= infinity { return nil }
  let magnitudes = unsafeBitCast(greatest, to: SIMD4<Float>.self)
  return (magnitudes / 127, 127 / magnitudes)
}

/// The scale of a group of activations whose greatest magnitude has these bits, and what to multiply its values by: see `quantizeRows`.
@inlinable @inline(__always)
package func scaleAndInverse(_ greatest: Int32) -> (scale: Float, inverse: Float) {
  let magnitude = Float(bitPattern: UInt32(bitPattern: greatest))
  if !magnitude.isFinite { return (.nan, 0) }
  // 127 / 2⁻¹¹⁶ is still finite, and the scale still normal.
  if magnitude < 0x1p-116 { return (0, 0) }
  return (magnitude / 127, 127 / magnitude)
}
