import CIntrinsics
import Kernels

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
  avx512_multiply_add(avx512_fill_float(bits == 4 ? 8 : 128), scales, avx512_load_halves(minima))
}

/// What a sum starts from: −zero · Σ values, of which −8 · Σ values is stored.
@inline(__always)
func start(_ offset: UnsafePointer<Int32>, bits: Int) -> __m512i {
  let start = avx512_broadcast(offset)
  return bits == 4 ? start : avx512_times16(start)
}
