import CIntrinsics
import Kernels

// Many tokens: four at a time with 4-bit codes, two with 8-bit codes. One function for each number of tokens: the compiler then knows it,
// and accumulators stay in registers.

@inline(__always)
func multiplyTile(_ tile: QuantizedTile, bits: Int) {
  for quarter in 0..<4 {
    var first = 0
    while first < tile.width {
      let rest = tile.width - first
      if bits == 8 {
        if rest == 1 { TileTokens8<1>.multiply(tile, first, quarter) } else { TileTokens8<2>.multiply(tile, first, quarter) }
        first += 2
      } else {
        switch rest {
        case 1: TileTokens4<1>.multiply(tile, first, quarter)
        case 2: TileTokens4<2>.multiply(tile, first, quarter)
        case 3: TileTokens4<3>.multiply(tile, first, quarter)
        default: TileTokens4<4>.multiply(tile, first, quarter)
        }
        first += 4
      }
    }
  }
}

private enum TileTokens4<let tokens: Int> {
  @inline(never)
  static func multiply(_ tile: QuantizedTile, _ first: Int, _ quarter: Int) { multiplyTokens4(tokens, tile, first, quarter) }
}

private enum TileTokens8<let tokens: Int> {
  @inline(never)
  static func multiply(_ tile: QuantizedTile, _ first: Int, _ quarter: Int) { multiplyTokens8(tokens, tile, first, quarter) }
}

/// Inputs that an int16 takes of 4-bit codes less their zero point: a product for each four.
private let inputsOfInt16 = 128

/// 8 rows by `tokens` (a constant) tokens: four accumulators of int16 a token, one for each two rows.
@inline(__always)
private func multiplyTokens4(_ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ quarter: Int) {
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
    addGroup(bits: 4, tokens, wide, tile, group, first, quarter)
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
    let upper = neon_minima(halves + row, upper, bits == 4 ? 8 : 128)
    let lower = neon_minima(halves + row + 4, lower, bits == 4 ? 8 : 128)
    let sums = tile.sums + group * tile.width + first
    for token in 0..<tokens {
      neon_add_minima(output + token * panelRows, upper, sums[token])
      neon_add_minima(output + token * panelRows + 4, lower, sums[token])
    }
  }
}
