import CIntrinsics
import Kernels

/// Codes of `inputs` inputs, less their zero point, at a byte each: `[4 quarters][inputs / 8][4 pairs of rows][2 rows][8 inputs]`.
@inline(__always)
func unpackPairs4(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  var from = codes
  var to = to
  for _ in 0..<inputs / 8 {
    for vector in 0..<8 {
      let packed = neon_load(from + 16 * vector)
      storePairs(neon_less_8(neon_low_codes(packed)), neon_less_8(neon_high_codes(packed)), vector, inputs, to)
    }
    from += 128
    to += 64
  }
}

@inline(__always)
func unpackPairs8(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  var from = codes
  var to = to
  for _ in 0..<inputs / 8 {
    for vector in 0..<8 {
      let first = neon_load(from + 16 * vector)
      let last = neon_load(from + 16 * vector + 128)
      storePairs(neon_less_128(first), neon_less_128(last), vector, inputs, to)
    }
    from += 256
    to += 64
  }
}

/// Four rows' first and last four of eight inputs to their places, as two pairs of rows.
@inline(__always)
func storePairs(_ first: neon_int8, _ last: neon_int8, _ vector: Int, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let place = to + (vector >> 1) * inputs * 8 + (vector & 1) * 32
  neon_store(place, neon_join_low(first, last))
  neon_store(place + 16, neon_join_high(first, last))
}
