import CIntrinsics

// Matrix product of floats against a panel of 32 columns.
//
// A tile of rows × vectors accumulates in registers over all of k: each step loads the tile's vectors of b once, broadcasts one value
// of a per row, and does rows × vectors fused multiply-adds. Rows are split evenly (7 = 4 + 3 where a tile takes 6).

@inline(__always) private var tileRows: Int { Int(FLOAT_TILE_ROWS) }
@inline(__always) private var tileVectors: Int { Int(FLOAT_TILE_VECTORS) }

func multiply(
  _ m: Int, _ k: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>, _ bStride: Int,
  _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
) {
  var column = 0
  while column < 32 {
    var row = 0
    var tiles = (m + tileRows - 1) / tileRows
    while row < m {
      let rows = (m - row + tiles - 1) / tiles
      multiplyTile(rows, k, a + row * aStride, aStride, b + column, bStride, c + row * cStride + column, cStride, accumulate)
      row += rows
      tiles -= 1
    }
    column += tileVectors * laneCount
  }
}

/// One tile of 1 ... `tileRows` rows: a copy of the loop for each number, so that its accumulators are registers.
@inline(__always) private func multiplyTile(
  _ rows: Int, _ k: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>, _ bStride: Int,
  _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
) {
  switch rows {
  case 1: tile(1, k, a, aStride, b, bStride, c, cStride, accumulate)
  case 2: tile(2, k, a, aStride, b, bStride, c, cStride, accumulate)
  case 3: tile(3, k, a, aStride, b, bStride, c, cStride, accumulate)
  case 4 where tileRows > 3: tile(4, k, a, aStride, b, bStride, c, cStride, accumulate)
  case 5 where tileRows > 3: tile(5, k, a, aStride, b, bStride, c, cStride, accumulate)
  case 6 where tileRows > 3: tile(6, k, a, aStride, b, bStride, c, cStride, accumulate)
  case 7 where tileRows > 6: tile(7, k, a, aStride, b, bStride, c, cStride, accumulate)
  case 8 where tileRows > 6: tile(8, k, a, aStride, b, bStride, c, cStride, accumulate)
  case 9 where tileRows > 6: tile(9, k, a, aStride, b, bStride, c, cStride, accumulate)
  case 10 where tileRows > 6: tile(10, k, a, aStride, b, bStride, c, cStride, accumulate)
  case 11 where tileRows > 6: tile(11, k, a, aStride, b, bStride, c, cStride, accumulate)
  case 12 where tileRows > 6: tile(12, k, a, aStride, b, bStride, c, cStride, accumulate)
  default: break
  }
}

@inline(__always) private func tile(
  _ rows: Int, _ k: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>, _ bStride: Int,
  _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
) {
  withUnsafeTemporaryAllocation(of: Lanes.self, capacity: rows * tileVectors) { sums in
    for i in 0..<(rows * tileVectors) { sums[i] = Lanes(repeating: 0) }
    for p in 0..<k {
      let bRow = b + p * bStride
      withUnsafeTemporaryAllocation(of: Lanes.self, capacity: tileVectors) { vectors in
        for v in 0..<tileVectors { vectors[v] = lanes_load(bRow + v * laneCount) }
        for r in 0..<rows {
          let value = Lanes(repeating: a[r * aStride + p])
          for v in 0..<tileVectors {
            sums[r * tileVectors + v] = multiplyAdd(value, vectors[v], sums[r * tileVectors + v])
          }
        }
      }
    }
    for r in 0..<rows {
      for v in 0..<tileVectors {
        let target = c + r * cStride + v * laneCount
        let sum = sums[r * tileVectors + v]
        lanes_store(target, accumulate ? lanes_load(target) + sum : sum)
      }
    }
  }
}
