import CIntrinsics
import Kernels

/// Quantized products with VNNI on 256 bits: `vpdpbusd` multiplies 32 unsigned by 32 signed bytes and adds fours into 8 int32.
///
/// The kernels of `KernelsAVX512` with half the width and half the registers: a tile is 16 rows by 6 tokens, 12 accumulators. For each
/// four inputs it takes 12 `vpdpbusd`, 6 broadcasts and two loads. Compiled twice: as `KernelsAVXVNNI` for processors with AVX-VNNI and
/// without AVX-512, and as `KernelsAVX512VL` for those that slow down, or split in two, what is 512 bits wide.
///
/// Limit: `vpdpbusd` alone, in registers.
public let quantizedKernelsVNNI256 = QuantizedKernels(
  quantizeRows: quantizeRows, multiply4: multiply4, multiply8: multiply8, scratchBytes: blockInputs * panelRows,
  multiplyInRegisters: multiplyInRegisters)

func multiply4(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= directTokens { return multiplyDirectly4(panel, rows, output) }
  multiplyInBlocks(bits: 4, panel, rows, output, words: 1, scratch: scratch) { first, groups in
    unpack4(panel.codes + first * panel.group * panelRows / 2, groups * panel.group, scratch)
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    multiplyTile(tile, bits: 4)
  }
}

func multiply8(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= directTokens { return multiplyDirectly8(panel, rows, output) }
  // An argument that is not used would make the compiler emit a second, weak copy of the function.
  avx2_prefetch(scratch)
  multiplyInBlocks(bits: 8, panel, rows, output, words: 1, scratch: scratch) { first, groups in
    panel.codes + first * panel.group * panelRows
  } multiply: { tile in
    multiplyTile(tile, bits: 8)
  }
}

/// What a sum starts from: −zero · Σ values, of which −8 · Σ values is stored.
@inline(__always)
func start(_ offset: UnsafePointer<Int32>, bits: Int) -> __m256i {
  let start = avx2_broadcast(offset)
  return bits == 4 ? start : avx2_times16(start)
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
      sums[unchecked: 2 * token] = vnni256_dot(sums[unchecked: 2 * token], left, values)
      sums[unchecked: 2 * token + 1] = vnni256_dot(sums[unchecked: 2 * token + 1], right, values)
    }
  }
  for index in 0..<12 { _ = avx2_opaque(sums[unchecked: index]) }
  return iterations * 12 * 32
}
