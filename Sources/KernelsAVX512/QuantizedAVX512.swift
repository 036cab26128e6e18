import CIntrinsics
import Kernels

/// Quantized products with AVX-512 and VNNI: `vpdpbusd` multiplies 64 unsigned by 64 signed bytes and adds fours into 16 int32.
///
/// Many tokens: 32 rows by six tokens at a time, twelve integer accumulators and twelve results, all in registers. For each four inputs it
/// takes twelve `vpdpbusd`, six broadcasts of four values and two loads of codes from the first-level cache, so nothing but the multiplier
/// is busy all the time. Codes are read where they are; 4-bit ones cost six masks and shifts for each 24 `vpdpbusd`, 3-bit ones nine, on
/// ports that these leave free, which is less than storing them as bytes once for all tokens. The zero point is in the accumulators'
/// start, −zero · Σ values. After each group an accumulator costs a conversion, a product of scales and a multiply-add.
///
/// Limit: `vpdpbusd` alone, in registers; groups of 128 cost at least 6 % on top, of 64 13 %, of 32 25 %, for the two float instructions
/// share its ports.
package let quantizedKernelsAVX512 = QuantizedKernels(
  quantizeRows: quantizeRows, multiply3: { multiply(bits: 3, $0, $1, $2, $3) }, multiply4: { multiply(bits: 4, $0, $1, $2, $3) },
  multiply8: { multiply(bits: 8, $0, $1, $2, $3) }, multiplyUneven: multiplyUneven,
  scratchBytes: blockInputs * panelRows, multiplyInRegisters: multiplyInRegisters)

@inline(__always)
private func multiply(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= fewTokens { return multiplyFewTokens(bits: bits, panel, rows, output) }
  multiplyInBlocks(bits: bits, panel, rows, output, requestsInGroup: panel.group / 4, scratch: scratch) { first, _ in
    panel.codes + first * panel.group * panelRows * bits / 8
  } multiply: { tile in
    multiplyUpTo6(bits: bits, smaller(6, tile.width), tile, 0)
    if tile.width > 6 { multiplyUpTo6(bits: bits, tile.width - 6, tile, 6) }
  }
}

/// Uneven levels are stored once for all tokens, with 32 added, and multiplied as codes of six bits: to look them up takes the ports of the
/// products.
private func multiplyUneven(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= fewTokens { return multiplyFewTokensOfUneven(panel, rows, output) }
  multiplyInBlocks(bits: 4, panel, rows, output, requestsInGroup: panel.group / 4, scratch: scratch) { first, groups in
    storeLevels(panel.codes + first * panel.group * panelRows / 2, groups * panel.group, scratch)
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    multiplyUpTo6(bits: 6, smaller(6, tile.width), tile, 0)
    if tile.width > 6 { multiplyUpTo6(bits: 6, tile.width - 6, tile, 6) }
  }
}

/// Levels plus 32 as the file has 8-bit codes.
@inline(__always)
private func storeLevels(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let levels = avx512_levels(32)
  for index in 0..<inputs / 8 {
    for half in 0..<2 {
      let packed = avx512_load(codes + 128 * index + 64 * half)
      avx512_store(to + 256 * index + 64 * half, avx512_look_up(levels, packed))
      avx512_store(to + 256 * index + 64 * half + 128, avx512_look_up(levels, avx512_shift4(packed)))
    }
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

@inline(__always)
func floatZeros12() -> InlineArray<12, __m512> {
  let zero = avx512_fill_float(0)
  return [zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero]
}

// MARK: what the rounding of activations in `x86-vnni` works with

let integersInVector = 16
/// The greater of each lane of `greatest` and the bits of |x|.
@inline(__always)
func greaterMagnitudes(_ greatest: Integers, _ x: UnsafePointer<Float>) -> Integers {
  avx512_max32(greatest, avx512_and(avx512_fill32(0x7fff_ffff), avx512_load(x)))
}
@inline(__always)
func greatestOfFour(_ a: Integers, _ b: Integers, _ c: Integers, _ d: Integers) -> SIMD4<Int32> { avx512_greatest_of_four(a, b, c, d) }
@inline(__always)
func roundedProducts(_ x: UnsafePointer<Float>, _ factor: Float) -> Integers {
  avx512_round(avx512_multiply(avx512_load_floats(x), avx512_fill_float(factor)))
}
@inline(__always)
func interleaveBytes(_ a: Integers, _ b: Integers, _ c: Integers, _ d: Integers) -> Integers { avx512_interleave_bytes(a, b, c, d) }
@inline(__always)
func addFours(_ sums: Integers, _ bytes: Integers) -> Integers { avx512_dot(sums, avx512_fill8(1), bytes) }
@inline(__always)
func storeSixteens(_ to: UnsafeMutableRawPointer, _ bytes: Integers, _ step: Int) { avx512_store_sixteens(to, bytes, step) }
@inline(__always)
func sumsOfFours(_ sums: Integers) -> SIMD4<Int32> { avx512_sums_of_fours(sums) }

// MARK: few tokens

/// Whether one token's codes are asked for two pages ahead: Zen 4 takes a tenth more time then.
@inline(__always)
var asksAheadForOneToken: Bool { false }

/// Fours of several tokens lie side by side.
@inline(__always)
func valueSteps(tokens: Int, group: Int) -> ValueSteps { (token: 4, four: 4 * tokens) }

// MARK: many tokens

/// All 32 rows by `tokens` (a constant) tokens from `first` on. Sums of a group and results each have their registers.
@inline(__always)
func multiplyTokens(bits: Int, _ tokens: Int, _ tile: QuantizedTile, _ first: Int) {
  let width = tile.width
  let output = tile.output + first * panelRows
  var weights = tile.weights
  var values = UnsafeRawPointer(tile.values) + 4 * first
  var offsets = tile.offsets + first
  var scales = tile.scales + first
  var tokenSums = tile.sums + first
  // A line in each step of eight inputs, of both halves of the tokens.
  var ahead = tile.ahead + (first > 0 ? tile.groups * tile.group / 8 * tile.requestStep : 0)
  var sums = zeros12()
  var results = floatZeros12()
  for token in 0..<tokens {
    results[unchecked: 2 * token] = avx512_load_floats(output + token * panelRows)
    results[unchecked: 2 * token + 1] = avx512_load_floats(output + token * panelRows + 16)
  }
  for group in 0..<tile.groups {
    for token in 0..<tokens {
      sums[unchecked: 2 * token] = start(offsets + token, bits: bits)
      sums[unchecked: 2 * token + 1] = sums[unchecked: 2 * token]
    }
    for _ in 0..<(bits == 3 ? tile.group / 32 : 0) {
      for _ in 0..<4 {
        prefetch_line(ahead)
        ahead += tile.requestStep
      }
      multiplyFours3(weights, tokens, values, (4, 4 * width), &sums)
      weights += 384
      values += 32 * width
    }
    for _ in 0..<(bits == 3 ? 0 : tile.group / 8) {
      prefetch_line(ahead)
      ahead += tile.requestStep
      // 4-bit codes of eight inputs are in one pair of vectors, the first four in the lower halves of the bytes.
      let upper = avx512_load(weights)
      let lower = avx512_load(weights + 64)
      if bits == 4 {
        multiplyFour(lowerHalves(upper), lowerHalves(lower), tokens, values, 4, &sums)
        multiplyFour(lowerHalves(avx512_shift4(upper)), lowerHalves(avx512_shift4(lower)), tokens, values + 4 * width, 4, &sums)
      } else {
        multiplyFour(upper, lower, tokens, values, 4, &sums)
        multiplyFour(avx512_load(weights + 128), avx512_load(weights + 192), tokens, values + 4 * width, 4, &sums)
      }
      weights += bits == 4 ? 128 : 256
      values += 8 * width
    }
    let row = group * panelRows
    let upper = avx512_load_halves(tile.weightScales + row)
    let lower = avx512_load_halves(tile.weightScales + row + 16)
    for token in 0..<tokens {
      results[unchecked: 2 * token] = add(sums[unchecked: 2 * token], upper, scales + token, to: results[unchecked: 2 * token])
      results[unchecked: 2 * token + 1] = add(sums[unchecked: 2 * token + 1], lower, scales + token, to: results[unchecked: 2 * token + 1])
    }
    if let halves = tile.minima {
      let upper = minima(halves + row, upper, bits: bits)
      let lower = minima(halves + row + 16, lower, bits: bits)
      for token in 0..<tokens {
        results[unchecked: 2 * token] = add(upper, tokenSums + token, to: results[unchecked: 2 * token])
        results[unchecked: 2 * token + 1] = add(lower, tokenSums + token, to: results[unchecked: 2 * token + 1])
      }
    }
    offsets += width
    scales += width
    tokenSums += width
  }
  for token in 0..<tokens {
    avx512_store_floats(output + token * panelRows, results[unchecked: 2 * token])
    avx512_store_floats(output + token * panelRows + 16, results[unchecked: 2 * token + 1])
  }
}
