import CIntrinsics
import Kernels

// Many tokens: which function takes how many of them.

func multiplyTile4(_ tile: QuantizedTile) { multiplyTile(digits: 1, tile) }

func multiplyTile8(_ tile: QuantizedTile) { multiplyTile(digits: 2, tile) }

@inline(__always)
func multiplyTile(digits: Int, _ tile: QuantizedTile) {
  if tile.width <= 6 {
    multiply(digits, tile, 0, tile.width)
  } else {
    let left = (tile.width + 1) / 2
    multiply(digits, tile, 0, left)
    multiply(digits, tile, left, tile.width - left)
  }
}

@inline(__always)
func multiply(_ digits: Int, _ tile: QuantizedTile, _ first: Int, _ tokens: Int) {
  switch (tokens, tile.group > lanes16Inputs) {
  case (1, false): digits == 1 ? tile4x1(tile, first) : tile8x1(tile, first)
  case (1, true): digits == 1 ? tile4x1long(tile, first) : tile8x1long(tile, first)
  case (2, false): digits == 1 ? tile4x2(tile, first) : tile8x2(tile, first)
  case (2, true): digits == 1 ? tile4x2long(tile, first) : tile8x2long(tile, first)
  case (3, false): digits == 1 ? tile4x3(tile, first) : tile8x3(tile, first)
  case (3, true): digits == 1 ? tile4x3long(tile, first) : tile8x3long(tile, first)
  case (4, false): digits == 1 ? tile4x4(tile, first) : tile8x4(tile, first)
  case (4, true): digits == 1 ? tile4x4long(tile, first) : tile8x4long(tile, first)
  case (5, false): digits == 1 ? tile4x5(tile, first) : tile8x5(tile, first)
  case (5, true): digits == 1 ? tile4x5long(tile, first) : tile8x5long(tile, first)
  case (_, false): digits == 1 ? tile4x6(tile, first) : tile8x6(tile, first)
  case (_, true): digits == 1 ? tile4x6long(tile, first) : tile8x6long(tile, first)
  }
}

// One function for each number of tokens: the compiler then knows it, and accumulators stay in registers.

@inline(never)
func tile4x1(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(1, 1, isLong: false, tile, first)
}
@inline(never)
func tile4x2(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(1, 2, isLong: false, tile, first)
}
@inline(never)
func tile4x3(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(1, 3, isLong: false, tile, first)
}
@inline(never)
func tile4x4(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(1, 4, isLong: false, tile, first)
}
@inline(never)
func tile4x5(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(1, 5, isLong: false, tile, first)
}
@inline(never)
func tile4x6(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(1, 6, isLong: false, tile, first)
}
@inline(never)
func tile4x1long(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(1, 1, isLong: true, tile, first)
}
@inline(never)
func tile4x2long(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(1, 2, isLong: true, tile, first)
}
@inline(never)
func tile4x3long(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(1, 3, isLong: true, tile, first)
}
@inline(never)
func tile4x4long(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(1, 4, isLong: true, tile, first)
}
@inline(never)
func tile4x5long(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(1, 5, isLong: true, tile, first)
}
@inline(never)
func tile4x6long(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(1, 6, isLong: true, tile, first)
}
@inline(never)
func tile8x1(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(2, 1, isLong: false, tile, first)
}
@inline(never)
func tile8x2(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(2, 2, isLong: false, tile, first)
}
@inline(never)
func tile8x3(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(2, 3, isLong: false, tile, first)
}
@inline(never)
func tile8x4(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(2, 4, isLong: false, tile, first)
}
@inline(never)
func tile8x5(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(2, 5, isLong: false, tile, first)
}
@inline(never)
func tile8x6(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(2, 6, isLong: false, tile, first)
}
@inline(never)
func tile8x1long(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(2, 1, isLong: true, tile, first)
}
@inline(never)
func tile8x2long(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(2, 2, isLong: true, tile, first)
}
@inline(never)
func tile8x3long(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(2, 3, isLong: true, tile, first)
}
@inline(never)
func tile8x4long(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(2, 4, isLong: true, tile, first)
}
@inline(never)
func tile8x5long(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(2, 5, isLong: true, tile, first)
}
@inline(never)
func tile8x6long(_ tile: QuantizedTile, _ first: Int) {
  multiplyTokens(2, 6, isLong: true, tile, first)
}
