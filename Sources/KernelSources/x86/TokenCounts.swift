import CIntrinsics
import Kernels

// One function for each width of codes and number of tokens: the compiler then knows both, loops over tokens are unrolled and accumulators
// stay in registers. They are copies of a generic function, but of one that is this module's own: no other module can have a function of
// that name.

// Few tokens, as many as the module has registers for (`fewTokens`), are multiplied straight from the packed codes: each code is read once,
// from memory, and unpacked in registers. For one token nothing is asked for ahead: each thread reads from front to back, which the
// hardware's own prefetching follows best undisturbed (Zen 4: with requests 2 KiB ahead a core reads 29 GB/s, without 32; also where pages
// are small, 25 and 28).

private enum FewTokens<let bits: Int, let tokens: Int> {
  @inline(never)
  static func multiply(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
    if tokens <= fewTokens { multiplyPackedCodes(bits: bits, tokens, panel, rows, output) }
  }
}

private enum FewTokensOfUneven<let tokens: Int> {
  @inline(never)
  static func multiply(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
    if tokens <= fewTokens { multiplyUnevenCodes(tokens, panel, rows, output) }
  }
}

/// At most `fewTokens` tokens, of 3, 4 or 8 bits; `multiplyPackedCodes` is the instruction set's own.
@inline(__always)
func multiplyFewTokens(bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  clear(output, rows.count)
  switch (bits, rows.count) {
  case (3, 1): FewTokens<3, 1>.multiply(panel, rows, output)
  case (3, 2): FewTokens<3, 2>.multiply(panel, rows, output)
  case (3, 3): FewTokens<3, 3>.multiply(panel, rows, output)
  case (3, 4): FewTokens<3, 4>.multiply(panel, rows, output)
  case (3, 5): FewTokens<3, 5>.multiply(panel, rows, output)
  case (3, 6): FewTokens<3, 6>.multiply(panel, rows, output)
  case (3, 7): FewTokens<3, 7>.multiply(panel, rows, output)
  case (3, _): FewTokens<3, 8>.multiply(panel, rows, output)
  case (4, 1): FewTokens<4, 1>.multiply(panel, rows, output)
  case (4, 2): FewTokens<4, 2>.multiply(panel, rows, output)
  case (4, 3): FewTokens<4, 3>.multiply(panel, rows, output)
  case (4, 4): FewTokens<4, 4>.multiply(panel, rows, output)
  case (4, 5): FewTokens<4, 5>.multiply(panel, rows, output)
  case (4, 6): FewTokens<4, 6>.multiply(panel, rows, output)
  case (4, 7): FewTokens<4, 7>.multiply(panel, rows, output)
  case (4, _): FewTokens<4, 8>.multiply(panel, rows, output)
  case (_, 1): FewTokens<8, 1>.multiply(panel, rows, output)
  case (_, 2): FewTokens<8, 2>.multiply(panel, rows, output)
  case (_, 3): FewTokens<8, 3>.multiply(panel, rows, output)
  case (_, 4): FewTokens<8, 4>.multiply(panel, rows, output)
  case (_, 5): FewTokens<8, 5>.multiply(panel, rows, output)
  case (_, 6): FewTokens<8, 6>.multiply(panel, rows, output)
  case (_, 7): FewTokens<8, 7>.multiply(panel, rows, output)
  case (_, _): FewTokens<8, 8>.multiply(panel, rows, output)
  }
}

/// The same of uneven levels; `multiplyUnevenCodes` is the instruction set's own.
@inline(__always)
func multiplyFewTokensOfUneven(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  clear(output, rows.count)
  switch rows.count {
  case 1: FewTokensOfUneven<1>.multiply(panel, rows, output)
  case 2: FewTokensOfUneven<2>.multiply(panel, rows, output)
  case 3: FewTokensOfUneven<3>.multiply(panel, rows, output)
  case 4: FewTokensOfUneven<4>.multiply(panel, rows, output)
  case 5: FewTokensOfUneven<5>.multiply(panel, rows, output)
  case 6: FewTokensOfUneven<6>.multiply(panel, rows, output)
  case 7: FewTokensOfUneven<7>.multiply(panel, rows, output)
  case _: FewTokensOfUneven<8>.multiply(panel, rows, output)
  }
}

// MARK: accumulators

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
