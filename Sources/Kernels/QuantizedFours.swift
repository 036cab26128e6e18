/// A table's `quantizeRows` that takes four tokens at once, where so many lie side by side in a tile: their bytes, packed together, come out as
/// the tile holds them.
///
/// Of a group, beginning at `x`, `greatest` gives the bits of the four tokens' greatest magnitudes; `values` writes their values, the first ones
/// to `to`, and returns the sums of each. `one` quantizes a single token, and what of four has groups that end early or have no scale. A group's
/// offset is −8 · Σ values.
@inlinable @inline(__always)
public func quantizeInFours(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>,
  together: Int = 4, greatest: (_ x: UnsafePointer<Float>) -> SIMD4<Int32>,
  values: (_ x: UnsafePointer<Float>, _ inverses: SIMD4<Float>, _ to: UnsafeMutableRawPointer, _ width: Int) -> SIMD4<Int32>,
  one: (_ x: UnsafePointer<Float>, _ columns: Int, _ token: Int, _ groups: Range<Int>) -> Void
) {
  var token = tokens.lowerBound
  var x = x
  while token < tokens.upperBound {
    if smaller((token / tileTokens + 1) * tileTokens, tokens.upperBound) - token < 4 {
      one(x, columns, token, groups)
      token += 1
      x += stride
      continue
    }
    let place = QuantizedRowPlace(rows, token, group: groups.lowerBound, words: 1, together: together)
    for group in 0..<groups.count {
      let start = group * rows.group
      guard columns - start >= rows.group, let (scales, inverses) = scalesAndInverses(greatest(x + start)) else {
        let index = groups.lowerBound + group
        for four in 0..<4 { one(x + four * stride + start, columns - start, token + four, index..<index + 1) }
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
public func scalesAndInverses(_ greatest: SIMD4<Int32>) -> (scales: SIMD4<Float>, inverses: SIMD4<Float>)? {
  let smallest = Int32(bitPattern: (0x1p-116 as Float).bitPattern)
  let infinity = Int32(bitPattern: Float.infinity.bitPattern)
  for index in 0..<4 where greatest[index] < smallest || greatest[index] >= infinity { return nil }
  let magnitudes = unsafeBitCast(greatest, to: SIMD4<Float>.self)
  return (magnitudes / 127, 127 / magnitudes)
}
