import CIntrinsics
import Kernels
import KernelsNEON

/// Quantized products with the dot product of Armv8.2: `sdot` multiplies 16 signed by 16 signed bytes and adds fours to four int32; the
/// four values of a token are taken by element from a vector that holds four tokens.
///
/// Many tokens: 8 rows by 6 tokens, twelve integer accumulators and twelve results. For each four inputs that is 12 `sdot`, two loads of
/// codes and two of values.
///
/// Limit: `sdot` alone, 16 products each.
package let quantizedKernelsDotProd = QuantizedKernels(
  quantizeRows: quantizedKernelsNEON.quantizeRows, multiply4: { multiply(bits: 4, $0, $1, $2, $3) },
  multiply8: { multiply(bits: 8, $0, $1, $2, $3) }, scratchBytes: blockInputs * panelRows, multiplyInRegisters: multiplyInRegisters)

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
  16 * repeatInRegisters(iterations) { sum, codes, values, index in neon_dot(sum, codes, neon_lane(values, index & 3)) }
}
