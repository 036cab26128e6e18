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
  var sums = avx512_fill32(0)
  var from = x
  var to = to
  for _ in 0..<count / 16 {
    let bytes = avx512_interleave_bytes(
      quantize(from, inverses[0]), quantize(from + stride, inverses[1]), quantize(from + 2 * stride, inverses[2]),
      quantize(from + 3 * stride, inverses[3]))
    sums = avx512_dot(sums, avx512_fill8(1), bytes)
    avx512_store_sixteens(to, bytes, 4 * width)
    from += 16
    to += 16 * width
  }
  return avx512_sums_of_fours(sums)
}

/// The bits of the greatest |x| of each of four tokens.
@inline(__always)
func greatestMagnitudes(_ x: UnsafePointer<Float>, _ stride: Int, _ count: Int) -> SIMD4<Int32> {
  let mask = avx512_fill32(0x7fff_ffff)
  var a = avx512_fill32(0)
  var b = a
  var c = a
  var d = a
  var from = x
  for _ in 0..<count / 16 {
    a = avx512_max32(a, avx512_and(mask, avx512_load(from)))
    b = avx512_max32(b, avx512_and(mask, avx512_load(from + stride)))
    c = avx512_max32(c, avx512_and(mask, avx512_load(from + 2 * stride)))
    d = avx512_max32(d, avx512_and(mask, avx512_load(from + 3 * stride)))
    from += 16
  }
  return avx512_greatest_of_four(a, b, c, d)
}

@inline(__always)
func quantize(_ x: UnsafePointer<Float>, _ inverse: Float) -> __m512i {
  avx512_round(avx512_multiply(avx512_load_floats(x), avx512_fill_float(inverse)))
}

/// One token.
@inline(never)
func quantizeRow(_ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int, _ groups: Range<Int>) {
  let place = QuantizedRowPlace(rows, token, group: groups.lowerBound, words: 1)

  for group in 0..<groups.count {
    let start = group * rows.group
    let known = greater(0, smaller(rows.group, columns - start))
    let (scale, inverse) = scaleAndInverse(greatestMagnitude(x + start, known))
    var sum = avx512_fill32(0)
    var index = 0
    while index < rows.group {
      let integers = quantize16(x + start + index, known - index, inverse)
      sum = avx512_add32(sum, integers)
      store(integers, place.values + (start + index) * place.width, place.width)
      index += 16
    }
    let total = avx512_sum32(sum)
    place.scales[group * place.width] = scale
    place.sums[group * place.width] = scale * Float(total)
    place.offsets[group * place.width] = -8 &* total
  }
}

/// The bits of the greatest |x|: as integers they are ordered as the magnitudes are, with NaN above infinity.
@inline(__always)
func greatestMagnitude(_ x: UnsafePointer<Float>, _ count: Int) -> Int32 {
  let mask = avx512_fill32(0x7fff_ffff)
  var greatest = avx512_fill32(0)
  var index = 0
  while index < count {
    greatest = avx512_max32(greatest, avx512_and(mask, avx512_bits(avx512_load_some(x + index, count - index))))
    index += 16
  }
  return avx512_greatest32(greatest)
}

/// 16 values; those from `known` on are zeros.
@inline(__always)
func quantize16(_ x: UnsafePointer<Float>, _ known: Int, _ inverse: Float) -> __m512i {
  if inverse == 0 || known <= 0 { return avx512_fill32(0) }
  return avx512_round(avx512_multiply(avx512_load_some(x, known), avx512_fill_float(inverse)))
}

/// Four fours of bytes to their places in a tile.
@inline(__always)
func store(_ integers: __m512i, _ to: UnsafeMutableRawPointer, _ width: Int) {
  if width == 1 { return avx512_store_bytes(to, integers) }
  var words = SIMD4<UInt32>()
  withUnsafeMutableBytes(of: &words) { avx512_store_bytes($0.baseAddress, integers) }
  for word in 0..<4 { (to + 4 * word * width).storeBytes(of: words[word], as: UInt32.self) }
}
