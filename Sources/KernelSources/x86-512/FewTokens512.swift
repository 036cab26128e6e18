import CIntrinsics
import Kernels

// Few tokens, straight from the packed codes, with 512-bit `vpdpbusd`. Where a module's values lie is its own: `valueSteps`.

/// From a token's four values to the next token's, and to its own next four.
typealias ValueSteps = (token: Int, four: Int)

let fewTokens = 8

/// All 32 rows by `tokens` (a constant) tokens straight from the packed codes, in steps of 128 bytes of 4-bit or 256 of 8-bit codes: eight
/// inputs; of 3-bit codes in steps of 384 bytes: 32 inputs.
@inline(__always)
func multiplyPackedCodes(
  bits: Int, _ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  if tokens == 1, bits != 3 {
    multiplyOneToken(bits: bits, isUneven: false, panel, rows, output)
  } else {
    multiplySome(bits: bits, isUneven: false, tokens, panel, rows, output)
  }
}

/// The same of 4-bit codes with uneven levels: they are looked up with 32 added, as codes of six bits.
@inline(__always)
func multiplyUnevenCodes(_ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  if tokens == 1 {
    multiplyOneToken(bits: 4, isUneven: true, panel, rows, output)
  } else {
    multiplySome(bits: 4, isUneven: true, tokens, panel, rows, output)
  }
}

/// The first four and the last four of eight inputs are added up apart, so that a sum waits for its predecessor less often. The upper
/// halves of 4-bit codes stay where they are, so that their sums come out 16 times too large, which costs one shift a group in place of
/// one a vector.
@inline(__always)
private func multiplyOneToken(
  bits: Int, isUneven: Bool, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  let zero = avx512_fill_float(0)
  let levels = avx512_levels(32)
  var results: InlineArray<2, __m512> = [zero, zero]
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    let offset = start(rows.offsets + group, bits: isUneven ? 6 : bits)
    var first: InlineArray<2, __m512i> = [offset, offset]
    var last: InlineArray<2, __m512i> = [zeroIntegers(), zeroIntegers()]
    for _ in 0..<panel.group / 8 {
      if isUneven || asksAheadForOneToken { prefetch(codes + 8192, 32 * bits) }
      for vector in 0..<2 {
        let packed = avx512_load(codes + 64 * vector)
        let left = isUneven ? avx512_look_up(levels, packed) : bits == 4 ? lowerHalves(packed) : packed
        let right =
          isUneven
          ? avx512_look_up(levels, avx512_shift4(packed))
          : bits == 4 ? avx512_and(packed, avx512_fill8(-16)) : avx512_load(codes + 64 * vector + 128)
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
      let sum = avx512_add32(first[unchecked: vector], bits == 4 && !isUneven ? avx512_divide16(rest) : rest)
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
  bits: Int, isUneven: Bool, _ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  var sums = zeros16()
  let levels = avx512_levels(32)
  var codes = panel.codes
  let steps = valueSteps(tokens: tokens, group: panel.group)
  for group in 0..<panel.groups {
    var values = UnsafeRawPointer(rows.values) + group * panel.group * tokens
    for token in 0..<tokens {
      sums[unchecked: 2 * token] = start(rows.offsets + group * tokens + token, bits: isUneven ? 6 : bits)
      sums[unchecked: 2 * token + 1] = sums[unchecked: 2 * token]
    }
    for _ in 0..<(bits == 3 ? panel.group / 32 : 0) {
      prefetch(codes + 8192, 384)
      multiplyFours3(codes, tokens, values, steps, &sums)
      codes += 384
      values += 8 * steps.four
    }
    for _ in 0..<(bits == 3 ? 0 : panel.group / 8) {
      prefetch(codes + 8192, 32 * bits)
      let upper = avx512_load(codes)
      let lower = avx512_load(codes + 64)
      if isUneven {
        multiplyFour(avx512_look_up(levels, upper), avx512_look_up(levels, lower), tokens, values, steps.token, &sums)
        multiplyFour(
          avx512_look_up(levels, avx512_shift4(upper)), avx512_look_up(levels, avx512_shift4(lower)), tokens, values + steps.four,
          steps.token, &sums)
      } else if bits == 4 {
        multiplyFour(lowerHalves(upper), lowerHalves(lower), tokens, values, steps.token, &sums)
        multiplyFour(lowerHalves(avx512_shift4(upper)), lowerHalves(avx512_shift4(lower)), tokens, values + steps.four, steps.token, &sums)
      } else {
        multiplyFour(upper, lower, tokens, values, steps.token, &sums)
        multiplyFour(avx512_load(codes + 128), avx512_load(codes + 192), tokens, values + steps.four, steps.token, &sums)
      }
      codes += 32 * bits
      values += 2 * steps.four
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

// MARK: products

/// What a sum starts from: −zero · Σ values, of which −8 · Σ values is stored.
@inline(__always)
func start(_ offset: UnsafePointer<Int32>, bits: Int) -> __m512i {
  let start = avx512_broadcast(offset)
  switch bits {
  case 3: return avx512_halve(start)
  case 4: return start
  case 6: return avx512_times4(start)
  default: return avx512_times16(start)
  }
}

/// Four inputs: 32 rows' codes, the upper sixteen rows' first, by each token's four values, `step` bytes apart.
@inline(__always)
func multiplyFour<let count: Int>(
  _ upper: __m512i, _ lower: __m512i, _ tokens: Int, _ values: UnsafeRawPointer, _ step: Int, _ sums: inout InlineArray<count, __m512i>
) {
  for token in 0..<tokens {
    let four = avx512_broadcast(values + step * token)
    sums[unchecked: 2 * token] = avx512_dot(sums[unchecked: 2 * token], upper, four)
    sums[unchecked: 2 * token + 1] = avx512_dot(sums[unchecked: 2 * token + 1], lower, four)
  }
}

/// 32 inputs in 3-bit codes by each token's values. What is loaded twice is so on purpose:
/// sums and results have nearly all registers.
@inline(__always)
func multiplyFours3<let count: Int>(
  _ codes: UnsafeRawPointer, _ tokens: Int, _ values: UnsafeRawPointer, _ steps: ValueSteps, _ sums: inout InlineArray<count, __m512i>
) {
  for part in 0..<3 {
    let (upper, lower) = (codes + 128 * part, codes + 128 * part + 64)
    let from = values + 2 * part * steps.four
    multiplyFour(lowCodes3(avx512_load(upper)), lowCodes3(avx512_load(lower)), tokens, from, steps.token, &sums)
    multiplyFour(highCodes3(avx512_load(upper)), highCodes3(avx512_load(lower)), tokens, from + steps.four, steps.token, &sums)
    forget_memory()
  }
  let (upper, lower) = (avx512_load(codes + 256), avx512_load(codes + 320))
  multiplyFour(
    avx512_seventh_codes(avx512_load(codes), upper), avx512_seventh_codes(avx512_load(codes + 64), lower), tokens, values + 6 * steps.four,
    steps.token, &sums)
  multiplyFour(
    avx512_eighth_codes(avx512_load(codes + 128), upper), avx512_eighth_codes(avx512_load(codes + 192), lower), tokens,
    values + 7 * steps.four,
    steps.token, &sums)
}

@inline(__always)
private func zeros16() -> InlineArray<16, __m512i> {
  let zero = zeroIntegers()
  return [zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero]
}
