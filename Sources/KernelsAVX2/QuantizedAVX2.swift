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
package let quantizedKernelsAVX2 = QuantizedKernels(
  quantizeRows: quantizeRows, multiply4: { multiply(bits: 4, $0, $1, $2, $3) }, multiply8: { multiply(bits: 8, $0, $1, $2, $3) },
  scratchBytes: unpackedBytes + 1024, multiplyInRegisters: multiplyInRegisters)

/// Unpacked codes of a block of inputs, at a byte a digit.
private var unpackedBytes: Int { blockInputs * panelRows * 2 }

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
    if bits == 4 { unpack4(codes, groups * panel.group, scratch) } else { unpack8(codes, groups * panel.group, scratch) }
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
