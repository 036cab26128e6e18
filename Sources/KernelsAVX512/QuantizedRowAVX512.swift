import CIntrinsics
import Kernels

/// What `shared-x86-vnni` works with.
typealias Integers = __m512i
let integersInVector = 16
@inline(__always)
func zeroIntegers() -> Integers { avx512_fill32(0) }
/// The greater of each lane of `greatest` and the bits of |x|.
@inline(__always)
func greaterMagnitudes(_ greatest: Integers, _ x: UnsafePointer<Float>) -> Integers {
  avx512_max32(greatest, avx512_and(avx512_fill32(0x7fff_ffff), avx512_load(x)))
}
@inline(__always)
func greatestOfFour(_ a: Integers, _ b: Integers, _ c: Integers, _ d: Integers) -> SIMD4<Int32> { avx512_greatest_of_four(a, b, c, d) }
@inline(__always)
func roundedProducts(_ x: UnsafePointer<Float>, _ factor: Float) -> Integers {
  avx512_round(avx512_multiply(avx512_load_floats(x), avx512_fill_float(factor)))
}
@inline(__always)
func interleaveBytes(_ a: Integers, _ b: Integers, _ c: Integers, _ d: Integers) -> Integers { avx512_interleave_bytes(a, b, c, d) }
@inline(__always)
func addFours(_ sums: Integers, _ bytes: Integers) -> Integers { avx512_dot(sums, avx512_fill8(1), bytes) }
@inline(__always)
func storeSixteens(_ to: UnsafeMutableRawPointer, _ bytes: Integers, _ step: Int) { avx512_store_sixteens(to, bytes, step) }
@inline(__always)
func sumsOfFours(_ sums: Integers) -> SIMD4<Int32> { avx512_sums_of_fours(sums) }

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
