import CIntrinsics
import Kernels

/// 8 rows by `tokens` (a constant) tokens from `first` (even) on. Sums of a group and results each have their registers, `[token pair][row
/// pair]`, of two by two each: [row 0 · token 0, row 0 · token 1, row 1 · token 0, row 1 · token 1].
@inline(__always)
func multiplyTokens(_ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) {
  let width = tile.width
  let output = tile.output + first * panelRows + 8 * quarter
  var weights = tile.weights + quarter * (tile.groups * tile.group * 8)
  var values = UnsafeRawPointer(tile.values) + 8 * first
  let pairs = (tokens + 1) / 2
  var row = 8 * quarter
  var place = first
  var results = floatZeros12()
  for pair in 0..<pairs {
    let from = output + 2 * pair * panelRows
    // What stands beside a last token counts for nothing.
    let beside = 2 * pair + 1 < tokens ? from + panelRows : from
    for half in 0..<2 {
      let left = neon_load_floats(from + 4 * half)
      let right = neon_load_floats(beside + 4 * half)
      results[unchecked: 4 * pair + 2 * half] = neon_zip_low(left, right)
      results[unchecked: 4 * pair + 2 * half + 1] = neon_zip_high(left, right)
    }
  }
  for _ in 0..<tile.groups {
    var sums = startOfSums12()
    var rest = tile.group
    repeat {
      for rows in 0..<4 {
        let codes = neon_load(weights + 16 * rows)
        for pair in 0..<pairs {
          let index = 4 * pair + rows
          // Beyond a last token may be the memory's end.
          let two = 2 * pair + 1 < tokens ? neon_load(values + 16 * pair) : neon_load_eight(values + 16 * pair)
          sums[unchecked: index] = neon_multiply_matrices(sums[unchecked: index], codes, two)
        }
      }
      weights += 64
      values += 8 * width
      rest -= 8
    } while rest > 0
    for rows in 0..<4 {
      let scales = rowPairTwice(neon_load_halves(tile.weightScales + row + 4 * (rows / 2)), rows)
      for pair in 0..<pairs {
        let factors = tokenPairTwice(tile.scales + place, pair, tokens)
        let index = 4 * pair + rows
        results[unchecked: index] = neon_add_product(
          results[unchecked: index], neon_multiply(scales, factors), neon_sums(sums[unchecked: index]))
      }
    }
    if let minima = tile.minima {
      for rows in 0..<4 {
        let scales = neon_load_halves(tile.weightScales + row + 4 * (rows / 2))
        let minima = rowPairTwice(neon_minima(minima + row + 4 * (rows / 2), scales, bits == 4 ? 8 : 128), rows)
        for pair in 0..<pairs {
          let factors = tokenPairTwice(tile.sums + place, pair, tokens)
          results[unchecked: 4 * pair + rows] = neon_add_product(results[unchecked: 4 * pair + rows], minima, factors)
        }
      }
    }
    row += panelRows
    place += width
  }
  for pair in 0..<pairs {
    let to = output + 2 * pair * panelRows
    for half in 0..<2 {
      let low = results[unchecked: 4 * pair + 2 * half]
      let high = results[unchecked: 4 * pair + 2 * half + 1]
      neon_store_floats(to + 4 * half, neon_even(low, high))
      if 2 * pair + 1 < tokens { neon_store_floats(to + panelRows + 4 * half, neon_odd(low, high)) }
    }
  }
}

/// What belongs to the first or the second pair of four rows, twice each: [0, 0, 1, 1].
@inline(__always)
private func rowPairTwice(_ rows: neon_float, _ pair: Int) -> neon_float {
  pair & 1 == 0 ? neon_zip_low(rows, rows) : neon_zip_high(rows, rows)
}

/// What belongs to a pair of tokens, twice: [0, 1, 0, 1]; what stands beside a last token counts for nothing.
@inline(__always)
private func tokenPairTwice(_ from: UnsafePointer<Float>, _ pair: Int, _ tokens: Int) -> neon_float {
  2 * pair + 1 < tokens ? neon_load_pair_twice(from + 2 * pair) : neon_fill_float(from[2 * pair])
}
