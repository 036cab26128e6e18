import CIntrinsics
import Kernels

/// `output += scales · factor · sums`: a token's integer sums over a group, scaled, for eight rows.
@inline(__always)
func add(_ sums: __m256i, _ scales: __m256, _ factor: UnsafePointer<Float>, to output: UnsafeMutablePointer<Float>) {
  let product = avx2_multiply(scales, avx2_broadcast_float(factor))
  avx2_store_floats(output, avx2_multiply_add(product, avx2_to_float(sums), avx2_load_floats(output)))
}

/// `output += minima · factor`, with a token's sum as the factor.
@inline(__always)
func add(_ minima: __m256, _ factor: UnsafePointer<Float>, to output: UnsafeMutablePointer<Float>) {
  avx2_store_floats(output, avx2_multiply_add(minima, avx2_broadcast_float(factor), avx2_load_floats(output)))
}

/// A group's minima, plus what taking the zero point off the codes takes away.
@inline(__always)
func minima(_ minima: UnsafePointer<UInt16>, _ scales: __m256, bits: Int) -> __m256 {
  avx2_multiply_add(avx2_fill_float(bits == 4 ? 8 : 128), scales, avx2_load_halves(minima))
}
