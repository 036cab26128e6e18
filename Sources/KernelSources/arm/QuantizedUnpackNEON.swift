import CIntrinsics
import Kernels

/// Codes of `inputs` inputs, less their zero point, at a byte each: `[4 quarters][inputs / 4][8 rows][4 inputs]`.
@inline(__always)
func unpack4(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let quarter = inputs * 8
  var from = codes
  var to = to
  for _ in 0..<inputs / 8 {
    for vector in 0..<8 {
      let packed = neon_load(from + 16 * vector)
      let place = to + (vector >> 1) * quarter + (vector & 1) * 16
      neon_store(place, neon_less_8(neon_low_codes(packed)))
      neon_store(place + 32, neon_less_8(neon_high_codes(packed)))
    }
    from += 128
    to += 64
  }
}

@inline(__always)
func unpack8(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let quarter = inputs * 8
  var from = codes
  var to = to
  for _ in 0..<inputs / 4 {
    for vector in 0..<8 {
      neon_store(to + (vector >> 1) * quarter + (vector & 1) * 16, neon_less_128(neon_load(from + 16 * vector)))
    }
    from += 128
    to += 32
  }
}
