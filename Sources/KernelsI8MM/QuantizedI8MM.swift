import CIntrinsics
import Kernels
import KernelsDotProd
import KernelsNEON

/// Quantized products with Armv8.6's 8-bit matrix product: `smmla` multiplies two rows of eight signed bytes by two tokens of eight and
/// adds to four int32, twice the products of a `sdot`.
///
/// It wants eight inputs of a row, and of a token, side by side. Rows are put so when codes are unpacked, once for all tokens of a call:
/// one `zip` of the bytes of two four inputs makes a vector. Tokens are put so when they are quantized. 8 rows by 6 tokens are twelve
/// integer accumulators and twelve results; for each eight inputs there are 12 `smmla`, four loads of codes and three of values.
///
/// One token has nothing to pair with: it is multiplied with `sdot`, for which one token's eights are two fours.
///
/// Limit: `smmla` alone, 32 products each.
package let quantizedKernelsI8MM = QuantizedKernels(
  quantizeRows: quantizeRowsInEights, multiply4: { multiply(bits: 4, $0, $1, $2, $3) }, multiply8: { multiply(bits: 8, $0, $1, $2, $3) },
  scratchBytes: blockInputs * panelRows, interleave: 8, multiplyInRegisters: multiplyInRegisters)

@inline(__always)
private func multiply(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count == 1 {
    let single = bits == 4 ? quantizedKernelsDotProd.multiply4 : quantizedKernelsDotProd.multiply8
    return single(panel, rows, output, scratch)
  }
  multiplyUnpacked(bits: bits, panel, rows, output, scratch) {
    storePairs($0, $1, $2, $3, $4)
  } multiply: { tile in
    multiplyTile(tile, bits: bits)
  }
}

/// The `store` of `multiplyUnpacked`: four rows as two pairs, `[4 quarters][inputs / 8][4 pairs of rows][2 rows][8 inputs]`.
@inline(__always)
private func storePairs(_ first: neon_int8, _ last: neon_int8, _ vector: Int, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let place = to + (vector >> 1) * inputs * 8 + (vector & 1) * 32
  neon_store(place, neon_join_low(first, last))
  neon_store(place + 16, neon_join_high(first, last))
}

private func multiplyInRegisters(_ iterations: Int) -> Int {
  32 * repeatInRegisters(iterations) { sum, codes, values, _ in neon_multiply_matrices(sum, codes, values) }
}
