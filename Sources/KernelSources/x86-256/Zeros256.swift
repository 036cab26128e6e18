import CIntrinsics

// Written out: `InlineArray(repeating:)` may stay a call to a copy of a generic function, which a kernel module may not hold, and the
// accumulators would be memory.

@inline(__always)
func zeros8() -> InlineArray<8, __m256i> {
  let zero = avx2_fill32(0)
  return [
    zero, zero, zero, zero, zero, zero, zero, zero,
  ]
}

@inline(__always)
func zeros12() -> InlineArray<12, __m256i> {
  let zero = avx2_fill32(0)
  return [
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
  ]
}
