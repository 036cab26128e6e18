import CIntrinsics
import Kernels

// Many tokens. One function for each number of tokens: the compiler then knows it, and accumulators stay in registers.

@inline(__always)
func multiplyTile(_ tile: QuantizedTile, bits: Int) {
  for quarter in 0..<4 {
    var first = 0
    while first < tile.width {
      let rest = tile.width - first
      let tokens = rest < 4 ? rest : rest & ~3
      switch tokens {
      case 1: tile1(tile, first, quarter, bits)
      case 2: tile2(tile, first, quarter, bits)
      case 3: tile3(tile, first, quarter, bits)
      case 4: tile4(tile, first, quarter, bits)
      case 8: tile8(tile, first, quarter, bits)
      default: tile12(tile, first, quarter, bits)
      }
      first += tokens
    }
  }
}

@inline(never)
func tile1(_ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) { multiplyTokens(1, tile, first, quarter, bits) }
@inline(never)
func tile2(_ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) { multiplyTokens(2, tile, first, quarter, bits) }
@inline(never)
func tile3(_ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) { multiplyTokens(3, tile, first, quarter, bits) }
@inline(never)
func tile4(_ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) { multiplyTokens(4, tile, first, quarter, bits) }
@inline(never)
func tile8(_ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) { multiplyTokens(8, tile, first, quarter, bits) }
@inline(never)
func tile12(_ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) { multiplyTokens(12, tile, first, quarter, bits) }

/// 8 rows by `tokens` (a constant: at most 3, or a multiple of 4) tokens from `first` on.
@inline(__always)
func multiplyTokens(_ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) {
  var sums = zeros24()
  var weights = tile.weights + quarter * (tile.groups * tile.group * 8)
  var values = UnsafeRawPointer(tile.values + 4 * first)
  for group in 0..<tile.groups {
    for index in 0..<2 * tokens { sums[unchecked: index] = neon_int32() }
    for _ in 0..<tile.group / 4 {
      let upper = neon_load(weights)
      let lower = neon_load(weights + 16)
      if tokens < 4 {
        // What comes after these tokens may be beyond the memory's end.
        for token in 0..<tokens { add(neon_broadcast(values + 4 * token), upper, lower, token, &sums) }
      } else {
        for index in 0..<tokens / 4 {
          // Lanes written out: a loop over all tokens would not be unrolled, which the accumulators need to be registers.
          let fours = neon_load(values + 16 * index)
          add(neon_lane(fours, 0), upper, lower, 4 * index, &sums)
          add(neon_lane(fours, 1), upper, lower, 4 * index + 1, &sums)
          add(neon_lane(fours, 2), upper, lower, 4 * index + 2, &sums)
          add(neon_lane(fours, 3), upper, lower, 4 * index + 3, &sums)
        }
      }
      weights += 32
      values += 4 * tile.width
    }
    addGroup(bits: bits, tokens, sums, tile, group, first, quarter)
  }
}

/// Four inputs of a token to its sums.
@inline(__always)
func add(_ four: neon_int8, _ upper: neon_int8, _ lower: neon_int8, _ token: Int, _ sums: inout InlineArray<24, neon_int32>) {
  sums[unchecked: 2 * token] = neon_dot(sums[unchecked: 2 * token], upper, four)
  sums[unchecked: 2 * token + 1] = neon_dot(sums[unchecked: 2 * token + 1], lower, four)
}
