import CIntrinsics
import Kernels

/// Quantized products with AVX2 alone: `maddubs` multiplies unsigned by signed bytes and adds pairs into int16.
///
/// Codes are split into digits of four bits: a 4-bit code is one, an 8-bit code two (see `unpack8`). With the zero point taken off, a
/// digit is at most 8 in magnitude, so 64 inputs, that is 32 products in each int16, come to 32 · 8 · 127 = 32512 at most and fit. The zero
/// point is taken off by starting each accumulator at −8 · Σ values; sums on the way may wrap, the last one is right. That is
/// two instructions (multiply, add) per 32 products, and the widening to int32 only once in 64 inputs.
///
/// Limit: the multiply-and-add loop alone, in registers. An 8-bit code costs twice a 4-bit one.
public let quantizedKernelsAVX2 = QuantizedKernels(
  quantizeRows: quantizeRows, multiply4: multiply4, multiply8: multiply8, scratchBytes: unpackedBytes + 1024,
  multiplyInRegisters: multiplyInRegisters)

/// Unpacked codes of a block of inputs, at a byte a digit.
let unpackedBytes = blockInputs * panelRows * 2

/// Inputs that an int16 accumulator takes.
let lanes16Inputs = 64

/// Words of offsets for a token and group: two int16 for each stretch of `lanes16Inputs`.
@inline(__always)
func offsetWords(_ group: Int) -> Int { (group + lanes16Inputs - 1) / lanes16Inputs }

func multiply4(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= directTokens { return multiplyDirectly4(panel, rows, output) }
  multiplyInBlocks(bits: 4, panel, rows, output, words: offsetWords(panel.group), scratch: scratch + unpackedBytes) { first, groups in
    let inputs = groups * panel.group
    unpack4(panel.codes + first * panel.group * panelRows / 2, inputs, scratch)
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    multiplyTile4(tile)
  }
}

func multiply8(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= directTokens { return multiplyDirectly8(panel, rows, output) }
  multiplyInBlocks(bits: 8, panel, rows, output, words: offsetWords(panel.group), scratch: scratch + unpackedBytes) { first, groups in
    let inputs = groups * panel.group
    unpack8(panel.codes + first * panel.group * panelRows, inputs, scratch)
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    multiplyTile8(tile)
  }
}

func multiplyInRegisters(_ iterations: Int) -> Int {
  var sums = zeros12()
  var left = avx2_fill8(1)
  var right = avx2_fill8(2)
  let values = avx2_fill8(1)
  for _ in 0..<iterations {
    for token in 0..<6 {
      left = avx2_opaque(left)
      right = avx2_opaque(right)
      sums[unchecked: 2 * token] = avx2_add16(sums[unchecked: 2 * token], avx2_multiply_pairs8(left, values))
      sums[unchecked: 2 * token + 1] = avx2_add16(sums[unchecked: 2 * token + 1], avx2_multiply_pairs8(right, values))
    }
  }
  for index in 0..<12 { _ = avx2_opaque(sums[unchecked: index]) }
  return iterations * 12 * 32
}
