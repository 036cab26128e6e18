import CIntrinsics
import Kernels

// What kernels of 512 bits have in common.

typealias Integers = __m512i
@inline(__always)
func zeroIntegers() -> Integers { avx512_fill32(0) }

// MARK: sums to floats

/// `result + scales · factor · sums`: a token's integer sums over a group, scaled, for sixteen rows.
@inline(__always)
func add(_ sums: __m512i, _ scales: __m512, _ factor: UnsafePointer<Float>, to result: __m512) -> __m512 {
  avx512_multiply_add(avx512_multiply(scales, avx512_fill_float(factor.pointee)), avx512_to_float(sums), result)
}

/// `result + minima · factor`, with a token's sum as the factor.
@inline(__always)
func add(_ minima: __m512, _ factor: UnsafePointer<Float>, to result: __m512) -> __m512 {
  avx512_multiply_add(minima, avx512_fill_float(factor.pointee), result)
}

/// A group's minima, plus what taking the zero point off the codes takes away.
@inline(__always)
func minima(_ minima: UnsafePointer<UInt16>, _ scales: __m512, bits: Int) -> __m512 {
  avx512_multiply_add(avx512_fill_float(zeroPoint(bits: bits)), scales, avx512_load_halves(minima))
}

// MARK: codes

@inline(__always)
func lowCodes3(_ bytes: __m512i) -> __m512i { avx512_and(bytes, avx512_fill8(7)) }
@inline(__always)
func highCodes3(_ bytes: __m512i) -> __m512i { lowCodes3(avx512_shift3(bytes)) }

@inline(__always)
func lowerHalves(_ bytes: __m512i) -> __m512i { avx512_and(bytes, avx512_fill8(15)) }

// MARK: one token's values

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
