import CIntrinsics
import Kernels

/// See `QuantizedKernels.quantizeRows`. A group's offset is −8 · Σ values.
func quantizeRows(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>
) {
  quantizeInFours(x, stride, columns, rows, tokens, groups) { x in
    greatestMagnitudes(x, stride, rows.group)
  } values: { x, inverses, to, width in
    quantizeGroup(x, stride, rows.group, inverses, to, width)
  } one: { x, columns, token, groups in
    quantizeRow(x, columns, rows, token, groups)
  }
}

/// A group of four tokens, and the sums of their values.
@inline(__always)
func quantizeGroup(
  _ x: UnsafePointer<Float>, _ stride: Int, _ count: Int, _ inverses: SIMD4<Float>, _ to: UnsafeMutableRawPointer, _ width: Int
) -> SIMD4<Int32> {
  var sums = avx2_fill32(0)
  var from = x
  var to = to
  for _ in 0..<count / 8 {
    let bytes = avx2_interleave_bytes(
      quantize(from, inverses[0]), quantize(from + stride, inverses[1]), quantize(from + 2 * stride, inverses[2]),
      quantize(from + 3 * stride, inverses[3]))
    sums = vnni256_dot(sums, avx2_fill8(1), bytes)
    avx2_store_sixteens(to, bytes, 4 * width)
    from += 8
    to += 8 * width
  }
  return avx2_sums_of_fours(sums)
}

/// The bits of the greatest |x| of each of four tokens.
@inline(__always)
func greatestMagnitudes(_ x: UnsafePointer<Float>, _ stride: Int, _ count: Int) -> SIMD4<Int32> {
  let mask = avx2_fill32(0x7fff_ffff)
  var a = avx2_fill32(0)
  var b = a
  var c = a
  var d = a
  var from = x
  for _ in 0..<count / 8 {
    a = avx2_max32(a, avx2_and(mask, avx2_load(from)))
    b = avx2_max32(b, avx2_and(mask, avx2_load(from + stride)))
    c = avx2_max32(c, avx2_and(mask, avx2_load(from + 2 * stride)))
    d = avx2_max32(d, avx2_and(mask, avx2_load(from + 3 * stride)))
    from += 8
  }
  return avx2_greatest_of_four(a, b, c, d)
}

@inline(__always)
func quantize(_ x: UnsafePointer<Float>, _ inverse: Float) -> __m256i {
  avx2_round(avx2_multiply(avx2_load_floats(x), avx2_fill_float(inverse)))
}

/// One token.
@inline(never)
func quantizeRow(_ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int, _ groups: Range<Int>) {
  let place = QuantizedRowPlace(rows, token, group: groups.lowerBound, words: 1)

  for group in 0..<groups.count {
    let start = group * rows.group
    let known = greater(0, smaller(rows.group, columns - start))
    let (scale, inverse) = scaleAndInverse(greatestMagnitude(x + start, known))
    var sum = avx2_fill32(0)
    var index = 0
    while index < rows.group {
      let bytes = quantize32(x + start + index, known - index, inverse)
      sum = vnni256_dot(sum, avx2_fill8(1), bytes)
      store(bytes, place.values + (start + index) * place.width, place.width)
      index += 32
    }
    let total = avx2_sum32(sum)
    place.scales[group * place.width] = scale
    place.sums[group * place.width] = scale * Float(total)
    place.offsets[group * place.width] = -8 &* total
  }
}
