import CIntrinsics
import Kernels
import KernelsDotProd
import KernelsNEON

/// Quantized products with Armv8.6's 8-bit matrix product: `smmla` multiplies two rows of eight signed bytes by two tokens of eight and adds
/// to four int32, twice the products of a `sdot`.
///
/// It wants eight inputs of a row, and of a token, side by side. Rows are put so when codes are unpacked, once for all tokens of a call: one
/// `zip` of the bytes of two four inputs makes a vector. Tokens are put so when they are quantized. 8 rows by 6 tokens are twelve integer
/// accumulators and twelve results; for each eight inputs there are 12 `smmla`, four loads of codes and three of values.
///
/// One token has nothing to pair with: it is multiplied with `sdot`, for which one token's eights are two fours.
///
/// Limit: `smmla` alone, 32 products each.
public let quantizedKernelsI8MM = QuantizedKernels(
  quantizeRows: quantizeRowsInEights, multiply4: multiply4, multiply8: multiply8, scratchBytes: blockInputs * panelRows, inputsTogether: 8,
  multiplyInRegisters: multiplyInRegisters)

func multiply4(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count == 1 { return quantizedKernelsDotProd.multiply4(panel, rows, output, scratch) }
  multiplyInBlocks(bits: 4, panel, rows, output, words: 1, scratch: scratch) { first, groups in
    unpackPairs4(panel.codes + first * panel.group * panelRows / 2, groups * panel.group, scratch)
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    multiplyTile(tile, bits: 4)
  }
}

func multiply8(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count == 1 { return quantizedKernelsDotProd.multiply8(panel, rows, output, scratch) }
  multiplyInBlocks(bits: 8, panel, rows, output, words: 1, scratch: scratch) { first, groups in
    unpackPairs8(panel.codes + first * panel.group * panelRows, groups * panel.group, scratch)
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    multiplyTile(tile, bits: 8)
  }
}

func multiplyInRegisters(_ iterations: Int) -> Int {
  var sums = zeros24()
  var codes = neon_broadcast([1 as Int32])
  let values = neon_broadcast([2 as Int32])
  for _ in 0..<iterations {
    for index in 0..<24 {
      if index & 3 == 0 { codes = neon_opaque(codes) }
      sums[unchecked: index] = neon_multiply_matrices(sums[unchecked: index], codes, values)
    }
  }
  for index in 0..<24 { _ = neon_opaque(unsafeBitCast(sums[unchecked: index], to: neon_int8.self)) }
  return iterations * 24 * 32
}
