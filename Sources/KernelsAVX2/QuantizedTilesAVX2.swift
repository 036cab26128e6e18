import CIntrinsics
import Kernels

// Many tokens: 12 accumulators of 16 int16, two vectors of codes, one of values and a product: all 16 registers.

func multiplyTile4(_ tile: QuantizedTile) {
  for part in 0..<2 { multiplyPart(digits: 1, tile, part) }
}

func multiplyTile8(_ tile: QuantizedTile) {
  for part in 0..<4 { multiplyPart(digits: 2, tile, part) }
}

@inline(__always)
func multiplyPart(digits: Int, _ tile: QuantizedTile, _ part: Int) {
  if tile.width <= 6 {
    multiply(digits, tile, 0, tile.width, part)
  } else {
    let left = (tile.width + 1) / 2
    multiply(digits, tile, 0, left, part)
    multiply(digits, tile, left, tile.width - left, part)
  }
}

@inline(__always)
func multiply(_ digits: Int, _ tile: QuantizedTile, _ first: Int, _ tokens: Int, _ part: Int) {
  switch tokens {
  case 1: digits == 1 ? tile4x1(tile, first, part) : tile8x1(tile, first, part)
  case 2: digits == 1 ? tile4x2(tile, first, part) : tile8x2(tile, first, part)
  case 3: digits == 1 ? tile4x3(tile, first, part) : tile8x3(tile, first, part)
  case 4: digits == 1 ? tile4x4(tile, first, part) : tile8x4(tile, first, part)
  case 5: digits == 1 ? tile4x5(tile, first, part) : tile8x5(tile, first, part)
  default: digits == 1 ? tile4x6(tile, first, part) : tile8x6(tile, first, part)
  }
}

// One function for each number of tokens: the compiler then knows it, and accumulators stay in registers.

@inline(never)
func tile4x1(_ tile: QuantizedTile, _ first: Int, _ part: Int) { multiplyTokens(1, 1, tile, first, part) }
@inline(never)
func tile4x2(_ tile: QuantizedTile, _ first: Int, _ part: Int) { multiplyTokens(1, 2, tile, first, part) }
@inline(never)
func tile4x3(_ tile: QuantizedTile, _ first: Int, _ part: Int) { multiplyTokens(1, 3, tile, first, part) }
@inline(never)
func tile4x4(_ tile: QuantizedTile, _ first: Int, _ part: Int) { multiplyTokens(1, 4, tile, first, part) }
@inline(never)
func tile4x5(_ tile: QuantizedTile, _ first: Int, _ part: Int) { multiplyTokens(1, 5, tile, first, part) }
@inline(never)
func tile4x6(_ tile: QuantizedTile, _ first: Int, _ part: Int) { multiplyTokens(1, 6, tile, first, part) }
@inline(never)
func tile8x1(_ tile: QuantizedTile, _ first: Int, _ part: Int) { multiplyTokens(2, 1, tile, first, part) }
@inline(never)
func tile8x2(_ tile: QuantizedTile, _ first: Int, _ part: Int) { multiplyTokens(2, 2, tile, first, part) }
@inline(never)
func tile8x3(_ tile: QuantizedTile, _ first: Int, _ part: Int) { multiplyTokens(2, 3, tile, first, part) }
@inline(never)
func tile8x4(_ tile: QuantizedTile, _ first: Int, _ part: Int) { multiplyTokens(2, 4, tile, first, part) }
@inline(never)
func tile8x5(_ tile: QuantizedTile, _ first: Int, _ part: Int) { multiplyTokens(2, 5, tile, first, part) }
@inline(never)
func tile8x6(_ tile: QuantizedTile, _ first: Int, _ part: Int) { multiplyTokens(2, 6, tile, first, part) }

/// `tokens` (a constant) tokens from `first` on, by 16 rows of one digit or 8 rows of two.
@inline(__always)
func multiplyTokens(_ digits: Int, _ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ part: Int) {
  var sums = InlineArray<12, __m256i>(repeating: avx2_fill32(0))
  var wide = InlineArray<12, __m256i>(repeating: avx2_fill32(0))
  let vectors = digits == 1 ? 2 : 1
  let width = tile.width
  var weights = tile.weights + part * (tile.groups * tile.group / 4 * 64)
  var values = UnsafeRawPointer(tile.values + 4 * first)
  var offsets = tile.offsets + first
  var scales = tile.scales + first
  var tokenSums = tile.sums + first
  var row = part * vectors * 8
  let output = tile.output + first * panelRows + row

  for _ in 0..<tile.groups {
    var rest = tile.group
    var isFirst = true
    while rest > 0 {
      let inputs = smaller(lanes16Inputs, rest)
      rest -= inputs
      for token in 0..<tokens {
        sums[unchecked: 2 * token] = avx2_broadcast(offsets + token)
        sums[unchecked: 2 * token + 1] = sums[unchecked: 2 * token]
      }
      offsets += width
      for _ in 0..<inputs / 4 {
        let left = avx2_load(weights)
        let right = avx2_load(weights + 32)
        for token in 0..<tokens {
          let four = avx2_broadcast(values + 4 * token)
          sums[unchecked: 2 * token] = avx2_add16(sums[unchecked: 2 * token], avx2_multiply_pairs8(left, four))
          sums[unchecked: 2 * token + 1] = avx2_add16(sums[unchecked: 2 * token + 1], avx2_multiply_pairs8(right, four))
        }
        weights += 64
        values += 4 * width
      }
      for token in 0..<tokens {
        if digits == 2 {
          let sum = widen(high: sums[unchecked: 2 * token], low: sums[unchecked: 2 * token + 1])
          wide[unchecked: token] = isFirst ? sum : avx2_add32(wide[unchecked: token], sum)
        } else {
          for index in 2 * token..<2 * token + 2 {
            let sum = widen(sums[unchecked: index])
            wide[unchecked: index] = isFirst ? sum : avx2_add32(wide[unchecked: index], sum)
          }
        }
      }
      isFirst = false
    }
    let left = avx2_load_halves(tile.weightScales + row)
    let right = avx2_load_halves(tile.weightScales + row + 8 * (vectors - 1))
    // Loops as small as this are unrolled whole, which the accumulators need to be registers.
    for token in 0..<tokens { add(wide[unchecked: vectors * token], left, scales + token, to: output + token * panelRows) }
    if vectors == 2 {
      for token in 0..<tokens { add(wide[unchecked: 2 * token + 1], right, scales + token, to: output + token * panelRows + 8) }
    }
    if let halves = tile.minima {
      let left = minima(halves + row, left, bits: 4 * digits)
      let right = minima(halves + row + 8 * (vectors - 1), right, bits: 4 * digits)
      for token in 0..<tokens {
        let place = output + token * panelRows
        add(left, tokenSums + token, to: place)
        if vectors == 2 { add(right, tokenSums + token, to: place + 8) }
      }
    }
    row += panelRows
    scales += width
    tokenSums += width
  }
}
