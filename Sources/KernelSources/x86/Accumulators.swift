import CIntrinsics

// Written out: `InlineArray(repeating:)` may stay a call to a copy of a generic function, which a kernel module may not hold, and the
// accumulators would be memory. `Integers` and `zeroIntegers` are the module's own.

@inline(__always)
func zeros8() -> InlineArray<8, Integers> {
  let zero = zeroIntegers()
  return [zero, zero, zero, zero, zero, zero, zero, zero]
}

@inline(__always)
func zeros12() -> InlineArray<12, Integers> {
  let zero = zeroIntegers()
  return [zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero]
}

@inline(__always)
func zeros24() -> InlineArray<24, Integers> {
  let zero = zeroIntegers()
  return [
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
  ]
}
