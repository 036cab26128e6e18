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
  quantizeRows: quantizeRows, multiply3: { multiply(bits: 3, $0, $1, $2, $3) }, multiply4: { multiply(bits: 4, $0, $1, $2, $3) },
  multiply8: { multiply(bits: 8, $0, $1, $2, $3) }, multiplyUneven: multiplyUneven,
  scratchBytes: blockInputs * panelRows, multiplyInRegisters: multiplyInRegisters)

/// 3- and 4-bit codes are unpacked to bytes, a block of inputs at a time; those of 8 bits are read where they are.
@inline(__always)
private func multiply(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= fewTokens { return multiplyFewTokens(bits: bits, panel, rows, output) }
  multiplyInBlocks(bits: bits, panel, rows, output, scratch: scratch) { first, groups in
    let codes = panel.codes + first * panel.group * panelRows * bits / 8
    if bits == 8 { return codes }
    if bits == 3 { unpack3(codes, groups * panel.group, scratch) } else { unpack4(codes, groups * panel.group, scratch) }
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    multiplyTile(bits: bits, tile)
  }
}

/// Uneven levels are looked up with 32 added and multiplied as codes of six bits.
private func multiplyUneven(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= fewTokens { return multiplyFewTokensOfUneven(panel, rows, output) }
  multiplyInBlocks(bits: 4, panel, rows, output, scratch: scratch) { first, groups in
    storeLevels(panel.codes + first * panel.group * panelRows / 2, groups * panel.group, scratch)
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    multiplyTile(bits: 6, tile)
  }
}

private func multiplyInRegisters(_ iterations: Int) -> Int { repeatInRegisters(iterations) { vnni256_dot($0, $1, $2) } }

/// What a sum starts from: −zero · Σ values, of which −8 · Σ values is stored.
@inline(__always)
func start(_ offset: UnsafePointer<Int32>, bits: Int) -> __m256i {
  let start = avx2_broadcast(offset)
  switch bits {
  case 3: return avx2_halve(start)
  case 4: return start
  case 6: return avx2_times4(start)
  default: return avx2_times16(start)
  }
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

// MARK: few tokens

let fewTokens = 4

/// `tokens` (a constant) tokens straight from the packed codes, in steps of eight inputs: the first four and the last four are added up
/// apart so that a sum waits for its predecessor less often. The upper halves of 4-bit codes stay where they are, so that their sums come
/// out 16 times too large, which costs one shift a group in place of one a vector. Of 3-bit codes, in steps of 32 inputs, three of eight
/// fours stay where they are, 8 times too large. Their parts are read one after the other, and asked for ahead: unpacking leaves the
/// processor less of what comes to look ahead at.
@inline(__always)
func multiplyPackedCodes(
  bits: Int, _ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  multiplyPackedCodes(bits: bits, isUneven: false, tokens, panel, rows, output)
}

/// The same of 4-bit codes with uneven levels: they are looked up with 32 added, as codes of six bits.
@inline(__always)
func multiplyUnevenCodes(_ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  multiplyPackedCodes(bits: 4, isUneven: true, tokens, panel, rows, output)
}

@inline(__always)
private func multiplyPackedCodes(
  bits: Int, isUneven: Bool, _ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  let levels = avx2_levels(32)
  // Vectors of 8 rows at a time: with their tokens at most four sums of each kind.
  let vectors = tokens > 2 ? 1 : tokens == 2 ? 2 : 4
  var first = zeros8()
  var last = zeros8()
  for part in 0..<4 / vectors {
    var codes = panel.codes + part * vectors * 32
    var values = UnsafeRawPointer(rows.values)
    let place = output + part * vectors * 8
    for group in 0..<panel.groups {
      for token in 0..<tokens {
        let offset = start(rows.offsets + group * tokens + token, bits: isUneven ? 6 : bits)
        for vector in 0..<vectors {
          first[unchecked: token * vectors + vector] = offset
          last[unchecked: token * vectors + vector] = avx2_fill32(0)
        }
      }
      for _ in 0..<(bits == 3 ? panel.group / 32 : 0) {
        if part == 0 { prefetch(codes + 8192, 384) }
        for pair in 0..<3 {
          let from = values + 8 * pair * tokens
          for vector in 0..<vectors {
            let packed = avx2_load(codes + 128 * pair + 32 * vector)
            multiplyFour(avx2_and(packed, avx2_fill8(7)), tokens, from, &first, vector, vectors)
            multiplyFour(avx2_and(packed, avx2_fill8(0x38)), tokens, from + 4 * tokens, &last, vector, vectors)
          }
          forget_memory()
        }
        for vector in 0..<vectors {
          let parts = Parts3(codes + 32 * vector)
          multiplyFour(avx2_seventh_codes(parts.a, parts.c), tokens, values + 24 * tokens, &first, vector, vectors)
          multiplyFour(avx2_eighth_codes(parts.b, parts.c), tokens, values + 28 * tokens, &first, vector, vectors)
        }
        codes += 384
        values += 32 * tokens
      }
      for _ in 0..<(bits == 3 ? 0 : panel.group / 8) {
        if isUneven, part == 0 { prefetch(codes + 8192, 128) }
        for vector in 0..<vectors {
          let packed = avx2_load(codes + 32 * vector)
          var left = bits == 4 ? avx2_and(packed, avx2_fill8(0x0f)) : packed
          var right = bits == 4 ? avx2_and(packed, avx2_fill8(-16)) : avx2_load(codes + 32 * vector + 128)
          if isUneven { (left, right) = lookUp(levels, packed) }
          for token in 0..<tokens {
            let index = token * vectors + vector
            first[unchecked: index] = vnni256_dot(first[unchecked: index], left, avx2_broadcast(values + 4 * token))
            last[unchecked: index] = vnni256_dot(last[unchecked: index], right, avx2_broadcast(values + 4 * tokens + 4 * token))
          }
        }
        codes += 32 * bits
        values += 8 * tokens
      }
      forget_memory()
      let row = group * panelRows + part * vectors * 8
      for vector in 0..<vectors {
        let scales = avx2_load_halves(panel.scales + row + 8 * vector)
        for token in 0..<tokens {
          let index = token * vectors + vector
          let rest = last[unchecked: index]
          let whole = bits == 3 ? avx2_divide8(rest) : bits == 4 && !isUneven ? avx2_divide16(rest) : rest
          let sum = avx2_add32(first[unchecked: index], whole)
          add(sum, scales, rows.scales + group * tokens + token, to: place + token * panelRows + 8 * vector)
        }
        if let halves = panel.minima {
          let minima = minima(halves + row + 8 * vector, scales, bits: bits)
          for token in 0..<tokens { add(minima, rows.sums + group * tokens + token, to: place + token * panelRows + 8 * vector) }
        }
      }
    }
  }
}

/// Four inputs of eight rows by each token's values; the tokens' sums are `step` apart, the first at `index`.
@inline(__always)
private func multiplyFour(
  _ codes: __m256i, _ tokens: Int, _ values: UnsafeRawPointer, _ sums: inout InlineArray<8, Integers>, _ index: Int, _ step: Int
) {
  for token in 0..<tokens {
    let place = index + token * step
    sums[unchecked: place] = vnni256_dot(sums[unchecked: place], codes, avx2_broadcast(values + 4 * token))
  }
}

// MARK: many tokens

// Many tokens: 12 accumulators, two vectors of codes and one of values.

/// `tokens` (a constant) tokens from `first` on.
@inline(__always)
func multiplyTokens(bits: Int, _ tokens: Int, _ tile: QuantizedTile, _ first: Int) {
  for part in 0..<2 { multiplyTokens(bits: bits, tokens, tile, first, part) }
}

/// By 16 rows: the `part`-th half of the panel. Codes of 3 and 4 bits were unpacked half by half, those of 8 bits are read where they are.
@inline(__always)
private func multiplyTokens(bits: Int, _ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ part: Int) {
  var sums = zeros12()
  let step = bits == 8 ? 128 : 64
  var weights = tile.weights + part * (bits == 8 ? 64 : tile.groups * tile.group * 16)
  var values = UnsafeRawPointer(tile.values + 4 * first)
  let output = tile.output + first * panelRows + 16 * part
  for group in 0..<tile.groups {
    let column = group * tile.width + first
    for token in 0..<tokens {
      sums[unchecked: 2 * token] = start(tile.offsets + column + token, bits: bits)
      sums[unchecked: 2 * token + 1] = sums[unchecked: 2 * token]
    }
    for _ in 0..<tile.group / 4 {
      let left = avx2_load(weights)
      let right = avx2_load(weights + 32)
      for token in 0..<tokens {
        let four = avx2_broadcast(values + 4 * token)
        sums[unchecked: 2 * token] = vnni256_dot(sums[unchecked: 2 * token], left, four)
        sums[unchecked: 2 * token + 1] = vnni256_dot(sums[unchecked: 2 * token + 1], right, four)
      }
      weights += step
      values += 4 * tile.width
    }
    forget_memory()
    let row = group * panelRows + 16 * part
    let left = avx2_load_halves(tile.weightScales + row)
    let right = avx2_load_halves(tile.weightScales + row + 8)
    // Loops as small as this are unrolled whole, which the accumulators need to be registers.
    for token in 0..<tokens { add(sums[unchecked: 2 * token], left, tile.scales + column + token, to: output + token * panelRows) }
    for token in 0..<tokens { add(sums[unchecked: 2 * token + 1], right, tile.scales + column + token, to: output + token * panelRows + 8) }
    if let halves = tile.minima {
      let left = minima(halves + row, left, bits: bits)
      let right = minima(halves + row + 8, right, bits: bits)
      for token in 0..<tokens {
        add(left, tile.sums + column + token, to: output + token * panelRows)
        add(right, tile.sums + column + token, to: output + token * panelRows + 8)
      }
    }
  }
}
