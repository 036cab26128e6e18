import CIntrinsics
import Kernels

/// See `QuantizedKernels.quantizeRows`. A group's offset is −8 · Σ values.
func quantizeRows(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>
) {
  quantizeRows(x, stride, columns, rows, tokens, groups, interleave: 4)
}

/// The same, with eight inputs of a token side by side.
package func quantizeRowsInEights(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>
) {
  quantizeRows(x, stride, columns, rows, tokens, groups, interleave: 8)
}

@inline(__always)
private func quantizeRows(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>,
  interleave: Int
) {
  quantize4RowsAtOnce(x, stride, columns, rows, tokens, groups, interleave: interleave) { x in
    greatestMagnitudes(x, stride, rows.group)
  } values: { x, inverses, to, width in
    interleave == 4
      ? quantizeGroupInFours(x, stride, rows.group, inverses, to, width) : quantizeGroupInEights(x, stride, rows.group, inverses, to, width)
  } single: { x, columns, token, groups in
    quantizeRow(x, columns, rows, token, groups, interleave: interleave)
  }
}

/// A group of four tokens, and the sums of their values.
@inline(__always)
private func quantizeGroupInFours(
  _ x: UnsafePointer<Float>, _ stride: Int, _ count: Int, _ inverses: SIMD4<Float>, _ to: UnsafeMutableRawPointer, _ width: Int
) -> SIMD4<Int32> {
  var sums = neon_int32()
  for index in 0..<count / 4 {
    let bytes = neon_quantize_fours(x + 4 * index, stride, inverses)
    neon_store(to + 4 * index * width, bytes)
    sums = neon_add_fours(sums, bytes)
  }
  return sums
}

@inline(__always)
private func quantizeGroupInEights(
  _ x: UnsafePointer<Float>, _ stride: Int, _ count: Int, _ inverses: SIMD4<Float>, _ to: UnsafeMutableRawPointer, _ width: Int
) -> SIMD4<Int32> {
  var left = neon_int32()
  var right = neon_int32()
  for index in 0..<count / 8 {
    let from = x + 8 * index
    let place = to + 8 * index * width
    let first = neon_quantize_eights(from, stride, inverses[0], inverses[1])
    let second = neon_quantize_eights(from + 2 * stride, stride, inverses[2], inverses[3])
    neon_store(place, first)
    neon_store(place + 16, second)
    left = neon_add_fours(left, first)
    right = neon_add_fours(right, second)
  }
  return neon_join_pairs(left, right)
}

/// The bits of the greatest |x| of each of four tokens.
@inline(__always)
private func greatestMagnitudes(_ x: UnsafePointer<Float>, _ stride: Int, _ count: Int) -> SIMD4<Int32> {
  var all = SIMD4<Int32>()
  for token in 0..<4 { all[token] = greatestMagnitude(x + token * stride, count) }
  return all
}

/// One token.
@inline(__always)
private func quantizeRow(
  _ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int, _ groups: Range<Int>, interleave: Int
) {
  quantizeRow(x, columns, rows, token, groups, interleave: interleave) { x, known in
    greatestMagnitude(x, known)
  } values: { x, known, inverse, to, width, _ in
    var sum: Int32 = 0
    var index = 0
    while index < rows.group {
      let bytes = quantize16(x + index, known - index, inverse)
      let place = to + index * width
      if interleave == 4 { neon_store_fours(place, bytes, 4 * width) } else { neon_store_eights(place, bytes, 8 * width) }
      sum &+= neon_sum_of_bytes(bytes)
      index += 16
    }
    return sum
  }
}

/// The bits of the greatest |x|: as integers they are ordered as the magnitudes are, with NaN above infinity.
@inline(__always)
private func greatestMagnitude(_ x: UnsafePointer<Float>, _ count: Int) -> Int32 {
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
private func quantize16(_ x: UnsafePointer<Float>, _ known: Int, _ inverse: Float) -> neon_int8 {
  if inverse == 0 || known <= 0 { return neon_int8() }
  if known >= 16 { return neon_quantize(x, inverse) }
  return withUnsafeTemporaryAllocation(of: Float.self, capacity: 16) { copy in
    for index in 0..<16 { copy[index] = index < known ? x[index] : 0 }
    return neon_quantize(copy.baseAddress.unsafelyUnwrapped, inverse)
  }
}
