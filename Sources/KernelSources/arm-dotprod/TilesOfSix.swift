import Kernels

// Many tokens, six at a time; each table has its own `multiplyTokens`. One function for each number of tokens: the compiler then knows it, and
// accumulators stay in registers.

@inline(__always)
func multiplyTile(_ tile: QuantizedTile, bits: Int) {
  multiplyPart(tile, from: 0, smaller(6, tile.width), bits)
  if tile.width > 6 { multiplyPart(tile, from: 6, tile.width - 6, bits) }
}

@inline(__always)
func multiplyPart(_ tile: QuantizedTile, from first: Int, _ tokens: Int, _ bits: Int) {
  for quarter in 0..<4 {
    switch tokens {
    case 1: tile1(tile, first, quarter, bits)
    case 2: tile2(tile, first, quarter, bits)
    case 3: tile3(tile, first, quarter, bits)
    case 4: tile4(tile, first, quarter, bits)
    case 5: tile5(tile, first, quarter, bits)
    default: tile6(tile, first, quarter, bits)
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
func tile5(_ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) { multiplyTokens(5, tile, first, quarter, bits) }
@inline(never)
func tile6(_ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) { multiplyTokens(6, tile, first, quarter, bits) }
