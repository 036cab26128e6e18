import CIntrinsics
import Kernels

// 12 accumulators of 16 int16, two vectors of codes, one of values and a product: all 16 registers.

/// `tokens` (a constant) tokens from `first` on, by 16 rows of one digit or 8 rows of two, after each other. All rows in one call: with one
/// for each 8 rows it took 3 % longer.
@inline(__always)
func multiplyTokens(bits: Int, _ tokens: Int, _ tile: QuantizedTile, _ first: Int) {
  let digits = bits / 4
  if tile.group > lanes16Inputs {
    multiplyTokens(digits, tokens, isLong: true, tile, first)
  } else {
    multiplyTokens(digits, tokens, isLong: false, tile, first)
  }
}

/// `isLong` (a constant) says that a group is longer than what an int16 accumulator takes.
@inline(__always)
private func multiplyTokens(_ digits: Int, _ tokens: Int, isLong: Bool, _ tile: QuantizedTile, _ first: Int) {
  var weights = tile.weights
  let rows = digits == 1 ? 16 : 8
  for part in 0..<panelRows / rows {
    var place = TilePlace(weights, tile, first)
    multiplyRows(digits, tokens, isLong: isLong, tile, first, part * rows, &place)
    weights = place.weights
  }
}

/// The rows from `row` on.
@inline(__always)
private func multiplyRows(
  _ digits: Int, _ tokens: Int, isLong: Bool, _ tile: QuantizedTile, _ first: Int, _ row: Int, _ place: inout TilePlace
) {
  let vectors = digits == 1 ? 2 : 1
  let output = tile.output + first * panelRows + row
  var row = row
  for group in 0..<tile.groups {
    var sums = zeros12()
    if isLong {
      // Sums of the earlier stretches wait in memory: they are needed once in 64 inputs, and registers are all taken.
      accumulate(tokens, lanes16Inputs, &place, &sums)
      for index in 0..<vectors * tokens { avx2_store(tile.scratch + 32 * index, widen(digits, index, sums)) }
      for _ in 2..<offsetsPerGroup(tile.group) {
        accumulate(tokens, lanes16Inputs, &place, &sums)
        for index in 0..<vectors * tokens {
          let waiting = tile.scratch + 32 * index
          avx2_store(waiting, avx2_add32(avx2_load(waiting), widen(digits, index, sums)))
        }
      }
    }
    accumulate(tokens, isLong ? (tile.group - 1) % lanes16Inputs + 1 : tile.group, &place, &sums)

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
private func accumulate(_ tokens: Int, _ inputs: Int, _ place: inout TilePlace, _ sums: inout InlineArray<12, __m256i>) {
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
