import CIntrinsics
import Kernels

// MARK: what the rounding of activations in `x86-vnni` works with

let integersInVector = 16
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

/// A group of one token, and the sum of its values; those from `known` on are zeros.
@inline(__always)
func quantizeGroup(
  _ x: UnsafePointer<Float>, _ known: Int, _ inverse: Float, _ count: Int, _ to: UnsafeMutableRawPointer, _ width: Int
) -> Int32 {
  var sum = avx512_fill32(0)
  var index = 0
  while index < count {
    let integers = quantize16(x + index, known - index, inverse)
    sum = avx512_add32(sum, integers)
    store(integers, to + index * width, width)
    index += 16
  }
  return avx512_sum32(sum)
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
private func quantize16(_ x: UnsafePointer<Float>, _ known: Int, _ inverse: Float) -> __m512i {
  if inverse == 0 || known <= 0 { return avx512_fill32(0) }
  return avx512_round(avx512_multiply(avx512_load_some(x, known), avx512_fill_float(inverse)))
}

/// Four fours of bytes to their places in a tile.
@inline(__always)
private func store(_ integers: __m512i, _ to: UnsafeMutableRawPointer, _ width: Int) {
  if width == 1 { return avx512_store_bytes(to, integers) }
  var fours = SIMD4<UInt32>()
  withUnsafeMutableBytes(of: &fours) { avx512_store_bytes($0.baseAddress, integers) }
  for index in 0..<4 { (to + 4 * index * width).storeBytes(of: fours[index], as: UInt32.self) }
}
