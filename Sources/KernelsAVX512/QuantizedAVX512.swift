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
  multiply8: { multiply(bits: 8, $0, $1, $2, $3) },
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

// Others of integers are in `x86`.

@inline(__always)
private func zeros16() -> InlineArray<16, __m512i> {
  let zero = zeroIntegers()
  return [zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero]
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
  avx512_multiply_add(avx512_fill_float(zeroPoint(bits: bits)), scales, avx512_load_halves(minima))
}

/// What a sum starts from: −zero · Σ values, of which −8 · Σ values is stored.
@inline(__always)
func start(_ offset: UnsafePointer<Int32>, bits: Int) -> __m512i {
  let start = avx512_broadcast(offset)
  switch bits {
  case 3: return avx512_halve(start)
  case 4: return start
  default: return avx512_times16(start)
  }
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

/// A group of one token, and the sum of its values; those from `known` on are zeros.
@inline(__always)
func quantizeGroup(
  _ x: UnsafePointer<Float>, _ known: Int, _ inverse: Float, _ count: Int, _ to: UnsafeMutableRawPointer, _ width: Int
) -> Int32 {
  var sum = avx512_fill32(0)
  var index = 0
  while index < count {
    let integers = quantize16(x + index, known - index, inverse)
    sum = avx512_add32(sum, integers)
    store(integers, to + index * width, width)
    index += 16
  }
  return avx512_sum32(sum)
}

/// The bits of the greatest |x|: as integers they are ordered as the magnitudes are, with NaN above infinity.
@inline(__always)
func greatestMagnitude(_ x: UnsafePointer<Float>, _ count: Int) -> Int32 {
  let mask = avx512_fill32(0x7fff_ffff)
  var greatest = avx512_fill32(0)
  var index = 0
  while index < count {
    greatest = avx512_max32(greatest, avx512_and(mask, avx512_bits(avx512_load_some(x + index, count - index))))
    index += 16
  }
  return avx512_greatest32(greatest)
}

/// 16 values; those from `known` on are zeros.
@inline(__always)
private func quantize16(_ x: UnsafePointer<Float>, _ known: Int, _ inverse: Float) -> __m512i {
  if inverse == 0 || known <= 0 { return avx512_fill32(0) }
  return avx512_round(avx512_multiply(avx512_load_some(x, known), avx512_fill_float(inverse)))
}

/// Four fours of bytes to their places in a tile.
@inline(__always)
private func store(_ integers: __m512i, _ to: UnsafeMutableRawPointer, _ width: Int) {
  if width == 1 { return avx512_store_bytes(to, integers) }
  var fours = SIMD4<UInt32>()
  withUnsafeMutableBytes(of: &fours) { avx512_store_bytes($0.baseAddress, integers) }
  for index in 0..<4 { (to + 4 * index * width).storeBytes(of: fours[index], as: UInt32.self) }
}

// MARK: few tokens

let fewTokens = 8

/// All 32 rows by `tokens` (a constant) tokens straight from the packed codes, in steps of 128 bytes of 4-bit or 256 of 8-bit codes: eight
/// inputs; of 3-bit codes in steps of 384 bytes: 32 inputs.
@inline(__always)
func multiplyPackedCodes(
  bits: Int, _ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  if tokens == 1, bits != 3 {
    multiplyOneToken(bits: bits, panel, rows, output)
  } else {
    multiplySome(bits: bits, tokens, panel, rows, output)
  }
}

/// The first four and the last four of eight inputs are added up apart, so that a sum waits for its predecessor less often. The upper
/// halves of 4-bit codes stay where they are, so that their sums come out 16 times too large, which costs one shift a group in place of
/// one a vector.
@inline(__always)
private func multiplyOneToken(bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  let zero = avx512_fill_float(0)
  var results: InlineArray<2, __m512> = [zero, zero]
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    let offset = start(rows.offsets + group, bits: bits)
    var first: InlineArray<2, __m512i> = [offset, offset]
    var last: InlineArray<2, __m512i> = [zeroIntegers(), zeroIntegers()]
    for _ in 0..<panel.group / 8 {
      for vector in 0..<2 {
        let packed = avx512_load(codes + 64 * vector)
        let left = bits == 4 ? lowerHalves(packed) : packed
        let right = bits == 4 ? avx512_and(packed, avx512_fill8(-16)) : avx512_load(codes + 64 * vector + 128)
        first[unchecked: vector] = avx512_dot(first[unchecked: vector], left, avx512_broadcast(values))
        last[unchecked: vector] = avx512_dot(last[unchecked: vector], right, avx512_broadcast(values + 4))
      }
      codes += 32 * bits
      values += 8
    }
    forget_memory()
    for vector in 0..<2 {
      let row = group * panelRows + 16 * vector
      let scales = avx512_load_halves(panel.scales + row)
      let rest = last[unchecked: vector]
      let sum = avx512_add32(first[unchecked: vector], bits == 4 ? avx512_divide16(rest) : rest)
      results[unchecked: vector] = add(sum, scales, rows.scales + group, to: results[unchecked: vector])
      if let halves = panel.minima {
        let minima = minima(halves + row, scales, bits: bits)
        results[unchecked: vector] = add(minima, rows.sums + group, to: results[unchecked: vector])
      }
    }
  }
  for vector in 0..<2 { avx512_store_floats(output + 16 * vector, results[unchecked: vector]) }
}

/// A sum each for token and vector, enough of them to wait for none; results are in memory, which a group comes back to once. There is
/// time between two loads of codes here, in which those two pages ahead are asked for (Zen 4: a quarter less time with two to four tokens
/// and a tenth with eight; one token alone takes a tenth more, but with 3-bit codes, whose unpacking leaves the processor less of what
/// comes to look ahead at, a twentieth less).
@inline(__always)
private func multiplySome(
  bits: Int, _ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  var sums = zeros16()
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    for token in 0..<tokens {
      sums[unchecked: 2 * token] = start(rows.offsets + group * tokens + token, bits: bits)
      sums[unchecked: 2 * token + 1] = sums[unchecked: 2 * token]
    }
    for _ in 0..<(bits == 3 ? panel.group / 32 : 0) {
      prefetch(codes + 8192, 384)
      multiplyFours3(codes, tokens, values, 4 * tokens, &sums)
      codes += 384
      values += 32 * tokens
    }
    for _ in 0..<(bits == 3 ? 0 : panel.group / 8) {
      prefetch(codes + 8192, 32 * bits)
      let upper = avx512_load(codes)
      let lower = avx512_load(codes + 64)
      if bits == 4 {
        multiplyFour(lowerHalves(upper), lowerHalves(lower), tokens, values, &sums)
        multiplyFour(lowerHalves(avx512_shift4(upper)), lowerHalves(avx512_shift4(lower)), tokens, values + 4 * tokens, &sums)
      } else {
        multiplyFour(upper, lower, tokens, values, &sums)
        multiplyFour(avx512_load(codes + 128), avx512_load(codes + 192), tokens, values + 4 * tokens, &sums)
      }
      codes += 32 * bits
      values += 8 * tokens
    }
    forget_memory()
    let row = group * panelRows
    let upper = avx512_load_halves(panel.scales + row)
    let lower = avx512_load_halves(panel.scales + row + 16)
    for token in 0..<tokens {
      let factor = rows.scales + group * tokens + token
      let result = output + token * panelRows
      avx512_store_floats(result, add(sums[unchecked: 2 * token], upper, factor, to: avx512_load_floats(result)))
      avx512_store_floats(result + 16, add(sums[unchecked: 2 * token + 1], lower, factor, to: avx512_load_floats(result + 16)))
    }
    if let halves = panel.minima {
      let upper = minima(halves + row, upper, bits: bits)
      let lower = minima(halves + row + 16, lower, bits: bits)
      for token in 0..<tokens {
        let factor = rows.sums + group * tokens + token
        let result = output + token * panelRows
        avx512_store_floats(result, add(upper, factor, to: avx512_load_floats(result)))
        avx512_store_floats(result + 16, add(lower, factor, to: avx512_load_floats(result + 16)))
      }
    }
  }
}

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
      multiplyFours3(weights, tokens, values, 4 * width, &sums)
      weights += 384
      values += 32 * width
    }
    for _ in 0..<(bits == 3 ? 0 : tile.group / 8) {
      // 4-bit codes of eight inputs are in one pair of vectors, the first four in the lower halves of the bytes.
      let upper = avx512_load(weights)
      let lower = avx512_load(weights + 64)
      if bits == 4 {
        multiplyFour(lowerHalves(upper), lowerHalves(lower), tokens, values, &sums)
        multiplyFour(lowerHalves(avx512_shift4(upper)), lowerHalves(avx512_shift4(lower)), tokens, values + 4 * width, &sums)
      } else {
        multiplyFour(upper, lower, tokens, values, &sums)
        multiplyFour(avx512_load(weights + 128), avx512_load(weights + 192), tokens, values + 4 * width, &sums)
      }
      weights += 32 * bits
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

/// Four inputs: 32 rows' codes, the upper sixteen rows' first, by each token's four values.
@inline(__always)
private func multiplyFour<let count: Int>(
  _ upper: __m512i, _ lower: __m512i, _ tokens: Int, _ values: UnsafeRawPointer, _ sums: inout InlineArray<count, __m512i>
) {
  for token in 0..<tokens {
    let four = avx512_broadcast(values + 4 * token)
    sums[unchecked: 2 * token] = avx512_dot(sums[unchecked: 2 * token], upper, four)
    sums[unchecked: 2 * token + 1] = avx512_dot(sums[unchecked: 2 * token + 1], lower, four)
  }
}

/// 32 inputs in 3-bit codes by each token's values, of which four are `step` bytes from the next. What is loaded twice is so on purpose:
/// sums and results have nearly all registers.
@inline(__always)
private func multiplyFours3<let count: Int>(
  _ codes: UnsafeRawPointer, _ tokens: Int, _ values: UnsafeRawPointer, _ step: Int, _ sums: inout InlineArray<count, __m512i>
) {
  for part in 0..<3 {
    let (upper, lower) = (codes + 128 * part, codes + 128 * part + 64)
    let from = values + 2 * part * step
    multiplyFour(lowCodes3(avx512_load(upper)), lowCodes3(avx512_load(lower)), tokens, from, &sums)
    multiplyFour(highCodes3(avx512_load(upper)), highCodes3(avx512_load(lower)), tokens, from + step, &sums)
    forget_memory()
  }
  let (upper, lower) = (avx512_load(codes + 256), avx512_load(codes + 320))
  multiplyFour(
    avx512_seventh_codes(avx512_load(codes), upper), avx512_seventh_codes(avx512_load(codes + 64), lower), tokens, values + 6 * step, &sums)
  multiplyFour(
    avx512_eighth_codes(avx512_load(codes + 128), upper), avx512_eighth_codes(avx512_load(codes + 192), lower), tokens, values + 7 * step,
    &sums)
}

@inline(__always)
private func lowCodes3(_ bytes: __m512i) -> __m512i { avx512_and(bytes, avx512_fill8(7)) }
@inline(__always)
private func highCodes3(_ bytes: __m512i) -> __m512i { lowCodes3(avx512_shift3(bytes)) }

@inline(__always)
private func lowerHalves(_ bytes: __m512i) -> __m512i { avx512_and(bytes, avx512_fill8(15)) }
