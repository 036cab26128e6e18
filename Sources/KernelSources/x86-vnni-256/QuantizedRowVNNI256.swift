import CIntrinsics
import Kernels

/// What `shared-x86-vnni` works with.
typealias Integers = __m256i
let integersInVector = 8
@inline(__always)
func zeroIntegers() -> Integers { avx2_fill32(0) }
/// The greater of each lane of `greatest` and the bits of |x|.
@inline(__always)
func greaterMagnitudes(_ greatest: Integers, _ x: UnsafePointer<Float>) -> Integers {
  avx2_max32(greatest, avx2_and(avx2_fill32(0x7fff_ffff), avx2_load(x)))
}
@inline(__always)
func greatestOfFour(_ a: Integers, _ b: Integers, _ c: Integers, _ d: Integers) -> SIMD4<Int32> { avx2_greatest_of_four(a, b, c, d) }
@inline(__always)
func roundedProducts(_ x: UnsafePointer<Float>, _ factor: Float) -> Integers {
  avx2_round(avx2_multiply(avx2_load_floats(x), avx2_fill_float(factor)))
}
@inline(__always)
func interleaveBytes(_ a: Integers, _ b: Integers, _ c: Integers, _ d: Integers) -> Integers { avx2_interleave_bytes(a, b, c, d) }
@inline(__always)
func addFours(_ sums: Integers, _ bytes: Integers) -> Integers { vnni256_dot(sums, avx2_fill8(1), bytes) }
@inline(__always)
func storeSixteens(_ to: UnsafeMutableRawPointer, _ bytes: Integers, _ step: Int) { avx2_store_sixteens(to, bytes, step) }
@inline(__always)
func sumsOfFours(_ sums: Integers) -> SIMD4<Int32> { avx2_sums_of_fours(sums) }

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
