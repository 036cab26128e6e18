import CIntrinsics
import Kernels
import KernelsDotProd
import KernelsNEON

/// Quantized products with Armv8.6's 8-bit matrix product: `smmla` multiplies two rows of eight signed bytes by two tokens of eight and
/// adds to four int32, twice the products of a `sdot`.
///
/// It wants eight inputs of a row, and of a token, side by side. Rows are put so when codes are unpacked, once for all tokens of a call:
/// one `zip` of the bytes of two four inputs makes a vector. Tokens are put so when they are quantized. 8 rows by 6 tokens are twelve
/// integer accumulators and twelve results; for each eight inputs there are 12 `smmla`, four loads of codes and three of values.
///
/// One token has nothing to pair with: it is multiplied with `sdot`, for which one token's eights are two fours.
///
/// Limit: `smmla` alone, 32 products each.
package let quantizedKernelsI8MM = QuantizedKernels(
  quantizeRows: quantizeRowsInEights, multiply3: { multiply(bits: 3, $0, $1, $2, $3) }, multiply4: { multiply(bits: 4, $0, $1, $2, $3) },
  multiply8: { multiply(bits: 8, $0, $1, $2, $3) }, multiplyUneven: multiplyUneven,
  scratchBytes: blockInputs * panelRows, interleave: 8, multiplyInRegisters: multiplyInRegisters)

@inline(__always)
private func multiply(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count == 1 {
    switch bits {
    case 3: return quantizedKernelsDotProd.multiply3(panel, rows, output, scratch)
    case 4: return quantizedKernelsDotProd.multiply4(panel, rows, output, scratch)
    default: return quantizedKernelsDotProd.multiply8(panel, rows, output, scratch)
    }
  }
  multiplyUnpacked(bits: bits, panel, rows, output, scratch) {
    storePairs($0, $1, $2, $3, $4)
  } multiply: { tile in
    multiplyTile(tile, bits: bits)
  }
}

@inline(__always)
private func multiplyUneven(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count == 1 { return quantizedKernelsDotProd.multiplyUneven(panel, rows, output, scratch) }
  multiplyUnpacked(bits: 4, isUneven: true, panel, rows, output, scratch) {
    storePairs($0, $1, $2, $3, $4)
  } multiply: { tile in
    multiplyTile(tile, bits: 4)
  }
}

/// The `store` of `multiplyUnpacked`: four rows as two pairs, `[4 quarters][inputs / 8][4 pairs of rows][2 rows][8 inputs]`.
@inline(__always)
private func storePairs(_ first: neon_int8, _ last: neon_int8, _ vector: Int, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let place = to + (vector >> 1) * inputs * 8 + (vector & 1) * 32
  neon_store(place, neon_join_low(first, last))
  neon_store(place + 16, neon_join_high(first, last))
}

private func multiplyInRegisters(_ iterations: Int) -> Int {
  32 * repeatInRegisters(iterations) { sum, codes, values, _ in neon_multiply_matrices(sum, codes, values) }
}

// MARK: many tokens

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
        let minima = rowPairTwice(neon_minima(minima + row + 4 * (rows / 2), scales, zeroPoint(bits: bits)), rows)
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
