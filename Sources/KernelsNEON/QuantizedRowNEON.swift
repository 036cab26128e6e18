import CIntrinsics
import Kernels

/// See `QuantizedKernels.quantizeRow`. A group's offset is −8 · Σ values.
func quantizeRow(_ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int, _ groups: Range<Int>) {
  quantizeRow(x, columns, rows, token, groups, together: 4)
}

/// The same, with eight inputs of a token together.
public func quantizeRowInEights(_ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int, _ groups: Range<Int>) {
  quantizeRow(x, columns, rows, token, groups, together: 8)
}

@inline(__always)
private func quantizeRow(
  _ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int, _ groups: Range<Int>, together: Int
) {
  let place = QuantizedRowPlace(rows, token, group: groups.lowerBound, words: 1, together: together)

  for group in 0..<groups.count {
    let start = group * rows.group
    let known = greater(0, smaller(rows.group, columns - start))
    let (scale, inverse) = scaleAndInverse(greatestMagnitude(x + start, known))
    var sum: Int32 = 0
    var index = 0
    while index < rows.group {
      let bytes = quantize16(x + start + index, known - index, inverse)
      let to = place.values + (start + index) * place.width
      if together == 4 { neon_store_fours(to, bytes, 4 * place.width) } else { neon_store_eights(to, bytes, 8 * place.width) }
      sum &+= neon_sum_of_bytes(bytes)
      index += 16
    }
    place.scales[group * place.width] = scale
    place.sums[group * place.width] = scale * Float(sum)
    place.offsets[group * place.width] = -8 &* sum
  }
}

/// The bits of the greatest |x|: as integers they are ordered as the magnitudes are, with NaN above infinity.
@inline(__always)
func greatestMagnitude(_ x: UnsafePointer<Float>, _ count: Int) -> Int32 {
  var greatest = neon_fill(0)
  var index = 0
  while index + 4 <= count {
    greatest = neon_greater_magnitudes(greatest, x + index)
    index += 4
  }
  var result = neon_greatest(greatest)
  while index < count {
    let bits = Int32(bitPattern: x[index].bitPattern & 0x7fff_ffff)
    result = bits > result ? bits : result
    index += 1
  }
  return result
}

/// 16 values; those from `known` on are zeros.
@inline(__always)
func quantize16(_ x: UnsafePointer<Float>, _ known: Int, _ inverse: Float) -> neon_int8 {
  if inverse == 0 || known <= 0 { return neon_int8() }
  if known >= 16 { return neon_quantize(x, inverse) }
  return withUnsafeTemporaryAllocation(of: Float.self, capacity: 16) { copy in
    for index in 0..<16 { copy[index] = index < known ? x[index] : 0 }
    return neon_quantize(copy.baseAddress.unsafelyUnwrapped, inverse)
  }
}
