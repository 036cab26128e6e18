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
  switch (tokens, tile.group > lanes16Inputs) {
  case (1, false): digits == 1 ? tile4x1(tile, first, part) : tile8x1(tile, first, part)
  case (1, true): digits == 1 ? tile4x1long(tile, first, part) : tile8x1long(tile, first, part)
  case (2, false): digits == 1 ? tile4x2(tile, first, part) : tile8x2(tile, first, part)
  case (2, true): digits == 1 ? tile4x2long(tile, first, part) : tile8x2long(tile, first, part)
  case (3, false): digits == 1 ? tile4x3(tile, first, part) : tile8x3(tile, first, part)
  case (3, true): digits == 1 ? tile4x3long(tile, first, part) : tile8x3long(tile, first, part)
  case (4, false): digits == 1 ? tile4x4(tile, first, part) : tile8x4(tile, first, part)
  case (4, true): digits == 1 ? tile4x4long(tile, first, part) : tile8x4long(tile, first, part)
  case (5, false): digits == 1 ? tile4x5(tile, first, part) : tile8x5(tile, first, part)
  case (5, true): digits == 1 ? tile4x5long(tile, first, part) : tile8x5long(tile, first, part)
  case (_, false): digits == 1 ? tile4x6(tile, first, part) : tile8x6(tile, first, part)
  case (_, true): digits == 1 ? tile4x6long(tile, first, part) : tile8x6long(tile, first, part)
  }
}

// One function for each number of tokens: the compiler then knows it, and accumulators stay in registers.

@inline(never)
func tile4x1(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(1, 1, isLong: false, tile, first, part)
}
@inline(never)
func tile4x2(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(1, 2, isLong: false, tile, first, part)
}
@inline(never)
func tile4x3(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(1, 3, isLong: false, tile, first, part)
}
@inline(never)
func tile4x4(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(1, 4, isLong: false, tile, first, part)
}
@inline(never)
func tile4x5(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(1, 5, isLong: false, tile, first, part)
}
@inline(never)
func tile4x6(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(1, 6, isLong: false, tile, first, part)
}
@inline(never)
func tile4x1long(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(1, 1, isLong: true, tile, first, part)
}
@inline(never)
func tile4x2long(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(1, 2, isLong: true, tile, first, part)
}
@inline(never)
func tile4x3long(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(1, 3, isLong: true, tile, first, part)
}
@inline(never)
func tile4x4long(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(1, 4, isLong: true, tile, first, part)
}
@inline(never)
func tile4x5long(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(1, 5, isLong: true, tile, first, part)
}
@inline(never)
func tile4x6long(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(1, 6, isLong: true, tile, first, part)
}
@inline(never)
func tile8x1(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(2, 1, isLong: false, tile, first, part)
}
@inline(never)
func tile8x2(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(2, 2, isLong: false, tile, first, part)
}
@inline(never)
func tile8x3(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(2, 3, isLong: false, tile, first, part)
}
@inline(never)
func tile8x4(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(2, 4, isLong: false, tile, first, part)
}
@inline(never)
func tile8x5(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(2, 5, isLong: false, tile, first, part)
}
@inline(never)
func tile8x6(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(2, 6, isLong: false, tile, first, part)
}
@inline(never)
func tile8x1long(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(2, 1, isLong: true, tile, first, part)
}
@inline(never)
func tile8x2long(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(2, 2, isLong: true, tile, first, part)
}
@inline(never)
func tile8x3long(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(2, 3, isLong: true, tile, first, part)
}
@inline(never)
func tile8x4long(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(2, 4, isLong: true, tile, first, part)
}
@inline(never)
func tile8x5long(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(2, 5, isLong: true, tile, first, part)
}
@inline(never)
func tile8x6long(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
  multiplyTokens(2, 6, isLong: true, tile, first, part)
}

/// `tokens` (a constant) tokens from `first` on, by 16 rows of one digit or 8 rows of two; `isLong` (a constant) says that a group is
/// longer than what an int16 accumulator takes.
@inline(__always)
func multiplyTokens(_ digits: Int, _ tokens: Int, isLong: Bool, _ tile: QuantizedTile, _ first: Int, _ part: Int) {
  let vectors = digits == 1 ? 2 : 1
  var place = TilePlace(tile, first, part)
  let output = tile.output + first * panelRows + part * vectors * 8
  var row = part * vectors * 8
  for group in 0..<tile.groups {
    var sums = zeros12()
    if isLong {
      // Sums of the earlier stretches wait in memory: they are needed once in 64 inputs, and registers are all taken.
      accumulate(tokens, lanes16Inputs, &place, &sums)
      for index in 0..<vectors * tokens { avx2_store(tile.scratch + 32 * index, widen(digits, index, sums)) }
      for _ in 2..<offsetWords(tile.group) {
        accumulate(tokens, lanes16Inputs, &place, &sums)
        for index in 0..<vectors * tokens {
          let waiting = tile.scratch + 32 * index
          avx2_store(waiting, avx2_add32(avx2_load(waiting), widen(digits, index, sums)))
        }
      }
    }
    accumulate(tokens, isLong ? (tile.group - 1) % lanes16Inputs + 1 : tile.group, &place, &sums)
    for index in 0..<vectors * tokens { sums[unchecked: index] = widen(digits, index, sums) }
    if isLong {
      forget_memory()
      for index in 0..<vectors * tokens {
        sums[unchecked: index] = avx2_add32(sums[unchecked: index], avx2_load(tile.scratch + 32 * index))
      }
    }

    forget_memory()
    let scales = tile.scales + group * tile.width + first
    let left = avx2_load_halves(tile.weightScales + row)
    let right = avx2_load_halves(tile.weightScales + row + 8 * (vectors - 1))
    // Loops as small as this are unrolled whole, which the accumulators need to be registers.
    for token in 0..<tokens { add(sums[unchecked: vectors * token], left, scales + token, to: output + token * panelRows) }
    if vectors == 2 {
      for token in 0..<tokens { add(sums[unchecked: 2 * token + 1], right, scales + token, to: output + token * panelRows + 8) }
    }
    if let halves = tile.minima {
      let tokenSums = tile.sums + group * tile.width + first
      let left = minima(halves + row, left, bits: 4 * digits)
      let right = minima(halves + row + 8 * (vectors - 1), right, bits: 4 * digits)
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
struct TilePlace {
  var weights: UnsafeRawPointer
  var values: UnsafeRawPointer
  var offsets: UnsafePointer<Int32>
  /// From four inputs of all tokens to the next four, in bytes.
  let step: Int

  @inline(__always)
  init(_ tile: QuantizedTile, _ first: Int, _ part: Int) {
    weights = tile.weights + part * (tile.groups * tile.group / 4 * 64)
    values = UnsafeRawPointer(tile.values + 4 * first)
    offsets = tile.offsets + first
    step = 4 * tile.width
  }
}

/// The sums over the next `inputs` inputs, a multiple of 32: two vectors for each token.
@inline(__always)
func accumulate(_ tokens: Int, _ inputs: Int, _ place: inout TilePlace, _ sums: inout InlineArray<12, __m256i>) {
  for token in 0..<tokens {
    sums[unchecked: 2 * token] = avx2_broadcast(place.offsets + token)
    sums[unchecked: 2 * token + 1] = sums[unchecked: 2 * token]
  }
  let end = place.weights + inputs * 16
  repeat {
    let left = avx2_load(place.weights)
    let right = avx2_load(place.weights + 32)
    for token in 0..<tokens {
      let four = avx2_broadcast(place.values + 4 * token)
      sums[unchecked: 2 * token] = avx2_add16(sums[unchecked: 2 * token], avx2_multiply_pairs8(left, four))
      sums[unchecked: 2 * token + 1] = avx2_add16(sums[unchecked: 2 * token + 1], avx2_multiply_pairs8(right, four))
    }
    place.weights += 64
    place.values += place.step
  } while place.weights < end
  place.offsets += place.step / 4
}

/// The int32 sums of vector `index`, of the digits together.
@inline(__always)
func widen(_ digits: Int, _ index: Int, _ sums: InlineArray<12, __m256i>) -> __m256i {
  digits == 1 ? widen(sums[unchecked: index]) : widen(high: sums[unchecked: 2 * index], low: sums[unchecked: 2 * index + 1])
}
