import CIntrinsics
import Kernels

/// 4-bit codes of `inputs` inputs as bytes: `[2 halves][inputs / 4][16 rows][4 inputs]`.
@inline(__always)
func unpack4(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let mask = avx2_fill8(15)
  let half = inputs / 4 * 64
  var from = codes
  var to = to
  for _ in 0..<inputs / 8 {
    for vector in 0..<4 {
      let pair = avx2_load(from + 32 * vector)
      let place = to + (vector >> 1) * half + (vector & 1) * 32
      avx2_store(place, avx2_and(pair, mask))
      avx2_store(place + 64, avx2_and(avx2_shift4(pair), mask))
    }
    from += 128
    to += 128
  }
}
