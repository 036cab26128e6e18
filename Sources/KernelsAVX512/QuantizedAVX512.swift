import CIntrinsics
import Kernels

/// Quantized products with AVX-512 and VNNI: `vpdpbusd` multiplies 64 unsigned by 64 signed bytes and adds fours into 16 int32.
///
/// Many tokens: 32 rows by six tokens at a time, twelve integer accumulators and twelve results, all in registers. For each four inputs it
/// takes twelve `vpdpbusd`, six broadcasts of four values and two loads of codes from the first-level cache, so nothing but the multiplier is
/// busy all the time. Codes are read where they are; 4-bit ones cost six masks and shifts for each 24 `vpdpbusd`, on ports that these leave
/// free, which is less than storing them as bytes once for all tokens. The zero point is in the accumulators' start, −zero · Σ values. After
/// each group an accumulator costs a conversion, a product of scales and a multiply-add.
///
/// Limit: `vpdpbusd` alone, in registers; groups of 128 cost at least 6 % on top, of 64 13 %, of 32 25 %, for the two float instructions
/// share its ports.
public let quantizedKernelsAVX512 = QuantizedKernels(
  quantizeRows: quantizeRows, multiply4: multiply4, multiply8: multiply8, scratchBytes: 0,
  multiplyInRegisters: multiplyInRegisters)

func multiply4(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= directTokens { return multiplyDirectly4(panel, rows, output) }
  // An argument that is not used would make the compiler emit a second, weak copy of the function.
  avx512_prefetch(scratch)
  multiplyInBlocks(bits: 4, panel, rows, output, words: 1, scratch: scratch) { first, _ in
    panel.codes + first * panel.group * panelRows / 2
  } multiply: { tile in
    multiplyTile(tile, bits: 4)
  }
}

func multiply8(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= directTokens { return multiplyDirectly8(panel, rows, output) }
  avx512_prefetch(scratch)
  multiplyInBlocks(bits: 8, panel, rows, output, words: 1, scratch: scratch) { first, _ in
    panel.codes + first * panel.group * panelRows
  } multiply: { tile in
    multiplyTile(tile, bits: 8)
  }
}

func multiplyInRegisters(_ iterations: Int) -> Int {
  var sums = zeros24()
  var upper = avx512_fill8(1)
  var lower = avx512_fill8(2)
  let values = avx512_fill8(1)
  for _ in 0..<iterations {
    for token in 0..<12 {
      upper = avx512_opaque(upper)
      lower = avx512_opaque(lower)
      sums[unchecked: 2 * token] = avx512_dot(sums[unchecked: 2 * token], upper, values)
      sums[unchecked: 2 * token + 1] = avx512_dot(sums[unchecked: 2 * token + 1], lower, values)
    }
  }
  for index in 0..<24 { _ = avx512_opaque(sums[unchecked: index]) }
  return iterations * 24 * 64
}

// Written out: `InlineArray(repeating:)` may stay a call to a copy of a generic function, which a kernel module may not hold, and the
// accumulators would be memory.

@inline(__always)
func zeros8() -> InlineArray<8, __m512i> {
  let zero = avx512_fill32(0)
  return [
    zero, zero, zero, zero, zero, zero, zero, zero,
  ]
}

@inline(__always)
func floatZeros8() -> InlineArray<8, __m512> {
  let zero = avx512_fill_float(0)
  return [zero, zero, zero, zero, zero, zero, zero, zero]
}

@inline(__always)
func integerZeros12() -> InlineArray<12, __m512i> {
  let zero = avx512_fill32(0)
  return [zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero]
}

@inline(__always)
func floatZeros12() -> InlineArray<12, __m512> {
  let zero = avx512_fill_float(0)
  return [zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero]
}

@inline(__always)
func zeros24() -> InlineArray<24, __m512i> {
  let zero = avx512_fill32(0)
  return [
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
  ]
}
