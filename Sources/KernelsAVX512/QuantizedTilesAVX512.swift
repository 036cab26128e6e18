import CIntrinsics
import Kernels

// Many tokens. One function for each number of tokens: the compiler then knows it, and accumulators stay in registers.

@inline(__always)
func multiplyTile(_ tile: QuantizedTile, bits: Int) {
  switch tile.width {
  case 1: bits == 4 ? tile4x1(tile) : tile8x1(tile)
  case 2: bits == 4 ? tile4x2(tile) : tile8x2(tile)
  case 3: bits == 4 ? tile4x3(tile) : tile8x3(tile)
  case 4: bits == 4 ? tile4x4(tile) : tile8x4(tile)
  case 5: bits == 4 ? tile4x5(tile) : tile8x5(tile)
  case 6: bits == 4 ? tile4x6(tile) : tile8x6(tile)
  case 7: bits == 4 ? tile4x7(tile) : tile8x7(tile)
  case 8: bits == 4 ? tile4x8(tile) : tile8x8(tile)
  case 9: bits == 4 ? tile4x9(tile) : tile8x9(tile)
  case 10: bits == 4 ? tile4x10(tile) : tile8x10(tile)
  case 11: bits == 4 ? tile4x11(tile) : tile8x11(tile)
  default: bits == 4 ? tile4x12(tile) : tile8x12(tile)
  }
}

@inline(never)
func tile4x1(_ tile: QuantizedTile) { multiplyTokens(bits: 4, 1, tile) }
@inline(never)
func tile4x2(_ tile: QuantizedTile) { multiplyTokens(bits: 4, 2, tile) }
@inline(never)
func tile4x3(_ tile: QuantizedTile) { multiplyTokens(bits: 4, 3, tile) }
@inline(never)
func tile4x4(_ tile: QuantizedTile) { multiplyTokens(bits: 4, 4, tile) }
@inline(never)
func tile4x5(_ tile: QuantizedTile) { multiplyTokens(bits: 4, 5, tile) }
@inline(never)
func tile4x6(_ tile: QuantizedTile) { multiplyTokens(bits: 4, 6, tile) }
@inline(never)
func tile4x7(_ tile: QuantizedTile) { multiplyTokens(bits: 4, 7, tile) }
@inline(never)
func tile4x8(_ tile: QuantizedTile) { multiplyTokens(bits: 4, 8, tile) }
@inline(never)
func tile4x9(_ tile: QuantizedTile) { multiplyTokens(bits: 4, 9, tile) }
@inline(never)
func tile4x10(_ tile: QuantizedTile) { multiplyTokens(bits: 4, 10, tile) }
@inline(never)
func tile4x11(_ tile: QuantizedTile) { multiplyTokens(bits: 4, 11, tile) }
@inline(never)
func tile4x12(_ tile: QuantizedTile) { multiplyTokens(bits: 4, 12, tile) }
@inline(never)
func tile8x1(_ tile: QuantizedTile) { multiplyTokens(bits: 8, 1, tile) }
@inline(never)
func tile8x2(_ tile: QuantizedTile) { multiplyTokens(bits: 8, 2, tile) }
@inline(never)
func tile8x3(_ tile: QuantizedTile) { multiplyTokens(bits: 8, 3, tile) }
@inline(never)
func tile8x4(_ tile: QuantizedTile) { multiplyTokens(bits: 8, 4, tile) }
@inline(never)
func tile8x5(_ tile: QuantizedTile) { multiplyTokens(bits: 8, 5, tile) }
@inline(never)
func tile8x6(_ tile: QuantizedTile) { multiplyTokens(bits: 8, 6, tile) }
@inline(never)
func tile8x7(_ tile: QuantizedTile) { multiplyTokens(bits: 8, 7, tile) }
@inline(never)
func tile8x8(_ tile: QuantizedTile) { multiplyTokens(bits: 8, 8, tile) }
@inline(never)
func tile8x9(_ tile: QuantizedTile) { multiplyTokens(bits: 8, 9, tile) }
@inline(never)
func tile8x10(_ tile: QuantizedTile) { multiplyTokens(bits: 8, 10, tile) }
@inline(never)
func tile8x11(_ tile: QuantizedTile) { multiplyTokens(bits: 8, 11, tile) }
@inline(never)
func tile8x12(_ tile: QuantizedTile) { multiplyTokens(bits: 8, 12, tile) }

/// All 32 rows by `tokens` (a constant) tokens.
@inline(__always)
func multiplyTokens(bits: Int, _ tokens: Int, _ tile: QuantizedTile) {
  var sums = zeros24()
  var weights = tile.weights
  var values = UnsafeRawPointer(tile.values)
  var offsets = tile.offsets
  var scales = tile.scales
  var tokenSums = tile.sums
  for group in 0..<tile.groups {
    for token in 0..<tokens {
      sums[unchecked: 2 * token] = start(offsets + token, bits: bits)
      sums[unchecked: 2 * token + 1] = sums[unchecked: 2 * token]
    }
    for _ in 0..<tile.group / 4 {
      let upper = avx512_load(weights)
      let lower = avx512_load(weights + 64)
      for token in 0..<tokens {
        let four = avx512_broadcast(values + 4 * token)
        sums[unchecked: 2 * token] = avx512_dot(sums[unchecked: 2 * token], upper, four)
        sums[unchecked: 2 * token + 1] = avx512_dot(sums[unchecked: 2 * token + 1], lower, four)
      }
      weights += 128
      values += 4 * tokens
    }
    let row = group * panelRows
    let upper = avx512_load_halves(tile.weightScales + row)
    let lower = avx512_load_halves(tile.weightScales + row + 16)
    // Loops as small as this are unrolled whole, which the accumulators need to be registers.
    for token in 0..<tokens { add(sums[unchecked: 2 * token], upper, scales + token, to: tile.output + token * panelRows) }
    for token in 0..<tokens { add(sums[unchecked: 2 * token + 1], lower, scales + token, to: tile.output + token * panelRows + 16) }
    if let halves = tile.minima {
      let upper = minima(halves + row, upper, bits: bits)
      let lower = minima(halves + row + 16, lower, bits: bits)
      for token in 0..<tokens {
        add(upper, tokenSums + token, to: tile.output + token * panelRows)
        add(lower, tokenSums + token, to: tile.output + token * panelRows + 16)
      }
    }
    offsets += tokens
    scales += tokens
    tokenSums += tokens
  }
}
