import CIntrinsics
import Kernels

/// All 32 rows by `tokens` (a constant) tokens from `first` on. Sums of a group and results each have their registers.
@inline(__always)
func multiplyTokens(bits: Int, _ tokens: Int, _ tile: QuantizedTile, _ first: Int) {
  let width = tile.width
  let output = tile.output + first * panelRows
  var weights = tile.weights
  var values = UnsafeRawPointer(tile.values) + 4 * first
  var offsets = tile.offsets + first
  var scales = tile.scales + first
  var tokenSums = tile.sums + first
  var sums = zeros12()
  var results = floatZeros12()
  for token in 0..<tokens {
    results[unchecked: 2 * token] = avx512_load_floats(output + token * panelRows)
    results[unchecked: 2 * token + 1] = avx512_load_floats(output + token * panelRows + 16)
  }
  for group in 0..<tile.groups {
    for token in 0..<tokens {
      sums[unchecked: 2 * token] = start(offsets + token, bits: bits)
      sums[unchecked: 2 * token + 1] = sums[unchecked: 2 * token]
    }
    for _ in 0..<tile.group / 8 {
      // 4-bit codes of eight inputs are in one pair of vectors, the first four in the lower halves of the bytes.
      let upper = avx512_load(weights)
      let lower = avx512_load(weights + 64)
      if bits == 4 {
        multiplyFour(lowerHalves(upper), lowerHalves(lower), tokens, values, &sums)
        multiplyFour(lowerHalves(avx512_shift4(upper)), lowerHalves(avx512_shift4(lower)), tokens, values + 4 * width, &sums)
      } else {
        multiplyFour(upper, lower, tokens, values, &sums)
        multiplyFour(avx512_load(weights + 128), avx512_load(weights + 192), tokens, values + 4 * width, &sums)
      }
      weights += 32 * bits
      values += 8 * width
    }
    let row = group * panelRows
    let upper = avx512_load_halves(tile.weightScales + row)
    let lower = avx512_load_halves(tile.weightScales + row + 16)
    for token in 0..<tokens {
      results[unchecked: 2 * token] = add(sums[unchecked: 2 * token], upper, scales + token, to: results[unchecked: 2 * token])
      results[unchecked: 2 * token + 1] = add(sums[unchecked: 2 * token + 1], lower, scales + token, to: results[unchecked: 2 * token + 1])
    }
    if let halves = tile.minima {
      let upper = minima(halves + row, upper, bits: bits)
      let lower = minima(halves + row + 16, lower, bits: bits)
      for token in 0..<tokens {
        results[unchecked: 2 * token] = add(upper, tokenSums + token, to: results[unchecked: 2 * token])
        results[unchecked: 2 * token + 1] = add(lower, tokenSums + token, to: results[unchecked: 2 * token + 1])
      }
    }
    offsets += width
    scales += width
    tokenSums += width
  }
  for token in 0..<tokens {
    avx512_store_floats(output + token * panelRows, results[unchecked: 2 * token])
    avx512_store_floats(output + token * panelRows + 16, results[unchecked: 2 * token + 1])
  }
}

/// Four inputs: 32 rows' codes, the upper sixteen rows' first, by each token's four values.
@inline(__always)
private func multiplyFour(
  _ upper: __m512i, _ lower: __m512i, _ tokens: Int, _ values: UnsafeRawPointer, _ sums: inout InlineArray<12, __m512i>
) {
  for token in 0..<tokens {
    let four = avx512_broadcast(values + 4 * token)
    sums[unchecked: 2 * token] = avx512_dot(sums[unchecked: 2 * token], upper, four)
    sums[unchecked: 2 * token + 1] = avx512_dot(sums[unchecked: 2 * token + 1], lower, four)
  }
}

@inline(__always)
private func lowerHalves(_ bytes: __m512i) -> __m512i { avx512_and(bytes, avx512_fill8(15)) }
