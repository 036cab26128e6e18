import CIntrinsics
import Kernels

// Many tokens, six at a time; each module has its own `multiplyTokens`. One function for each number of tokens: the compiler then knows it,
// and accumulators stay in registers.

@inline(__always)
func multiplyTile(_ tile: QuantizedTile, bits: Int) {
  multiplyPart(tile, from: 0, smaller(6, tile.width), bits)
  if tile.width > 6 { multiplyPart(tile, from: 6, tile.width - 6, bits) }
}

@inline(__always)
private func multiplyPart(_ tile: QuantizedTile, from first: Int, _ tokens: Int, _ bits: Int) {
  for quarter in 0..<4 {
    switch tokens {
    case 1: TileTokens<1>.multiply(tile, first, quarter, bits)
    case 2: TileTokens<2>.multiply(tile, first, quarter, bits)
    case 3: TileTokens<3>.multiply(tile, first, quarter, bits)
    case 4: TileTokens<4>.multiply(tile, first, quarter, bits)
    case 5: TileTokens<5>.multiply(tile, first, quarter, bits)
    default: TileTokens<6>.multiply(tile, first, quarter, bits)
    }
  }
}

private enum TileTokens<let tokens: Int> {
  @inline(never)
  static func multiply(_ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) {
    multiplyTokens(tokens, tile, first, quarter, bits)
  }
}

/// See `QuantizedKernels.multiplyInRegisters`: how many `multiplyAdd` were run.
@inline(__always)
func repeatInRegisters(
  _ iterations: Int, _ multiplyAdd: (_ sum: neon_int32, _ codes: neon_int8, _ values: neon_int8, _ index: Int) -> neon_int32
) -> Int {
  var sums = zeros24()
  var codes = neon_broadcast([1 as Int32])
  let values = neon_broadcast([2 as Int32])
  for _ in 0..<iterations {
    for index in 0..<24 {
      if index & 3 == 0 { codes = neon_opaque(codes) }
      sums[unchecked: index] = multiplyAdd(sums[unchecked: index], codes, values, index)
    }
  }
  for index in 0..<24 { _ = neon_opaque(unsafeBitCast(sums[unchecked: index], to: neon_int8.self)) }
  return iterations * 24
}
