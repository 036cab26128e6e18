import CIntrinsics
import Kernels

// As in `TokenCounts`: a function for each width of codes and number of tokens. 6 bits are what uneven levels come to, with 32 added.

private enum TileTokens<let bits: Int, let tokens: Int> {
  @inline(never)
  static func multiply(_ tile: QuantizedTile, _ first: Int) { multiplyTokens(bits: bits, tokens, tile, first) }
}

/// `tokens` tokens of a tile, 1 to 6, from `first` on; `multiplyTokens` is the instruction set's own.
@inline(__always)
func multiplyUpTo6(bits: Int, _ tokens: Int, _ tile: QuantizedTile, _ first: Int) {
  switch (bits, tokens) {
  case (3, 1): TileTokens<3, 1>.multiply(tile, first)
  case (3, 2): TileTokens<3, 2>.multiply(tile, first)
  case (3, 3): TileTokens<3, 3>.multiply(tile, first)
  case (3, 4): TileTokens<3, 4>.multiply(tile, first)
  case (3, 5): TileTokens<3, 5>.multiply(tile, first)
  case (3, _): TileTokens<3, 6>.multiply(tile, first)
  case (4, 1): TileTokens<4, 1>.multiply(tile, first)
  case (4, 2): TileTokens<4, 2>.multiply(tile, first)
  case (4, 3): TileTokens<4, 3>.multiply(tile, first)
  case (4, 4): TileTokens<4, 4>.multiply(tile, first)
  case (4, 5): TileTokens<4, 5>.multiply(tile, first)
  case (4, _): TileTokens<4, 6>.multiply(tile, first)
  case (6, 1): TileTokens<6, 1>.multiply(tile, first)
  case (6, 2): TileTokens<6, 2>.multiply(tile, first)
  case (6, 3): TileTokens<6, 3>.multiply(tile, first)
  case (6, 4): TileTokens<6, 4>.multiply(tile, first)
  case (6, 5): TileTokens<6, 5>.multiply(tile, first)
  case (6, _): TileTokens<6, 6>.multiply(tile, first)
  case (_, 1): TileTokens<8, 1>.multiply(tile, first)
  case (_, 2): TileTokens<8, 2>.multiply(tile, first)
  case (_, 3): TileTokens<8, 3>.multiply(tile, first)
  case (_, 4): TileTokens<8, 4>.multiply(tile, first)
  case (_, 5): TileTokens<8, 5>.multiply(tile, first)
  case (_, _): TileTokens<8, 6>.multiply(tile, first)
  }
}
