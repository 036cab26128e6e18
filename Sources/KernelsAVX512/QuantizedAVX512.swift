import CIntrinsics
import Kernels

/// Quantized products with AVX-512 and VNNI: `vpdpbusd` multiplies 64 unsigned by 64 signed bytes and adds fours into 16 int32.
///
/// Many tokens: 32 rows by six tokens at a time, twelve integer accumulators and twelve results, all in registers. For each four inputs it
/// takes twelve `vpdpbusd`, six broadcasts of four values and two loads of codes from the first-level cache, so nothing but the multiplier
/// is busy all the time. Codes are read where they are; 4-bit ones cost six masks and shifts for each 24 `vpdpbusd`, on ports that these
/// leave free, which is less than storing them as bytes once for all tokens. The zero point is in the accumulators' start, −zero · Σ
/// values. After each group an accumulator costs a conversion, a product of scales and a multiply-add.
///
/// Limit: `vpdpbusd` alone, in registers; groups of 128 cost at least 6 % on top, of 64 13 %, of 32 25 %, for the two float instructions
/// share its ports.
package let quantizedKernelsAVX512 = QuantizedKernels(
  quantizeRows: quantizeRows, multiply4: { multiply(bits: 4, $0, $1, $2, $3) }, multiply8: { multiply(bits: 8, $0, $1, $2, $3) },
  scratchBytes: 0, multiplyInRegisters: multiplyInRegisters)

@inline(__always)
private func multiply(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= fewTokens { return multiplyFewTokens(bits: bits, panel, rows, output) }
  multiplyInBlocks(bits: bits, panel, rows, output, scratch: scratch) { first, _ in
    panel.codes + first * panel.group * panelRows * bits / 8
  } multiply: { tile in
    multiplyUpTo6(bits: bits, smaller(6, tile.width), tile, 0)
    if tile.width > 6 { multiplyUpTo6(bits: bits, tile.width - 6, tile, 6) }
  }
}

private func multiplyInRegisters(_ iterations: Int) -> Int {
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

// MARK: accumulators

typealias Integers = __m512i
@inline(__always)
func zeroIntegers() -> Integers { avx512_fill32(0) }

// Those of integers are in `x86`.

@inline(__always)
func floatZeros8() -> InlineArray<8, __m512> {
  let zero = avx512_fill_float(0)
  return [zero, zero, zero, zero, zero, zero, zero, zero]
}

@inline(__always)
func floatZeros12() -> InlineArray<12, __m512> {
  let zero = avx512_fill_float(0)
  return [zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero]
}

// MARK: sums to floats

/// `result + scales · factor · sums`: a token's integer sums over a group, scaled, for sixteen rows.
@inline(__always)
func add(_ sums: __m512i, _ scales: __m512, _ factor: UnsafePointer<Float>, to result: __m512) -> __m512 {
  avx512_multiply_add(avx512_multiply(scales, avx512_fill_float(factor.pointee)), avx512_to_float(sums), result)
}

/// `result + minima · factor`, with a token's sum as the factor.
@inline(__always)
func add(_ minima: __m512, _ factor: UnsafePointer<Float>, to result: __m512) -> __m512 {
  avx512_multiply_add(minima, avx512_fill_float(factor.pointee), result)
}

/// A group's minima, plus what taking the zero point off the codes takes away.
@inline(__always)
func minima(_ minima: UnsafePointer<UInt16>, _ scales: __m512, bits: Int) -> __m512 {
  avx512_multiply_add(avx512_fill_float(bits == 4 ? 8 : 128), scales, avx512_load_halves(minima))
}

/// What a sum starts from: −zero · Σ values, of which −8 · Σ values is stored.
@inline(__always)
func start(_ offset: UnsafePointer<Int32>, bits: Int) -> __m512i {
  let start = avx512_broadcast(offset)
  return bits == 4 ? start : avx512_times16(start)
}
