import CIntrinsics
import Kernels

/// Quantized products with VNNI on 256 bits: `vpdpbusd` multiplies 32 unsigned by 32 signed bytes and adds fours into 8 int32.
///
/// The kernels of `KernelsAVX512` with half the width and half the registers: a tile is 16 rows by 6 tokens, 12 accumulators. For each
/// four inputs it takes 12 `vpdpbusd`, 6 broadcasts and two loads. Compiled twice: as `KernelsAVXVNNI` for processors with AVX-VNNI and
/// without AVX-512, and as `KernelsAVX512VL` for those that slow down, or split in two, what is 512 bits wide.
///
/// Limit: `vpdpbusd` alone, in registers.
package let quantizedKernelsVNNI256 = QuantizedKernels(
  quantizeRows: quantizeRows, multiply4: { multiply(bits: 4, $0, $1, $2, $3) }, multiply8: { multiply(bits: 8, $0, $1, $2, $3) },
  scratchBytes: blockInputs * panelRows, multiplyInRegisters: multiplyInRegisters)

/// 4-bit codes are unpacked to bytes, a block of inputs at a time; those of 8 bits are read where they are.
@inline(__always)
private func multiply(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= fewTokens { return multiplyFewTokens(bits: bits, panel, rows, output) }
  multiplyInBlocks(bits: bits, panel, rows, output, scratch: scratch) { first, groups in
    let codes = panel.codes + first * panel.group * panelRows * bits / 8
    if bits == 8 { return codes }
    unpack4(codes, groups * panel.group, scratch)
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    multiplyTile(bits: bits, tile)
  }
}

private func multiplyInRegisters(_ iterations: Int) -> Int { repeatInRegisters(iterations) { vnni256_dot($0, $1, $2) } }

/// What a sum starts from: −zero · Σ values, of which −8 · Σ values is stored.
@inline(__always)
func start(_ offset: UnsafePointer<Int32>, bits: Int) -> __m256i {
  let start = avx2_broadcast(offset)
  return bits == 4 ? start : avx2_times16(start)
}

// MARK: what the rounding of activations in `x86-vnni` works with

let integersInVector = 8
/// The greater of each lane of `greatest` and the bits of |x|.
@inline(__always)
func greaterMagnitudes(_ greatest: Integers, _ x: UnsafePointer<Float>) -> Integers {
  avx2_max32(greatest, avx2_and(avx2_fill32(0x7fff_ffff), avx2_load(x)))
}
@inline(__always)
func greatestOfFour(_ a: Integers, _ b: Integers, _ c: Integers, _ d: Integers) -> SIMD4<Int32> { avx2_greatest_of_four(a, b, c, d) }
@inline(__always)
func roundedProducts(_ x: UnsafePointer<Float>, _ factor: Float) -> Integers {
  avx2_round(avx2_multiply(avx2_load_floats(x), avx2_fill_float(factor)))
}
@inline(__always)
func interleaveBytes(_ a: Integers, _ b: Integers, _ c: Integers, _ d: Integers) -> Integers { avx2_interleave_bytes(a, b, c, d) }
@inline(__always)
func addFours(_ sums: Integers, _ bytes: Integers) -> Integers { vnni256_dot(sums, avx2_fill8(1), bytes) }
@inline(__always)
func storeSixteens(_ to: UnsafeMutableRawPointer, _ bytes: Integers, _ step: Int) { avx2_store_sixteens(to, bytes, step) }
@inline(__always)
func sumsOfFours(_ sums: Integers) -> SIMD4<Int32> { avx2_sums_of_fours(sums) }

/// A group of one token, and the sum of its values; those from `known` on are zeros.
@inline(__always)
func quantizeGroup(
  _ x: UnsafePointer<Float>, _ known: Int, _ inverse: Float, _ count: Int, _ to: UnsafeMutableRawPointer, _ width: Int
) -> Int32 {
  var sum = avx2_fill32(0)
  var index = 0
  while index < count {
    let bytes = quantize32(x + index, known - index, inverse)
    sum = vnni256_dot(sum, avx2_fill8(1), bytes)
    store(bytes, to + index * width, width)
    index += 32
  }
  return avx2_sum32(sum)
}
