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
