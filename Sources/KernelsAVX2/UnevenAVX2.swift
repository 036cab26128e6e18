import CIntrinsics
import Kernels

// 4-bit codes with uneven levels. They are looked up with 32 added, 1 to 58, so that an int16 takes the products of four inputs, and those
// of the next four: after each eight inputs it is widened, five instructions where even codes take four. Sums are int32, and start at
// −32 · Σ values.

func multiplyUneven(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count <= fewTokens { return multiplyFewTokensOfUneven(panel, rows, output) }
  multiplyInBlocks(
    bits: 4, panel, rows, output, offsetsPerGroup: offsetsPerGroup(panel.group), scratch: scratch + unpackedBytes
  ) { first, groups in
    storeEights(panel.codes + first * panel.group * panelRows / 2, groups * panel.group, scratch)
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    let left = tile.width <= 6 ? tile.width : (tile.width + 1) / 2
    multiplyPart(left, tile, 0)
    if left < tile.width { multiplyPart(tile.width - left, tile, left) }
  }
}

/// Levels plus 32 of `inputs` inputs: `[4 quarters][inputs / 8][2 fours][8 rows][4 inputs]`.
@inline(__always)
private func storeEights(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let levels = avx2_levels(32)
  let quarter = inputs * 8
  for index in 0..<inputs / 8 {
    for vector in 0..<4 {
      let (low, high) = lookUp(levels, avx2_load(codes + 128 * index + 32 * vector))
      let place = to + vector * quarter + 64 * index
      avx2_store(place, low)
      avx2_store(place + 32, high)
    }
  }
}

/// What the sums of a group start from. Its offsets, `step` apart, hold −8 · Σ over half of the values in each of their int16.
@inline(__always)
private func start(_ offsets: UnsafePointer<Int32>, _ step: Int, _ group: Int) -> __m256i {
  let factor = avx2_fill16(4)
  var start = avx2_multiply_pairs16(avx2_broadcast(offsets), factor)
  for index in 1..<offsetsPerGroup(group) {
    start = avx2_add32(start, avx2_multiply_pairs16(avx2_broadcast(offsets + index * step), factor))
  }
  return start
}

/// `sum` + eight inputs of eight rows by the four and four values of a token.
@inline(__always)
private func add(_ low: __m256i, _ first: UnsafeRawPointer, _ high: __m256i, _ last: UnsafeRawPointer, to sum: __m256i) -> __m256i {
  let pairs = avx2_add16(avx2_multiply_pairs8(low, avx2_broadcast(first)), avx2_multiply_pairs8(high, avx2_broadcast(last)))
  return avx2_add32(sum, widen(pairs))
}

// MARK: few tokens

/// `tokens` (a constant) tokens straight from the packed codes: so many vectors of 8 rows at a time that the sums are at most four.
@inline(__always)
func multiplyUnevenCodes(_ tokens: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  let levels = avx2_levels(32)
  let vectors = tokens > 2 ? 1 : tokens == 2 ? 2 : 4
  var sums = zeros8()
  for part in 0..<4 / vectors {
    var codes = panel.codes + part * vectors * 32
    var values = UnsafeRawPointer(rows.values)
    let place = output + part * vectors * 8
    for group in 0..<panel.groups {
      for token in 0..<tokens {
        let offset = start(rows.offsets + group * offsetsPerGroup(panel.group) * tokens + token, tokens, panel.group)
        for vector in 0..<vectors { sums[unchecked: token * vectors + vector] = offset }
      }
      for _ in 0..<panel.group / 8 {
        if part == 0 { prefetch(codes + 8192, 128) }
        for vector in 0..<vectors {
          let (low, high) = lookUp(levels, avx2_load(codes + 32 * vector))
          for token in 0..<tokens {
            let index = token * vectors + vector
            sums[unchecked: index] = add(low, values + 4 * token, high, values + 4 * tokens + 4 * token, to: sums[unchecked: index])
          }
        }
        codes += 128
        values += 8 * tokens
      }
      forget_memory()
      let row = group * panelRows + part * vectors * 8
      for vector in 0..<vectors {
        let scales = avx2_load_halves(panel.scales + row + 8 * vector)
        for token in 0..<tokens {
          let factor = rows.scales + group * tokens + token
          add(sums[unchecked: token * vectors + vector], scales, factor, to: place + token * panelRows + 8 * vector)
        }
      }
    }
  }
}

// MARK: many tokens

// One function for each number of tokens, as in `TileTokens`.

@inline(__always)
private func multiplyPart(_ tokens: Int, _ tile: QuantizedTile, _ first: Int) {
  switch tokens {
  case 1: UnevenTokens<1>.multiply(tile, first)
  case 2: UnevenTokens<2>.multiply(tile, first)
  case 3: UnevenTokens<3>.multiply(tile, first)
  case 4: UnevenTokens<4>.multiply(tile, first)
  case 5: UnevenTokens<5>.multiply(tile, first)
  case _: UnevenTokens<6>.multiply(tile, first)
  }
}

private enum UnevenTokens<let tokens: Int> {
  @inline(never)
  static func multiply(_ tile: QuantizedTile, _ first: Int) {
    for quarter in 0..<4 { multiplyRows(tokens, tile, first, quarter) }
  }
}

/// 8 rows by `tokens` (a constant) tokens: a sum each, two vectors of levels and what is made of them.
@inline(__always)
private func multiplyRows(_ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ quarter: Int) {
  var sums = zeros8()
  var weights = tile.weights + quarter * tile.groups * tile.group * 8
  var values = UnsafeRawPointer(tile.values + 4 * first)
  let four = 4 * tile.width
  let output = tile.output + first * panelRows + 8 * quarter
  for group in 0..<tile.groups {
    let offsets = tile.offsets + group * offsetsPerGroup(tile.group) * tile.width + first
    for token in 0..<tokens { sums[unchecked: token] = start(offsets + token, tile.width, tile.group) }
    for _ in 0..<tile.group / 8 {
      let low = avx2_load(weights)
      let high = avx2_load(weights + 32)
      for token in 0..<tokens {
        sums[unchecked: token] = add(low, values + 4 * token, high, values + four + 4 * token, to: sums[unchecked: token])
      }
      weights += 64
      values += 2 * four
    }
    forget_memory()
    let scales = avx2_load_halves(tile.weightScales + group * panelRows + 8 * quarter)
    let factors = tile.scales + group * tile.width + first
    for token in 0..<tokens { add(sums[unchecked: token], scales, factors + token, to: output + token * panelRows) }
  }
}
