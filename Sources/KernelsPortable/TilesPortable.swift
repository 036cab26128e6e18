import CIntrinsics
import Kernels

/// All 32 rows by one tile of tokens.
@inline(__always)
func multiplyTile(
  _ tile: QuantizedTile, _ weights: UnsafePointer<Int16>, _ values: UnsafePointer<Int16>, _ scales: UnsafePointer<Float>,
  _ minima: UnsafePointer<Float>?
) {
  var token = 0
  while token + 2 <= tile.width {
    for part in 0..<2 { TileTokens<2>.multiply(tile, token, part, weights, values, scales, minima) }
    token += 2
  }
  if token < tile.width {
    for part in 0..<2 { TileTokens<1>.multiply(tile, token, part, weights, values, scales, minima) }
  }
}

/// One function for each number of tokens, so that the compiler knows it.
private enum TileTokens<let tokens: Int> {
  @inline(never)
  static func multiply(
    _ tile: QuantizedTile, _ first: Int, _ part: Int, _ weights: UnsafePointer<Int16>, _ values: UnsafePointer<Int16>,
    _ scales: UnsafePointer<Float>, _ minima: UnsafePointer<Float>?
  ) { multiplyTokens(tokens, tile, first, part, weights, values, scales, minima) }
}

/// `tokens` (a constant) tokens by 16 rows: four accumulators each.
@inline(__always)
private func multiplyTokens(
  _ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ part: Int, _ weights: UnsafePointer<Int16>, _ values: UnsafePointer<Int16>,
  _ scales: UnsafePointer<Float>, _ minima: UnsafePointer<Float>?
) {
  var sums = zeros8()
  var weights = weights + part * 32
  var values = values + 2 * first
  for group in 0..<tile.groups {
    for index in 0..<4 * tokens { sums[unchecked: index] = SIMD4<Int32>() }
    for _ in 0..<tile.group / 2 {
      for vector in 0..<4 {
        let codes = portable_load(weights + 8 * vector)
        for token in 0..<tokens {
          let index = 4 * token + vector
          sums[unchecked: index] = portable_add_pairs(sums[unchecked: index], codes, portable_broadcast(values + 2 * token))
        }
      }
      weights += 64
      values += 2 * tile.width
    }
    for token in 0..<tokens {
      let place = group * tile.width + first + token
      let scale = SIMD4<Float>(repeating: tile.scales[place])
      let tokenSum = SIMD4<Float>(repeating: tile.sums[place])
      for vector in 0..<4 {
        let row = part * 16 + 4 * vector
        let output = tile.output + (first + token) * panelRows + row
        let factor = portable_load_floats(scales + group * panelRows + row) * scale
        var result = portable_multiply_add(
          factor, portable_to_float(sums[unchecked: 4 * token + vector]), portable_load_floats(output))
        if let minima { result = portable_multiply_add(portable_load_floats(minima + group * panelRows + row), tokenSum, result) }
        portable_store_floats(output, result)
      }
    }
  }
}
