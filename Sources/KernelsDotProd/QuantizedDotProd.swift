import CIntrinsics
import Kernels
import KernelsNEON

/// Quantized products with the dot product of Armv8.2: `sdot` multiplies 16 signed by 16 signed bytes and adds fours to four int32; the four
/// values of a token are taken by element from a vector that holds four tokens.
///
/// Many tokens: 8 rows by 6 tokens, twelve integer accumulators and twelve results. For each four inputs that is 12 `sdot`, two loads of codes
/// and two of values.
///
/// Limit: `sdot` alone, 16 products each.
public let quantizedKernelsDotProd = QuantizedKernels(
  quantizeRows: quantizedKernelsNEON.quantizeRows, multiply4: multiply4, multiply8: multiply8, scratchBytes: blockInputs * panelRows,
  multiplyInRegisters: multiplyInRegisters)

func multiply4(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= directTokens { return multiplyDirectly(panel, rows, output, bits: 4) }
  multiplyUnpacked(bits: 4, panel, rows, output, scratch) { multiplyTile($0, bits: 4) }
}

func multiply8(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= directTokens { return multiplyDirectly(panel, rows, output, bits: 8) }
  multiplyUnpacked(bits: 8, panel, rows, output, scratch) { multiplyTile($0, bits: 8) }
}

func multiplyInRegisters(_ iterations: Int) -> Int {
  var sums = zeros24()
  var codes = neon_broadcast([1 as Int32])
  let values = neon_broadcast([2 as Int32])
  for _ in 0..<iterations {
    for index in 0..<24 {
      if index & 3 == 0 { codes = neon_opaque(codes) }
      sums[unchecked: index] = neon_dot(sums[unchecked: index], codes, neon_lane(values, index & 3))
    }
  }
  for index in 0..<24 { _ = neon_opaque(unsafeBitCast(sums[unchecked: index], to: neon_int8.self)) }
  return iterations * 24 * 16
}
