import CIntrinsics
import Kernels

/// Quantized products with AVX2 alone: `maddubs` multiplies unsigned by signed bytes and adds pairs into int16.
///
/// Codes are split into digits of four bits: a 3- or 4-bit code is one, an 8-bit code two (see `unpack8`). With the zero point taken off, a
/// digit is at most 8 in magnitude, so 64 inputs, that is 32 products in each int16, come to 32 · 8 · 127 = 32512 at most and fit. The zero
/// point is taken off by starting each accumulator at −8 · Σ values (half of that for 3 bits); sums on the way may wrap, the last one is
/// right. That is two instructions (multiply, add) per 32 products, and the widening to int32 only once in 64 inputs.
///
/// Limit: the multiply-and-add loop alone, in registers. An 8-bit code costs twice a 4-bit one. Uneven levels are in `UnevenAVX2`.
package let quantizedKernelsAVX2 = QuantizedKernels(
  quantizeRows: quantizeRows, multiply3: { multiply(bits: 3, $0, $1, $2, $3) }, multiply4: { multiply(bits: 4, $0, $1, $2, $3) },
  multiply8: { multiply(bits: 8, $0, $1, $2, $3) }, multiplyUneven: multiplyUneven,
  scratchBytes: unpackedBytes + 1024, multiplyInRegisters: multiplyInRegisters)

/// Unpacked codes of a block of inputs, at a byte a digit.
var unpackedBytes: Int { blockInputs * panelRows * 2 }

/// Inputs that an int16 accumulator takes.
let lanes16Inputs = 64

/// Offsets of a token and group: for each stretch of `lanes16Inputs` an int32 that holds two int16.
@inline(__always)
func offsetsPerGroup(_ group: Int) -> Int { (group + lanes16Inputs - 1) / lanes16Inputs }

@inline(__always)
private func multiply(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= fewTokens { return multiplyFewTokens(bits: bits, panel, rows, output) }
  multiplyInBlocks(
    bits: bits, panel, rows, output, offsetsPerGroup: offsetsPerGroup(panel.group), scratch: scratch + unpackedBytes
  ) { first, groups in
    let codes = panel.codes + first * panel.group * panelRows * bits / 8
    switch bits {
    case 3: unpack3(codes, groups * panel.group, scratch)
    case 4: unpack4(codes, groups * panel.group, scratch)
    default: unpack8(codes, groups * panel.group, scratch)
    }
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    multiplyTile(bits: bits, tile)
  }
}

private func multiplyInRegisters(_ iterations: Int) -> Int {
  repeatInRegisters(iterations) { avx2_add16($0, avx2_multiply_pairs8($1, $2)) }
}

/// See `QuantizedKernels.quantizeRows`. Offsets are two int16 for each 64 inputs: −8 times the sums over inputs 0, 1 and over 2, 3 of each
/// four.
private func quantizeRows(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>
) {
  for token in tokens {
    quantizeRow(
      x + (token - tokens.lowerBound) * stride, columns, rows, token, groups, offsetsPerGroup: offsetsPerGroup(rows.group),
      hasOwnOffsets: true
    ) { x, known in
      greatestMagnitude(x, known)
    } values: { x, known, inverse, to, width, offsets in
      var offsets = offsets
      var sum: Int32 = 0
      var input = 0
      while input < rows.group {
        let end = smaller(input + lanes16Inputs, rows.group)
        var pairs = avx2_fill16(0)
        while input < end {
          let bytes = quantize32(x + input, known - input, inverse)
          store(bytes, to + input * width, width)
          pairs = avx2_add16(pairs, avx2_multiply_pairs8(avx2_fill8(1), bytes))
          input += 32
        }
        // Its halves are −8 times their sums.
        let offset = avx2_offset_word(pairs)
        offsets.pointee = offset
        offsets += width
        sum &-= Int32(Int16(truncatingIfNeeded: offset)) &+ (offset >> 16)
      }
      return sum >> 3
    }
  }
}

// MARK: digits

/// An 8-bit code as two digits, `code − 128 = 16 · (high − 8) + (low − 8)` with high in 0 … 16 and low in 0 … 15.
@inline(__always)
func digits(_ codes: __m256i) -> (high: __m256i, low: __m256i) {
  // The average with 0 rounds up: (code / 8 + 1) / 2 = (code + 8) / 16.
  let high = avx2_average8(avx2_and(avx2_shift3(codes), avx2_fill8(31)), avx2_fill8(0))
  return (high, avx2_and(avx2_add8(codes, avx2_fill8(8)), avx2_fill8(15)))
}

/// 8-bit codes of `inputs` inputs as two digits of a byte each: `[4 quarters][inputs / 4][high, low][8 rows][4 inputs]`.
@inline(__always)
func unpack8(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let quarter = inputs / 4 * 64
  var from = codes
  var to = to
  for _ in 0..<inputs / 4 {
    for vector in 0..<4 {
      let (high, low) = digits(avx2_load(from + 32 * vector))
      avx2_store(to + vector * quarter, high)
      avx2_store(to + vector * quarter + 32, low)
    }
    from += 128
    to += 64
  }
}

/// The sums of neighbours, and for codes of two digits those of the high digit 16 times.
@inline(__always)
func widen(_ low: __m256i) -> __m256i { avx2_multiply_pairs16(low, avx2_fill16(1)) }
@inline(__always)
func widen(high: __m256i, low: __m256i) -> __m256i { avx2_add32(avx2_multiply_pairs16(high, avx2_fill16(16)), widen(low)) }

/// What the two int16 of each lane start from: −zero · Σ values, of which −8 · Σ values is stored.
@inline(__always)
private func start(_ offset: UnsafePointer<Int32>, bits: Int) -> __m256i {
  let start = avx2_broadcast(offset)
  return bits == 3 ? avx2_halve16(start) : start
}

// MARK: few tokens

let fewTokens = 4

/// `tokens` (a constant) tokens straight from the packed codes: so many vectors of 8 rows at a time that the accumulators are at most
/// eight, one for each digit of the codes, token and vector.
@inline(__always)
func multiplyPackedCodes(
  bits: Int, _ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  let digitCount = bits == 8 ? 2 : 1
  let vectors = tokens * digitCount > 4 ? 1 : tokens * digitCount > 2 ? 2 : 4
  // Inputs of one 128-byte block of the panel's 32 rows.
  let inputs = bits == 4 ? 8 : 4
  var sums = zeros8()
  var wide = zeros8()
  for part in 0..<4 / vectors {
    var codes = panel.codes + part * vectors * 32
    var values = UnsafeRawPointer(rows.values)
    var offsets = UnsafePointer(rows.offsets)
    for group in 0..<panel.groups {
      var rest = panel.group
      var isFirst = true
      while rest > 0 {
        let some = smaller(lanes16Inputs, rest)
        rest -= some
        for token in 0..<tokens {
          let offset = start(offsets + token, bits: bits)
          for index in 0..<vectors * digitCount { sums[unchecked: token * vectors * digitCount + index] = offset }
        }
        offsets += tokens
        for _ in 0..<(bits == 3 ? some / 32 : 0) {
          if part == 0 { prefetch(codes + 8192, 384) }
          for pair in 0..<3 {
            for vector in 0..<vectors {
              let packed = avx2_load(codes + 128 * pair + 32 * vector)
              let high = avx2_and(avx2_shift3(packed), avx2_fill8(7))
              multiplyFours(avx2_and(packed, avx2_fill8(7)), high, tokens, values + 8 * pair * tokens, &sums, vector, vectors)
            }
            forget_memory()
          }
          for vector in 0..<vectors {
            let parts = Parts3(codes + 32 * vector)
            let (seventh, eighth) = (avx2_seventh_codes(parts.a, parts.c), avx2_eighth_codes(parts.b, parts.c))
            multiplyFours(seventh, eighth, tokens, values + 24 * tokens, &sums, vector, vectors)
          }
          codes += 384
          values += 32 * tokens
        }
        for _ in 0..<(bits == 3 ? 0 : some / inputs) {
          for vector in 0..<vectors {
            let packed = avx2_load(codes + 32 * vector)
            if bits == 4 {
              let low = avx2_and(packed, avx2_fill8(15))
              let high = avx2_and(avx2_shift4(packed), avx2_fill8(15))
              multiplyFours(low, high, tokens, values, &sums, vector, vectors)
            } else {
              let (high, low) = digits(packed)
              for token in 0..<tokens {
                let four = avx2_broadcast(values + 4 * token)
                let index = 2 * (token * vectors + vector)
                sums[unchecked: index] = avx2_add16(sums[unchecked: index], avx2_multiply_pairs8(high, four))
                sums[unchecked: index + 1] = avx2_add16(sums[unchecked: index + 1], avx2_multiply_pairs8(low, four))
              }
            }
          }
          codes += 128
          values += inputs * tokens
        }
        for index in 0..<vectors * tokens {
          let sum = bits == 8 ? widen(high: sums[unchecked: 2 * index], low: sums[unchecked: 2 * index + 1]) : widen(sums[unchecked: index])
          wide[unchecked: index] = isFirst ? sum : avx2_add32(wide[unchecked: index], sum)
        }
        isFirst = false
      }
      forget_memory()
      let row = 8 * part * vectors
      let place = output + row
      let weightScales = panel.scales + group * panelRows + row
      let scales = rows.scales + group * tokens
      for vector in 0..<vectors {
        for token in 0..<tokens {
          add(
            wide[unchecked: token * vectors + vector], avx2_load_halves(weightScales + 8 * vector), scales + token,
            to: place + token * panelRows + 8 * vector)
        }
      }
      if let halves = panel.minima {
        for vector in 0..<vectors {
          let minima = minima(halves + group * panelRows + row + 8 * vector, avx2_load_halves(weightScales + 8 * vector), bits: bits)
          for token in 0..<tokens { add(minima, rows.sums + group * tokens + token, to: place + token * panelRows + 8 * vector) }
        }
      }
    }
  }
}

/// Four and four inputs of eight rows by each token's values, of codes of one digit; the tokens' sums are `step` apart, the first at
/// `index`.
@inline(__always)
private func multiplyFours(
  _ left: __m256i, _ right: __m256i, _ tokens: Int, _ values: UnsafeRawPointer, _ sums: inout InlineArray<8, Integers>, _ index: Int,
  _ step: Int
) {
  for token in 0..<tokens {
    let first = avx2_multiply_pairs8(left, avx2_broadcast(values + 4 * token))
    let second = avx2_multiply_pairs8(right, avx2_broadcast(values + 4 * tokens + 4 * token))
    let place = index + token * step
    sums[unchecked: place] = avx2_add16(avx2_add16(first, second), sums[unchecked: place])
  }
}

// MARK: many tokens

// 12 accumulators of 16 int16, two vectors of codes, one of values and a product: all 16 registers.

/// `tokens` (a constant) tokens from `first` on, by 16 rows of one digit or 8 rows of two, after each other. All rows in one call: with one
/// for each 8 rows it took 3 % longer.
@inline(__always)
func multiplyTokens(bits: Int, _ tokens: Int, _ tile: QuantizedTile, _ first: Int) {
  if tile.group > lanes16Inputs {
    multiplyTokens(bits, tokens, isLong: true, tile, first)
  } else {
    multiplyTokens(bits, tokens, isLong: false, tile, first)
  }
}

/// `isLong` (a constant) says that a group is longer than what an int16 accumulator takes.
@inline(__always)
private func multiplyTokens(_ bits: Int, _ tokens: Int, isLong: Bool, _ tile: QuantizedTile, _ first: Int) {
  var weights = tile.weights
  let rows = bits == 8 ? 8 : 16
  for part in 0..<panelRows / rows {
    var place = TilePlace(weights, tile, first)
    multiplyRows(bits, tokens, isLong: isLong, tile, first, part * rows, &place)
    weights = place.weights
  }
}

/// The rows from `row` on.
@inline(__always)
private func multiplyRows(
  _ bits: Int, _ tokens: Int, isLong: Bool, _ tile: QuantizedTile, _ first: Int, _ row: Int, _ place: inout TilePlace
) {
  let digits = bits == 8 ? 2 : 1
  let vectors = digits == 1 ? 2 : 1
  let output = tile.output + first * panelRows + row
  var row = row
  for group in 0..<tile.groups {
    var sums = zeros12()
    if isLong {
      // Sums of the earlier stretches wait in memory: they are needed once in 64 inputs, and registers are all taken.
      accumulate(bits, tokens, lanes16Inputs, &place, &sums)
      for index in 0..<vectors * tokens { avx2_store(tile.scratch + 32 * index, widen(digits, index, sums)) }
      for _ in 2..<offsetsPerGroup(tile.group) {
        accumulate(bits, tokens, lanes16Inputs, &place, &sums)
        for index in 0..<vectors * tokens {
          let waiting = tile.scratch + 32 * index
          avx2_store(waiting, avx2_add32(avx2_load(waiting), widen(digits, index, sums)))
        }
      }
    }
    accumulate(bits, tokens, isLong ? (tile.group - 1) % lanes16Inputs + 1 : tile.group, &place, &sums)

    forget_memory()
    let scales = tile.scales + group * tile.width + first
    let left = avx2_load_halves(tile.weightScales + row)
    let right = avx2_load_halves(tile.weightScales + row + 8 * (vectors - 1))
    // Loops as small as these are unrolled whole, which the accumulators need to be registers.
    for token in 0..<smaller(3, tokens) {
      addToken(digits, token, sums, isLong, tile.scratch, left, right, scales + token, to: output + token * panelRows)
    }
    for token in smaller(3, tokens)..<tokens {
      addToken(digits, token, sums, isLong, tile.scratch, left, right, scales + token, to: output + token * panelRows)
    }
    if let halves = tile.minima {
      let tokenSums = tile.sums + group * tile.width + first
      let left = minima(halves + row, left, bits: bits)
      let right = minima(halves + row + 8 * (vectors - 1), right, bits: bits)
      for token in 0..<tokens {
        let place = output + token * panelRows
        add(left, tokenSums + token, to: place)
        if vectors == 2 { add(right, tokenSums + token, to: place + 8) }
      }
    }
    row += panelRows
  }
}

/// Where a kernel stands in its tile.
private struct TilePlace {
  var weights: UnsafeRawPointer
  var values: UnsafeRawPointer
  var offsets: UnsafePointer<Int32>
  /// From four inputs of all tokens to the next four, in bytes.
  let step: Int

  @inline(__always)
  init(_ weights: UnsafeRawPointer, _ tile: QuantizedTile, _ first: Int) {
    self.weights = weights
    values = UnsafeRawPointer(tile.values + 4 * first)
    offsets = tile.offsets + first
    step = 4 * tile.width
  }
}

/// The sums over the next `inputs` inputs, a multiple of 32: two vectors for each token.
@inline(__always)
private func accumulate(_ bits: Int, _ tokens: Int, _ inputs: Int, _ place: inout TilePlace, _ sums: inout InlineArray<12, __m256i>) {
  for token in 0..<tokens {
    sums[unchecked: 2 * token] = start(place.offsets + token, bits: bits)
    sums[unchecked: 2 * token + 1] = sums[unchecked: 2 * token]
  }
  let end = place.weights + inputs * 16
  repeat {
    let left = avx2_load(place.weights)
    let right = avx2_load(place.weights + 32)
    for token in 0..<tokens {
      let four = avx2_broadcast(place.values + 4 * token)
      // Both products, then both sums: Zen 4 takes 6 % longer where products and sums alternate, as the compiler would have them.
      var first = avx2_multiply_pairs8(left, four)
      var second = avx2_multiply_pairs8(right, four)
      avx2_both(&first, &second)
      sums[unchecked: 2 * token] = avx2_add16(sums[unchecked: 2 * token], first)
      sums[unchecked: 2 * token + 1] = avx2_add16(sums[unchecked: 2 * token + 1], second)
    }
    place.weights += 64
    place.values += place.step
  } while place.weights < end
  place.offsets += place.step / 4
}

/// The int32 sums of vector `index`, of the digits together.
@inline(__always)
private func widen(_ digits: Int, _ index: Int, _ sums: InlineArray<12, __m256i>) -> __m256i {
  digits == 1 ? widen(sums[unchecked: index]) : widen(high: sums[unchecked: 2 * index], low: sums[unchecked: 2 * index + 1])
}

/// A token's sums, scaled, to its output, before the next token's are widened: multiplications, of which two run at a time, so alternate
/// with what runs beside them.
@inline(__always)
private func addToken(
  _ digits: Int, _ token: Int, _ sums: InlineArray<12, __m256i>, _ isLong: Bool, _ scratch: UnsafeMutableRawPointer,
  _ left: __m256, _ right: __m256, _ scale: UnsafePointer<Float>, to output: UnsafeMutablePointer<Float>
) {
  if digits == 2 { return add(whole(digits, token, sums, isLong, scratch), left, scale, to: output) }
  let factor = avx2_broadcast_float(scale)
  let first = avx2_multiply(left, factor)
  let second = avx2_multiply(right, factor)
  var one = avx2_to_float(whole(digits, 2 * token, sums, isLong, scratch))
  var other = avx2_to_float(whole(digits, 2 * token + 1, sums, isLong, scratch))
  avx2_both(&one, &other)
  avx2_store_floats(output, avx2_multiply_add(first, one, avx2_load_floats(output)))
  avx2_store_floats(output + 8, avx2_multiply_add(second, other, avx2_load_floats(output + 8)))
}

/// The sums of the whole group: of a long one with those of the earlier stretches, which wait in `scratch`.
@inline(__always)
private func whole(_ digits: Int, _ index: Int, _ sums: InlineArray<12, __m256i>, _ isLong: Bool, _ scratch: UnsafeMutableRawPointer)
  -> __m256i
{
  let sum = widen(digits, index, sums)
  return isLong ? avx2_add32(sum, avx2_load(scratch + 32 * index)) : sum
}
