import CIntrinsics
import Kernels

// Many tokens: 12 accumulators, two vectors of codes and one of values.

/// `tokens` (a constant) tokens from `first` on.
@inline(__always)
func multiplyTokens(bits: Int, _ tokens: Int, _ tile: QuantizedTile, _ first: Int) {
  for part in 0..<2 { multiplyTokens(bits: bits, tokens, tile, first, part) }
}

/// By 16 rows: the `part`-th half of the panel. Codes of 4 bits were unpacked half by half, those of 8 bits are read where they are.
@inline(__always)
private func multiplyTokens(bits: Int, _ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ part: Int) {
  var sums = zeros12()
  let step = bits == 4 ? 64 : 128
  var weights = tile.weights + part * (bits == 4 ? tile.groups * tile.group * 16 : 64)
  var values = UnsafeRawPointer(tile.values + 4 * first)
  let output = tile.output + first * panelRows + 16 * part
  for group in 0..<tile.groups {
    let column = group * tile.width + first
    for token in 0..<tokens {
      sums[unchecked: 2 * token] = start(tile.offsets + column + token, bits: bits)
      sums[unchecked: 2 * token + 1] = sums[unchecked: 2 * token]
    }
    for _ in 0..<tile.group / 4 {
      let left = avx2_load(weights)
      let right = avx2_load(weights + 32)
      for token in 0..<tokens {
        let four = avx2_broadcast(values + 4 * token)
        sums[unchecked: 2 * token] = vnni256_dot(sums[unchecked: 2 * token], left, four)
        sums[unchecked: 2 * token + 1] = vnni256_dot(sums[unchecked: 2 * token + 1], right, four)
      }
      weights += step
      values += 4 * tile.width
    }
    forget_memory()
    let row = group * panelRows + 16 * part
    let left = avx2_load_halves(tile.weightScales + row)
    let right = avx2_load_halves(tile.weightScales + row + 8)
    // Loops as small as this are unrolled whole, which the accumulators need to be registers.
    for token in 0..<tokens { add(sums[unchecked: 2 * token], left, tile.scales + column + token, to: output + token * panelRows) }
    for token in 0..<tokens { add(sums[unchecked: 2 * token + 1], right, tile.scales + column + token, to: output + token * panelRows + 8) }
    if let halves = tile.minima {
      let left = minima(halves + row, left, bits: bits)
      let right = minima(halves + row + 8, right, bits: bits)
      for token in 0..<tokens {
        add(left, tile.sums + column + token, to: output + token * panelRows)
        add(right, tile.sums + column + token, to: output + token * panelRows + 8)
      }
    }
  }
}
