import CIntrinsics
import Kernels

/// 8 rows by `tokens` (a constant) tokens from `first` on. Sums of a group and results each have their registers.
@inline(__always)
func multiplyTokens(_ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) {
  let width = tile.width
  let output = tile.output + first * panelRows + 8 * quarter
  var weights = tile.weights + quarter * (tile.groups * tile.group * 8)
  var values = UnsafeRawPointer(tile.values) + 4 * first
  var row = 8 * quarter
  var place = first
  var results = floatZeros12()
  for token in 0..<tokens {
    results[unchecked: 2 * token] = neon_load_floats(output + token * panelRows)
    results[unchecked: 2 * token + 1] = neon_load_floats(output + token * panelRows + 4)
  }
  for _ in 0..<tile.groups {
    var sums = startOfSums12()
    var rest = tile.group
    repeat {
      let upper = neon_load(weights)
      let lower = neon_load(weights + 16)
      if tokens < 4 {
        // What comes after these tokens may be beyond the memory's end.
        for token in 0..<tokens { add(neon_broadcast(values + 4 * token), upper, lower, token, &sums) }
      } else {
        let fours = neon_load(values)
        // Lanes written out: what is not known before inlining would not be an operand by element.
        add(neon_lane(fours, 0), upper, lower, 0, &sums)
        add(neon_lane(fours, 1), upper, lower, 1, &sums)
        add(neon_lane(fours, 2), upper, lower, 2, &sums)
        add(neon_lane(fours, 3), upper, lower, 3, &sums)
        if tokens > 4 {
          // The last four tokens, of which some were in the first four.
          let fours = neon_load(values + 4 * (tokens - 4))
          if tokens == 6 { add(neon_lane(fours, 2), upper, lower, 4, &sums) }
          add(neon_lane(fours, 3), upper, lower, tokens - 1, &sums)
        }
      }
      weights += 32
      values += 4 * width
      rest -= 4
    } while rest > 0
    let upper = neon_load_halves(tile.weightScales + row)
    let lower = neon_load_halves(tile.weightScales + row + 4)
    for token in 0..<tokens {
      let scale = tile.scales[place + token]
      let index = 2 * token
      results[unchecked: index] = neon_add_product(
        results[unchecked: index], neon_multiple(upper, scale), neon_sums(sums[unchecked: index]))
      results[unchecked: index + 1] = neon_add_product(
        results[unchecked: index + 1], neon_multiple(lower, scale), neon_sums(sums[unchecked: index + 1]))
    }
    if let minima = tile.minima {
      let upper = neon_minima(minima + row, upper, bits == 4 ? 8 : 128)
      let lower = neon_minima(minima + row + 4, lower, bits == 4 ? 8 : 128)
      for token in 0..<tokens {
        let sum = tile.sums[place + token]
        results[unchecked: 2 * token] = neon_add_multiple(results[unchecked: 2 * token], upper, sum)
        results[unchecked: 2 * token + 1] = neon_add_multiple(results[unchecked: 2 * token + 1], lower, sum)
      }
    }
    row += panelRows
    place += width
  }
  for token in 0..<tokens {
    neon_store_floats(output + token * panelRows, results[unchecked: 2 * token])
    neon_store_floats(output + token * panelRows + 4, results[unchecked: 2 * token + 1])
  }
}

/// Four inputs of a token to its sums.
@inline(__always)
private func add(_ four: neon_int8, _ upper: neon_int8, _ lower: neon_int8, _ token: Int, _ sums: inout InlineArray<12, neon_int32>) {
  sums[unchecked: 2 * token] = neon_dot(sums[unchecked: 2 * token], upper, four)
  sums[unchecked: 2 * token + 1] = neon_dot(sums[unchecked: 2 * token + 1], lower, four)
}
