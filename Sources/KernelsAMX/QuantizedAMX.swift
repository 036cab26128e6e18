import CIntrinsics
import Kernels

/// Quantized products with AMX: `tdpbssd` multiplies up to sixteen tokens of 64 signed bytes by those of sixteen rows and adds to 256
/// int32, in the sixteen cycles in which a core's two `vpdpbusd` do an eighth of it.
///
/// Tiles are read from memory: of values, a token's inputs side by side, so that here a group of a token is in one piece; of weights, fours
/// of inputs as the file has them, a byte each and less their zero point. Codes of all widths are made so once for a block of inputs that
/// stays in the first-level cache, for all tokens of a call. Sums go through memory on their way to a register; two pairs of accumulators
/// take turns, so that while one group is multiplied the sums of the one before are scaled. A tile's twelve tokens by 32 rows are 24
/// results, in registers for a whole block.
///
/// Few tokens are a matter of memory and go the way of AVX-512, which takes its values as they lie here.
///
/// Limit: `tdpbssd` alone, on sixteen tokens. Of a tile of twelve and a group of 128 (a Xeon, tiles in the first-level cache) loads and
/// products take 68 cycles where products alone take 54, with the sums on their way through memory 94, with scaling 109; of 64: 33, 65
/// and 84.
package let quantizedKernelsAMX = QuantizedKernels(
  quantizeRows: quantizeRows, multiply3: { multiply(bits: 3, $0, $1, $2, $3) }, multiply4: { multiply(bits: 4, $0, $1, $2, $3) },
  multiply8: { multiply(bits: 8, $0, $1, $2, $3) }, multiplyUneven: multiplyUneven,
  scratchBytes: sumBytes + resultBytes + decodedInputs * panelRows, interleave: nil, inputBlockBytes: 1 << 20,
  multiplyInRegisters: multiplyInRegisters)

/// Inputs of a block, and as many as they can become where each group of 32 is filled up to 64.
private let amxBlockInputs = 512
private let decodedInputs = 2 * amxBlockInputs
/// Two pairs of accumulators.
private let sumBytes = 4096
/// A tile's results.
private let resultBytes = 1536

@inline(__always)
private func multiply(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= fewTokens { return multiplyFewTokens(bits: bits, panel, rows, output) }
  multiplyMany(bits: bits, isUneven: false, panel, rows, output, scratch)
}

private func multiplyUneven(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= fewTokens { return multiplyFewTokensOfUneven(panel, rows, output) }
  multiplyMany(bits: 4, isUneven: true, panel, rows, output, scratch)
}

@inline(__always)
private func multiplyMany(
  bits: Int, isUneven: Bool, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>,
  _ scratch: UnsafeMutableRawPointer
) {
  let codes = scratch + sumBytes + resultBytes
  var width = 0
  multiplyInBlocks(
    bits: bits, panel, rows, output, inputs: amxBlockInputs, requestsInGroup: tileTokens, scratch: scratch
  ) { first, groups in
    decode(bits: bits, isUneven: isUneven, panel, first, groups, to: codes)
    return UnsafeRawPointer(codes)
  } multiply: { tile in
    if tile.width != width {
      width = tile.width
      amx_configure(width)
    }
    multiplyTile(bits: bits, tile)
  }
  amx_release()
}

private func multiplyInRegisters(_ iterations: Int) -> Int {
  amx_configure_whole()
  for _ in 0..<iterations { amx_multiply_whole() }
  amx_release()
  return iterations * 4 * 16 * 16 * 64
}

// MARK: values

/// See `QuantizedKernels.quantizeRows`: a token's group is in one piece.
private func quantizeRows(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>
) {
  var x = x
  for token in tokens {
    quantizeRow(x, columns, rows, token, groups, interleave: rows.group) { x, known in
      greatestMagnitude(x, known)
    } values: { x, known, inverse, to, _, _ in
      quantizeGroup(x, known, inverse, rows.group, to, 1)
    }
    x += stride
  }
}

/// Whether one token's codes are asked for two pages ahead.
@inline(__always)
var asksAheadForOneToken: Bool { true }

/// A token's inputs lie side by side.
@inline(__always)
func valueSteps(tokens: Int, group: Int) -> ValueSteps { (token: group, four: 4) }

// MARK: codes

/// The codes of some groups less their zero point, or their uneven levels, a byte each: `[groups][group / 64][2][16 fours of inputs]
/// [16 rows][4]`. A group ends with zeros where it does not fill its 64 inputs.
@inline(never)
private func decode(bits: Int, isUneven: Bool, _ panel: QuantizedPanel, _ first: Int, _ groups: Int, to: UnsafeMutableRawPointer) {
  let parts = panel.group / 32
  var from = panel.codes + first * panel.group * panelRows * bits / 8
  var to = to
  for _ in 0..<groups {
    for part in 0..<parts {
      decode32(bits: bits, isUneven: isUneven, from, to + part / 2 * 2048 + part % 2 * 512)
      from += 128 * bits
    }
    if parts % 2 == 1 {
      for half in 0..<2 {
        for four in 8..<16 { avx512_store(to + parts / 2 * 2048 + 1024 * half + 64 * four, avx512_fill32(0)) }
      }
    }
    to += (parts + 1) / 2 * 2048
  }
}

/// 32 inputs: eight fours to each half of the rows, which are 1024 bytes apart.
@inline(__always)
private func decode32(bits: Int, isUneven: Bool, _ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer) {
  let zero = avx512_fill8(Int8(truncatingIfNeeded: 1 << (bits - 1)))
  for half in 0..<2 {
    let from = from + 64 * half
    let to = to + 1024 * half
    switch bits {
    case 3:
      let (first, second, third) = (avx512_load(from), avx512_load(from + 128), avx512_load(from + 256))
      avx512_store(to, avx512_subtract8(lowCodes3(first), zero))
      avx512_store(to + 64, avx512_subtract8(highCodes3(first), zero))
      avx512_store(to + 128, avx512_subtract8(lowCodes3(second), zero))
      avx512_store(to + 192, avx512_subtract8(highCodes3(second), zero))
      avx512_store(to + 256, avx512_subtract8(lowCodes3(third), zero))
      avx512_store(to + 320, avx512_subtract8(highCodes3(third), zero))
      avx512_store(to + 384, avx512_subtract8(avx512_seventh_codes(first, third), zero))
      avx512_store(to + 448, avx512_subtract8(avx512_eighth_codes(second, third), zero))
    case 4 where isUneven:
      let levels = avx512_levels(0)
      for pair in 0..<4 {
        let bytes = avx512_load(from + 128 * pair)
        avx512_store(to + 128 * pair, avx512_look_up(levels, bytes))
        avx512_store(to + 128 * pair + 64, avx512_look_up(levels, avx512_shift4(bytes)))
      }
    case 4:
      for pair in 0..<4 {
        let bytes = avx512_load(from + 128 * pair)
        avx512_store(to + 128 * pair, avx512_subtract8(lowerHalves(bytes), zero))
        avx512_store(to + 128 * pair + 64, avx512_subtract8(lowerHalves(avx512_shift4(bytes)), zero))
      }
    default:
      for four in 0..<8 { avx512_store(to + 64 * four, avx512_subtract8(avx512_load(from + 128 * four), zero)) }
    }
  }
}

// MARK: many tokens

/// A whole tile, whatever its width: what lies beyond it is computed with, in memory of its own, and left out.
@inline(__always)
private func multiplyTile(bits: Int, _ tile: QuantizedTile) {
  if tile.width == tileTokens { return multiplyWhole(bits: bits, tile) }
  var whole = tile
  whole.output = (tile.scratch + sumBytes).assumingMemoryBound(to: Float.self)
  for index in 0..<tile.width * panelRows { whole.output[index] = tile.output[index] }
  multiplyWhole(bits: bits, whole)
  for index in 0..<tile.width * panelRows { tile.output[index] = whole.output[index] }
}

/// Twelve tokens' results, of which `tile.width` have values. While a group is multiplied, the sums of the one before are scaled.
@inline(never)
private func multiplyWhole(bits: Int, _ tile: QuantizedTile) {
  let (width, step, output) = (tile.width, tile.group, tile.output)
  let steps = (tile.group + 63) / 64
  var codes = tile.weights
  var values = UnsafeRawPointer(tile.values)
  var scales = tile.scales
  var sums = tile.sums
  var weightScales = tile.weightScales
  var minima = tile.minima
  var ahead = tile.ahead
  var left = loadResults(output)
  var right = loadResults(output + 6 * panelRows)

  amx_clear_first()
  for index in 0..<steps { amx_multiply_first(codes + 2048 * index, values + 64 * index, step) }
  amx_store_first(tile.scratch)
  for group in 1...tile.groups {
    codes += 2048 * steps
    values += step * width
    // The last time round there is nothing left to multiply.
    let isLast = group == tile.groups
    let isSecond = group % 2 == 1
    if !isLast {
      if isSecond {
        amx_clear_second()
        for index in 0..<steps { amx_multiply_second(codes + 2048 * index, values + 64 * index, step) }
      } else {
        amx_clear_first()
        for index in 0..<steps { amx_multiply_first(codes + 2048 * index, values + 64 * index, step) }
      }
    }
    let products = UnsafeRawPointer(tile.scratch) + (isSecond ? 0 : 2048)
    let upper = avx512_load_halves(weightScales)
    let lower = avx512_load_halves(weightScales + 16)
    for token in 0..<6 {
      prefetch_line(ahead)
      ahead += tile.requestStep
      let factor = scales + token
      left[unchecked: 2 * token] = add(avx512_load(products + 64 * token), upper, factor, to: left[unchecked: 2 * token])
      left[unchecked: 2 * token + 1] = add(avx512_load(products + 64 * token + 1024), lower, factor, to: left[unchecked: 2 * token + 1])
    }
    for token in 0..<6 {
      prefetch_line(ahead)
      ahead += tile.requestStep
      let factor = scales + token + 6
      let products = products + 384
      right[unchecked: 2 * token] = add(avx512_load(products + 64 * token), upper, factor, to: right[unchecked: 2 * token])
      right[unchecked: 2 * token + 1] = add(avx512_load(products + 64 * token + 1024), lower, factor, to: right[unchecked: 2 * token + 1])
    }
    if let halves = minima {
      let upper = KernelsAMX.minima(halves, upper, bits: bits)
      let lower = KernelsAMX.minima(halves + 16, lower, bits: bits)
      for token in 0..<6 {
        left[unchecked: 2 * token] = add(upper, sums + token, to: left[unchecked: 2 * token])
        left[unchecked: 2 * token + 1] = add(lower, sums + token, to: left[unchecked: 2 * token + 1])
      }
      for token in 0..<6 {
        right[unchecked: 2 * token] = add(upper, sums + token + 6, to: right[unchecked: 2 * token])
        right[unchecked: 2 * token + 1] = add(lower, sums + token + 6, to: right[unchecked: 2 * token + 1])
      }
      minima = halves + panelRows
    }
    scales += width
    sums += width
    weightScales += panelRows
    if isLast { break }
    if isSecond { amx_store_second(tile.scratch + 2048) } else { amx_store_first(tile.scratch) }
  }
  storeResults(left, output)
  storeResults(right, output + 6 * panelRows)
}

/// Six tokens' results.
@inline(__always)
private func loadResults(_ output: UnsafePointer<Float>) -> InlineArray<12, __m512> {
  let zero = avx512_fill_float(0)
  var results: InlineArray<12, __m512> = [zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero]
  for index in 0..<12 { results[unchecked: index] = avx512_load_floats(output + 16 * index) }
  return results
}

@inline(__always)
private func storeResults(_ results: InlineArray<12, __m512>, _ output: UnsafeMutablePointer<Float>) {
  for index in 0..<12 { avx512_store_floats(output + 16 * index, results[unchecked: index]) }
}
