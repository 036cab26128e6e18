import CIntrinsics
import Kernels

// Pairs of tokens. One function for each number of pairs: the compiler then knows it, and accumulators stay in registers.

@inline(__always)
func multiplyTile(_ tile: QuantizedTile, _ values: UnsafeRawPointer, bits: Int) {
  let pairs = tile.width / 2
  for quarter in 0..<4 {
    var first = 0
    while first < pairs {
      let rest = pairs - first
      let some = rest < 2 ? 1 : rest & ~1
      switch some {
      case 1: pairs1(tile, values, first, quarter, bits)
      case 2: pairs2(tile, values, first, quarter, bits)
      case 4: pairs4(tile, values, first, quarter, bits)
      default: pairs6(tile, values, first, quarter, bits)
      }
      first += some
    }
    if tile.width & 1 == 1 { half(tile, values, first, quarter, bits) }
  }
}

@inline(never)
func half(_ tile: QuantizedTile, _ values: UnsafeRawPointer, _ first: Int, _ quarter: Int, _ bits: Int) {
  multiplyPairs(1, tokens: 1, tile, values, first, quarter, bits)
}
@inline(never)
func pairs1(_ tile: QuantizedTile, _ values: UnsafeRawPointer, _ first: Int, _ quarter: Int, _ bits: Int) {
  multiplyPairs(1, tokens: 2, tile, values, first, quarter, bits)
}
@inline(never)
func pairs2(_ tile: QuantizedTile, _ values: UnsafeRawPointer, _ first: Int, _ quarter: Int, _ bits: Int) {
  multiplyPairs(2, tokens: 4, tile, values, first, quarter, bits)
}
@inline(never)
func pairs4(_ tile: QuantizedTile, _ values: UnsafeRawPointer, _ first: Int, _ quarter: Int, _ bits: Int) {
  multiplyPairs(4, tokens: 8, tile, values, first, quarter, bits)
}
@inline(never)
func pairs6(_ tile: QuantizedTile, _ values: UnsafeRawPointer, _ first: Int, _ quarter: Int, _ bits: Int) {
  multiplyPairs(6, tokens: 12, tile, values, first, quarter, bits)
}

/// 8 rows by `pairs` (a constant) pairs of tokens from pair `first` on, of which `tokens` count: accumulators `[row pair][token pair]`, of two by
/// two sums each.
@inline(__always)
func multiplyPairs(
  _ pairs: Int, tokens: Int, _ tile: QuantizedTile, _ values: UnsafeRawPointer, _ first: Int, _ quarter: Int, _ bits: Int
) {
  var sums = zeros24()
  var weights = tile.weights + quarter * (tile.groups * tile.group * 8)
  var values = values + 16 * first
  let step = (tile.width + 1) / 2 * 16
  for group in 0..<tile.groups {
    for index in 0..<4 * pairs { sums[unchecked: index] = neon_int32() }
    for _ in 0..<tile.group / 8 {
      for rows in 0..<4 {
        let codes = neon_load(weights + 16 * rows)
        for pair in 0..<pairs {
          let index = rows * pairs + pair
          sums[unchecked: index] = neon_multiply_matrices(sums[unchecked: index], codes, neon_load(values + 16 * pair))
        }
      }
      weights += 64
      values += step
    }
    var rows = zeros24()
    for pair in 0..<pairs {
      for half in 0..<2 {
        let a = sums[unchecked: 2 * half * pairs + pair]
        let b = sums[unchecked: (2 * half + 1) * pairs + pair]
        rows[unchecked: 4 * pair + half] = neon_even(a, b)
        rows[unchecked: 4 * pair + 2 + half] = neon_odd(a, b)
      }
    }
    addGroup(bits: bits, tokens, rows, tile, group, 2 * first, quarter)
  }
}
