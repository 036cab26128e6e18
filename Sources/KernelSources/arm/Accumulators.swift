import CIntrinsics

// Written out: `InlineArray(repeating:)` may stay a call to a copy of a generic function, which a kernel module may not hold, and the
// accumulators would be memory.

@inline(__always)
func zeros24() -> InlineArray<24, neon_int32> {
  let zero = neon_int32()
  return [
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
  ]
}

@inline(__always)
func startOfSums12() -> InlineArray<12, neon_int32> {
  let start = neon_start_of_sums()
  return [start, start, start, start, start, start, start, start, start, start, start, start]
}

@inline(__always)
func floatZeros12() -> InlineArray<12, neon_float> {
  let zero = neon_float()
  return [zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero]
}
