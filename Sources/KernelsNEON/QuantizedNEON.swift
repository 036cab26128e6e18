import CIntrinsics
import Kernels

/// Quantized products with what every 64-bit ARM has: `smlal` multiplies eight signed by eight signed bytes and adds to eight int16.
///
/// 4-bit codes less their zero point are at most 8 in magnitude, so an int16 takes 32 products (32 · 8 · 127 = 32512), those of 128 inputs,
/// before it is widened. 8-bit codes fill an int16 with two products, so that every `smlal` has a `smull` and half of a `sadalp` beside
/// it; on the cores without dot product these run in different units.
///
/// Many tokens: 8 rows by 4 tokens, with 8-bit codes by 2. Limit: `smlal` alone, 8 products each.
package let quantizedKernelsNEON = QuantizedKernels(
  quantizeRows: quantizeRows, multiply4: { multiply(bits: 4, $0, $1, $2, $3) }, multiply8: { multiply(bits: 8, $0, $1, $2, $3) },
  scratchBytes: blockInputs * panelRows, multiplyInRegisters: multiplyInRegisters)

@inline(__always)
private func multiply(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count == 1 { return bits == 4 ? multiplyOneToken4(panel, rows, output) : multiplyOneToken8(panel, rows, output) }
  multiplyUnpacked(bits: bits, panel, rows, output, scratch) {
    storeFours($0, $1, $2, $3, $4)
  } multiply: { tile in
    multiplyTile(tile, bits: bits)
  }
}

private func multiplyInRegisters(_ iterations: Int) -> Int {
  var sums = zeros16x16()
  var codes = neon_broadcast([1 as Int32])
  let values = neon_broadcast([2 as Int32])
  for _ in 0..<iterations {
    for index in 0..<8 {
      codes = neon_opaque(codes)
      sums[unchecked: 2 * index] = neon_add_products_low(sums[unchecked: 2 * index], codes, values)
      sums[unchecked: 2 * index + 1] = neon_add_products_high(sums[unchecked: 2 * index + 1], codes, values)
    }
  }
  for index in 0..<16 { _ = neon_opaque(unsafeBitCast(sums[unchecked: index], to: neon_int8.self)) }
  return iterations * 16 * 8
}

// Written out: `InlineArray(repeating:)` may stay a call to a copy of a generic function, which a kernel module may not hold, and the
// accumulators would be memory.

@inline(__always)
func zeros16x16() -> InlineArray<16, neon_int16> {
  let zero = neon_int16()
  return [
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
  ]
}

@inline(__always)
func zeros16() -> InlineArray<16, neon_int32> {
  let zero = neon_int32()
  return [
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
  ]
}
