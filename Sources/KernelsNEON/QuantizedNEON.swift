import CIntrinsics
import Kernels

/// Quantized products with what every 64-bit ARM has: `smlal` multiplies eight signed by eight signed bytes and adds to eight int16.
///
/// 4-bit codes less their zero point are at most 8 in magnitude, so an int16 takes 32 products (32 · 8 · 127 = 32512), those of 128 inputs,
/// before it is widened; of uneven levels, at most 31, 8 products, those of 32 inputs. 8-bit codes fill an int16 with two products, so
/// that every `smlal` has a `smull` and half of a `sadalp` beside it; on the cores without dot product these run in different units.
///
/// Many tokens: 8 rows by 4 tokens, with 8-bit codes by 2. Limit: `smlal` alone, 8 products each.
package let quantizedKernelsNEON = QuantizedKernels(
  quantizeRows: quantizeRows, multiply3: { multiply(bits: 3, $0, $1, $2, $3) }, multiply4: { multiply(bits: 4, $0, $1, $2, $3) },
  multiply8: { multiply(bits: 8, $0, $1, $2, $3) }, multiplyUneven: multiplyUneven,
  scratchBytes: blockInputs * panelRows, multiplyInRegisters: multiplyInRegisters)

@inline(__always)
private func multiply(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count == 1 {
    switch bits {
    case 3: return multiplyOneToken3(panel, rows, output)
    case 4: return multiplyOneToken4(panel, rows, output)
    default: return multiplyOneToken8(panel, rows, output)
    }
  }
  multiplyUnpacked(bits: bits, panel, rows, output, scratch) {
    storeFours($0, $1, $2, $3, $4)
  } multiply: { tile in
    multiplyTile(tile, bits: bits, inputsOfInt16)
  }
}

private func multiplyUneven(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count == 1 { return multiplyOneTokenOfUneven(panel, rows, output) }
  multiplyUnpacked(bits: 4, isUneven: true, panel, rows, output, scratch) {
    storeFours($0, $1, $2, $3, $4)
  } multiply: { tile in
    multiplyTile(tile, bits: 4, unevenInputsOfInt16)
  }
}

private func multiplyInRegisters(_ iterations: Int) -> Int {
  var sums = zeros16x16()
  var codes = neon_broadcast([1 as Int32])
  let values = neon_broadcast([2 as Int32])
  for _ in 0..<iterations {
    for index in 0..<8 {
      codes = neon_opaque(codes)
      sums[unchecked: 2 * index] = neon_add_products_low(sums[unchecked: 2 * index], codes, values)
      sums[unchecked: 2 * index + 1] = neon_add_products_high(sums[unchecked: 2 * index + 1], codes, values)
    }
  }
  for index in 0..<16 { _ = neon_opaque(unsafeBitCast(sums[unchecked: index], to: neon_int8.self)) }
  return iterations * 16 * 8
}

// Written out: `InlineArray(repeating:)` may stay a call to a copy of a generic function, which a kernel module may not hold, and the
// accumulators would be memory.

@inline(__always)
func zeros16x16() -> InlineArray<16, neon_int16> {
  let zero = neon_int16()
  return [
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
  ]
}

@inline(__always)
func zeros16() -> InlineArray<16, neon_int32> {
  let zero = neon_int32()
  return [
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
  ]
}

// MARK: rounding

/// See `QuantizedKernels.quantizeRows`. A group's offset is −8 · Σ values.
func quantizeRows(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>
) {
  quantizeRows(x, stride, columns, rows, tokens, groups, interleave: 4)
}

/// The same, with eight inputs of a token side by side.
package func quantizeRowsInEights(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>
) {
  quantizeRows(x, stride, columns, rows, tokens, groups, interleave: 8)
}

@inline(__always)
private func quantizeRows(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>,
  interleave: Int
) {
  quantize4RowsAtOnce(x, stride, columns, rows, tokens, groups, interleave: interleave) { x in
    greatestMagnitudes(x, stride, rows.group)
  } values: { x, inverses, to, width in
    interleave == 4
      ? quantizeGroupInFours(x, stride, rows.group, inverses, to, width) : quantizeGroupInEights(x, stride, rows.group, inverses, to, width)
  } single: { x, columns, token, groups in
    quantizeRow(x, columns, rows, token, groups, interleave: interleave)
  }
}

/// A group of four tokens, and the sums of their values.
@inline(__always)
private func quantizeGroupInFours(
  _ x: UnsafePointer<Float>, _ stride: Int, _ count: Int, _ inverses: SIMD4<Float>, _ to: UnsafeMutableRawPointer, _ width: Int
) -> SIMD4<Int32> {
  var sums = neon_int32()
  for index in 0..<count / 4 {
    let bytes = neon_quantize_fours(x + 4 * index, stride, inverses)
    neon_store(to + 4 * index * width, bytes)
    sums = neon_add_fours(sums, bytes)
  }
  return sums
}

@inline(__always)
private func quantizeGroupInEights(
  _ x: UnsafePointer<Float>, _ stride: Int, _ count: Int, _ inverses: SIMD4<Float>, _ to: UnsafeMutableRawPointer, _ width: Int
) -> SIMD4<Int32> {
  var left = neon_int32()
  var right = neon_int32()
  for index in 0..<count / 8 {
    let from = x + 8 * index
    let place = to + 8 * index * width
    let first = neon_quantize_eights(from, stride, inverses[0], inverses[1])
    let second = neon_quantize_eights(from + 2 * stride, stride, inverses[2], inverses[3])
    neon_store(place, first)
    neon_store(place + 16, second)
    left = neon_add_fours(left, first)
    right = neon_add_fours(right, second)
  }
  return neon_join_pairs(left, right)
}

/// The bits of the greatest |x| of each of four tokens.
@inline(__always)
private func greatestMagnitudes(_ x: UnsafePointer<Float>, _ stride: Int, _ count: Int) -> SIMD4<Int32> {
  var all = SIMD4<Int32>()
  for token in 0..<4 { all[token] = greatestMagnitude(x + token * stride, count) }
  return all
}

/// One token.
@inline(__always)
private func quantizeRow(
  _ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int, _ groups: Range<Int>, interleave: Int
) {
  quantizeRow(x, columns, rows, token, groups, interleave: interleave) { x, known in
    greatestMagnitude(x, known)
  } values: { x, known, inverse, to, width, _ in
    var sum: Int32 = 0
    var index = 0
    while index < rows.group {
      let bytes = quantize16(x + index, known - index, inverse)
      let place = to + index * width
      if interleave == 4 { neon_store_fours(place, bytes, 4 * width) } else { neon_store_eights(place, bytes, 8 * width) }
      sum &+= neon_sum_of_bytes(bytes)
      index += 16
    }
    return sum
  }
}

/// The bits of the greatest |x|: as integers they are ordered as the magnitudes are, with NaN above infinity.
@inline(__always)
private func greatestMagnitude(_ x: UnsafePointer<Float>, _ count: Int) -> Int32 {
  var greatest = neon_fill(0)
  var index = 0
  while index + 4 <= count {
    greatest = neon_greater_magnitudes(greatest, x + index)
    index += 4
  }
  var result = neon_greatest(greatest)
  while index < count {
    let bits = Int32(bitPattern: x[index].bitPattern & 0x7fff_ffff)
    result = bits > result ? bits : result
    index += 1
  }
  return result
}

/// 16 values; those from `known` on are zeros.
@inline(__always)
private func quantize16(_ x: UnsafePointer<Float>, _ known: Int, _ inverse: Float) -> neon_int8 {
  if inverse == 0 || known <= 0 { return neon_int8() }
  if known >= 16 { return neon_quantize(x, inverse) }
  return withUnsafeTemporaryAllocation(of: Float.self, capacity: 16) { copy in
    for index in 0..<16 { copy[index] = index < known ? x[index] : 0 }
    return neon_quantize(copy.baseAddress.unsafelyUnwrapped, inverse)
  }
}

// MARK: one token

// One token, straight from the packed codes: each code is read once, from memory, and unpacked in registers.

/// Inputs that an int16 takes of unsigned 4-bit codes: a product for each four, at most 15 · 127 each.
private let unsignedInputsOfInt16 = 64

/// All 32 rows: two accumulators of int16 for each four.
@inline(never)
func multiplyOneToken4(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  multiplyOneToken4(isUneven: false, panel, rows, output)
}

/// Uneven levels are looked up as they are, signed.
@inline(never)
func multiplyOneTokenOfUneven(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  multiplyOneToken4(isUneven: true, panel, rows, output)
}

@inline(__always)
private func multiplyOneToken4(
  isUneven: Bool, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  let levels = neon_levels()
  clear(output, 1)
  var sums = zeros16x16()
  var wide = zeros24()
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    let offset = isUneven ? neon_int32() : neon_fill(rows.offsets[group])
    for index in 0..<8 { wide[unchecked: index] = offset }
    var rest = panel.group
    while rest > 0 {
      let some = smaller(isUneven ? unevenInputsOfInt16 : unsignedInputsOfInt16, rest)
      rest -= some
      for index in 0..<16 { sums[unchecked: index] = neon_int16() }
      for _ in 0..<some / 8 {
        neon_prefetch(codes + prefetchDistance)
        neon_prefetch(codes + prefetchDistance + 64)
        let first = neon_broadcast(values)
        let last = neon_broadcast(values + 4)
        for vector in 0..<8 {
          let packed = neon_load(codes + 16 * vector)
          let low = isUneven ? neon_look_up(levels, neon_low_codes(packed)) : neon_low_codes(packed)
          let high = isUneven ? neon_look_up(levels, neon_high_codes(packed)) : neon_high_codes(packed)
          let index = 2 * vector
          sums[unchecked: index] = neon_add_products_low(sums[unchecked: index], low, first)
          sums[unchecked: index + 1] = neon_add_products_high(sums[unchecked: index + 1], low, first)
          sums[unchecked: index] = neon_add_products_low(sums[unchecked: index], high, last)
          sums[unchecked: index + 1] = neon_add_products_high(sums[unchecked: index + 1], high, last)
        }
        codes += 128
        values += 8
      }
      addPairs(sums, to: &wide)
    }
    addGroup(bits: 4, wide, panel, rows, group, output)
  }
}

/// Inputs that an int16 takes of unsigned 3-bit codes, at most 7 · 127 each.
private let unsignedInputsOfInt16In3Bits = 128

/// The same for 3-bit codes. The parts are loaded twice: accumulators and the values of four fours have most registers.
@inline(never)
func multiplyOneToken3(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  clear(output, 1)
  var sums = zeros16x16()
  var wide = zeros24()
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    let offset = neon_fill(rows.offsets[group] >> 1)
    for index in 0..<8 { wide[unchecked: index] = offset }
    var rest = panel.group
    while rest > 0 {
      let some = smaller(unsignedInputsOfInt16In3Bits, rest)
      rest -= some
      for index in 0..<16 { sums[unchecked: index] = neon_int16() }
      for _ in 0..<some / 32 {
        for line in 0..<6 { neon_prefetch(codes + prefetchDistance + 64 * line) }
        for half in 0..<2 {
          let from = values + 16 * half
          let four = (neon_broadcast(from), neon_broadcast(from + 4), neon_broadcast(from + 8), neon_broadcast(from + 12))
          for vector in 0..<8 {
            let parts = Parts3(codes + 16 * vector)
            multiplyFour(half == 0 ? parts.four(0) : parts.four(4), four.0, &sums, vector)
            multiplyFour(half == 0 ? parts.four(1) : parts.four(5), four.1, &sums, vector)
            multiplyFour(half == 0 ? parts.four(2) : parts.four(6), four.2, &sums, vector)
            multiplyFour(half == 0 ? parts.four(3) : parts.four(7), four.3, &sums, vector)
          }
          forget_memory()
        }
        codes += 384
        values += 32
      }
      addPairs(sums, to: &wide)
    }
    addGroup(bits: 3, wide, panel, rows, group, output)
  }
}

/// What the int16 hold of four rows each, to these rows' sums.
@inline(__always)
private func addPairs(_ sums: InlineArray<16, neon_int16>, to wide: inout InlineArray<24, neon_int32>) {
  for index in 0..<8 {
    let left = neon_add_pairs(neon_int32(), sums[unchecked: 2 * index])
    let right = neon_add_pairs(neon_int32(), sums[unchecked: 2 * index + 1])
    wide[unchecked: index] = neon_add(wide[unchecked: index], neon_join_pairs(left, right))
  }
}

/// Four inputs of four rows by one token's values, to the accumulators of the `vector`-th four rows.
@inline(__always)
private func multiplyFour(_ codes: neon_int8, _ four: neon_int8, _ sums: inout InlineArray<16, neon_int16>, _ vector: Int) {
  sums[unchecked: 2 * vector] = neon_add_products_low(sums[unchecked: 2 * vector], codes, four)
  sums[unchecked: 2 * vector + 1] = neon_add_products_high(sums[unchecked: 2 * vector + 1], codes, four)
}

/// The same for 8-bit codes: two accumulators of int32 for each four rows.
@inline(never)
func multiplyOneToken8(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  clear(output, 1)
  var sums = zeros16()
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    for index in 0..<16 { sums[unchecked: index] = neon_int32() }
    for _ in 0..<panel.group / 8 {
      for line in 0..<4 { neon_prefetch(codes + prefetchDistance + 64 * line) }
      let first = neon_broadcast(values)
      let last = neon_broadcast(values + 4)
      for vector in 0..<8 {
        let left = neon_less_128(neon_load(codes + 16 * vector))
        let right = neon_less_128(neon_load(codes + 16 * vector + 128))
        let low = neon_add_products_low(neon_products_low(left, first), right, last)
        let high = neon_add_products_high(neon_products_high(left, first), right, last)
        sums[unchecked: 2 * vector] = neon_add_pairs(sums[unchecked: 2 * vector], low)
        sums[unchecked: 2 * vector + 1] = neon_add_pairs(sums[unchecked: 2 * vector + 1], high)
      }
      codes += 256
      values += 8
    }
    var wide = zeros24()
    for index in 0..<8 {
      wide[unchecked: index] = neon_join_pairs(sums[unchecked: 2 * index], sums[unchecked: 2 * index + 1])
    }
    addGroup(bits: 8, wide, panel, rows, group, output)
  }
}

// MARK: many tokens

// Many tokens: four at a time with 3- and 4-bit codes, two with 8-bit codes. One function for each number of tokens: the compiler then
// knows it, and accumulators stay in registers.

@inline(__always)
func multiplyTile(_ tile: QuantizedTile, bits: Int, _ inputsOfInt16: Int) {
  for quarter in 0..<4 {
    var first = 0
    while first < tile.width {
      let rest = tile.width - first
      if bits == 8 {
        if rest == 1 { TileTokens8<1>.multiply(tile, first, quarter) } else { TileTokens8<2>.multiply(tile, first, quarter) }
        first += 2
      } else {
        switch rest {
        case 1: TileTokens4<1>.multiply(tile, first, quarter, bits, inputsOfInt16)
        case 2: TileTokens4<2>.multiply(tile, first, quarter, bits, inputsOfInt16)
        case 3: TileTokens4<3>.multiply(tile, first, quarter, bits, inputsOfInt16)
        default: TileTokens4<4>.multiply(tile, first, quarter, bits, inputsOfInt16)
        }
        first += 4
      }
    }
  }
}

/// Codes of 3 or 4 bits, as bytes.
private enum TileTokens4<let tokens: Int> {
  @inline(never)
  static func multiply(_ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int, _ inputsOfInt16: Int) {
    multiplyTokens4(tokens, tile, first, quarter, bits, inputsOfInt16)
  }
}

private enum TileTokens8<let tokens: Int> {
  @inline(never)
  static func multiply(_ tile: QuantizedTile, _ first: Int, _ quarter: Int) { multiplyTokens8(tokens, tile, first, quarter) }
}

/// Inputs that an int16 takes of 4-bit codes less their zero point: a product for each four.
private let inputsOfInt16 = 128
/// The same of uneven levels, which are at most 31 in magnitude.
private let unevenInputsOfInt16 = 32

/// 8 rows by `tokens` (a constant) tokens: four accumulators of int16 a token, one for each two rows.
@inline(__always)
private func multiplyTokens4(
  _ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int, _ inputsOfInt16: Int
) {
  var sums = zeros16x16()
  var wide = zeros24()
  var weights = tile.weights + quarter * (tile.groups * tile.group * 8)
  var values = UnsafeRawPointer(tile.values + 4 * first)
  for group in 0..<tile.groups {
    for index in 0..<2 * tokens { wide[unchecked: index] = neon_int32() }
    var rest = tile.group
    while rest > 0 {
      let some = smaller(inputsOfInt16, rest)
      rest -= some
      for index in 0..<4 * tokens { sums[unchecked: index] = neon_int16() }
      for _ in 0..<some / 4 {
        let upper = neon_load(weights)
        let lower = neon_load(weights + 16)
        // Four tokens lie side by side in their tile; of fewer, what comes after them may be beyond the memory's end.
        let fours = tokens == 4 ? neon_load(values) : neon_int8()
        for token in 0..<tokens {
          let four = tokens == 4 ? neon_lane(fours, token) : neon_broadcast(values + 4 * token)
          let index = 4 * token
          sums[unchecked: index] = neon_add_products_low(sums[unchecked: index], upper, four)
          sums[unchecked: index + 1] = neon_add_products_high(sums[unchecked: index + 1], upper, four)
          sums[unchecked: index + 2] = neon_add_products_low(sums[unchecked: index + 2], lower, four)
          sums[unchecked: index + 3] = neon_add_products_high(sums[unchecked: index + 3], lower, four)
        }
        weights += 32
        values += 4 * tile.width
      }
      for index in 0..<2 * tokens {
        let left = neon_add_pairs(neon_int32(), sums[unchecked: 2 * index])
        let right = neon_add_pairs(neon_int32(), sums[unchecked: 2 * index + 1])
        wide[unchecked: index] = neon_add(wide[unchecked: index], neon_join_pairs(left, right))
      }
    }
    addGroup(bits: bits, tokens, wide, tile, group, first, quarter)
  }
}

/// The same for 8-bit codes: products of two inputs at a time are added to four accumulators of int32 a token.
@inline(__always)
private func multiplyTokens8(_ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ quarter: Int) {
  var sums = zeros16()
  var weights = tile.weights + quarter * (tile.groups * tile.group * 8)
  var values = UnsafeRawPointer(tile.values + 4 * first)
  let step = 4 * tile.width
  for group in 0..<tile.groups {
    for index in 0..<4 * tokens { sums[unchecked: index] = neon_int32() }
    for _ in 0..<tile.group / 8 {
      for half in 0..<2 {
        let codes = neon_load(weights + 16 * half)
        let nextCodes = neon_load(weights + 16 * half + 32)
        for token in 0..<tokens {
          let four = neon_broadcast(values + 4 * token)
          let next = neon_broadcast(values + step + 4 * token)
          let low = neon_add_products_low(neon_products_low(codes, four), nextCodes, next)
          let high = neon_add_products_high(neon_products_high(codes, four), nextCodes, next)
          let index = 4 * token + 2 * half
          sums[unchecked: index] = neon_add_pairs(sums[unchecked: index], low)
          sums[unchecked: index + 1] = neon_add_pairs(sums[unchecked: index + 1], high)
        }
      }
      weights += 64
      values += 2 * step
    }
    var rows = zeros24()
    for index in 0..<2 * tokens {
      rows[unchecked: index] = neon_join_pairs(sums[unchecked: 2 * index], sums[unchecked: 2 * index + 1])
    }
    addGroup(bits: 8, tokens, rows, tile, group, first, quarter)
  }
}

/// A group's sums of 8 rows and `tokens` (a constant) tokens to the output, scaled: two vectors of four rows a token.
@inline(__always)
private func addGroup(
  bits: Int, _ tokens: Int, _ sums: InlineArray<24, neon_int32>, _ tile: QuantizedTile, _ group: Int, _ first: Int, _ quarter: Int
) {
  let row = group * panelRows + 8 * quarter
  let upper = neon_load_halves(tile.weightScales + row)
  let lower = neon_load_halves(tile.weightScales + row + 4)
  let scales = tile.scales + group * tile.width + first
  let output = tile.output + first * panelRows + 8 * quarter
  // Loops as small as this are unrolled whole, which the accumulators need to be registers.
  for token in 0..<tokens { neon_add_scaled(output + token * panelRows, sums[unchecked: 2 * token], upper, scales[token]) }
  for token in 0..<tokens { neon_add_scaled(output + token * panelRows + 4, sums[unchecked: 2 * token + 1], lower, scales[token]) }
  if let halves = tile.minima {
    let upper = neon_minima(halves + row, upper, zeroPoint(bits: bits))
    let lower = neon_minima(halves + row + 4, lower, zeroPoint(bits: bits))
    let sums = tile.sums + group * tile.width + first
    for token in 0..<tokens {
      neon_add_minima(output + token * panelRows, upper, sums[token])
      neon_add_minima(output + token * panelRows + 4, lower, sums[token])
    }
  }
}
