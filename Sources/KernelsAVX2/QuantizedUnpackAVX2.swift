import CIntrinsics

/// An 8-bit code as two digits, `code − 128 = 16 · (high − 8) + (low − 8)` with high in 0 … 16 and low in 0 … 15.
@inline(__always)
func digits(_ codes: __m256i) -> (high: __m256i, low: __m256i) {
  // The average with 0 rounds up: (code / 8 + 1) / 2 = (code + 8) / 16.
  let high = avx2_average8(avx2_and(avx2_shift3(codes), avx2_fill8(31)), avx2_fill8(0))
  return (high, avx2_and(avx2_add8(codes, avx2_fill8(8)), avx2_fill8(15)))
}

/// 8-bit codes of `inputs` inputs as two digits of a byte each: `[4 quarters][inputs / 4][high, low][8 rows][4 inputs]`.
@inline(__always)
func unpack8(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let quarter = inputs / 4 * 64
  var from = codes
  var to = to
  for _ in 0..<inputs / 4 {
    for vector in 0..<4 {
      let (high, low) = digits(avx2_load(from + 32 * vector))
      avx2_store(to + vector * quarter, high)
      avx2_store(to + vector * quarter + 32, low)
    }
    from += 128
    to += 64
  }
}
