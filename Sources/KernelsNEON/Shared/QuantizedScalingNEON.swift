import CIntrinsics
import Kernels

/// A group's sums of 8 rows and `tokens` (a constant) tokens to the output, scaled: two vectors of four rows a token.
@inline(__always)
func addGroup(
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

/// A group's sums of all 32 rows and one token.
@inline(__always)
func addGroup(
  bits: Int, _ sums: InlineArray<24, neon_int32>, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ group: Int,
  _ output: UnsafeMutablePointer<Float>
) {
  let halves = panel.scales + group * panelRows
  for index in 0..<8 {
    neon_add_scaled(output + 4 * index, sums[unchecked: index], neon_load_halves(halves + 4 * index), rows.scales[group])
  }
  if let minima = panel.minima {
    for index in 0..<8 {
      let row = 4 * index
      let minima = neon_minima(minima + group * panelRows + row, neon_load_halves(halves + row), bits == 4 ? 8 : 128)
      neon_add_minima(output + row, minima, rows.sums[group])
    }
  }
}
