import CIntrinsics

// Matrix product of floats against a panel of 32 columns.
//
// A tile of rows × vectors accumulates in registers over all of k: each step loads the tile's vectors of b once, broadcasts one value
// of a per row, and does rows × vectors fused multiply-adds. Rows are split evenly (7 = 4 + 3 where a tile takes 6).
// A tile's rows are written out one by one, not as a loop: whether the compiler unrolls a loop of that size depends on its mood, and one
// that it does not unroll keeps its sums in memory.

@inline(__always) private var tileRows: Int { Int(FLOAT_TILE_ROWS) }
@inline(__always) private var tileVectors: Int { Int(FLOAT_TILE_VECTORS) }
/// Bytes ahead of the float16 being read that are asked for.
@inline(__always) private var prefetchDistance: Int { 2048 }

func multiply(
  _ m: Int, _ k: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>, _ bStride: Int,
  _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
) {
  multiply(half: false, m, k, a, aStride, 1, b, bStride, c, cStride, accumulate)
}

/// `a` is read down its columns.
func multiplyTransposed(
  _ m: Int, _ k: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>, _ bStride: Int,
  _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
) {
  multiply(half: false, m, k, a, 1, aStride, b, bStride, c, cStride, accumulate)
}

/// `b` is float16, read from front to back, and converted for each tile of rows anew.
func multiplyHalf(
  _ m: Int, _ k: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<UInt16>, _ bStride: Int,
  _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
) {
  multiply(half: true, m, k, a, aStride, 1, b, bStride, c, cStride, accumulate)
}

@inline(__always) private func multiply(
  half: Bool, _ m: Int, _ k: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ aStep: Int, _ b: UnsafeRawPointer, _ bStride: Int,
  _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
) {
  let bytes = half ? 2 : 4
  var column = 0
  while column < 32 {
    var row = 0
    var tiles = (m + tileRows - 1) / tileRows
    while row < m {
      let rows = (m - row + tiles - 1) / tiles
      let operands = Operands(
        k: k, a: a + row * aStride, aStride: aStride, aStep: aStep, b: b + column * bytes, bStep: bStride * bytes,
        c: c + row * cStride + column, cStride: cStride, accumulate: accumulate)
      switch rows {
      case 1: half ? multiplyHalf1(operands) : multiply1(operands)
      case 2: half ? multiplyHalf2(operands) : multiply2(operands)
      case 3: half ? multiplyHalf3(operands) : multiply3(operands)
      case 4 where tileRows > 3: half ? multiplyHalf4(operands) : multiply4(operands)
      case 5 where tileRows > 3: half ? multiplyHalf5(operands) : multiply5(operands)
      case 6 where tileRows > 3: half ? multiplyHalf6(operands) : multiply6(operands)
      case 7 where tileRows > 6: half ? multiplyHalf7(operands) : multiply7(operands)
      case 8 where tileRows > 6: half ? multiplyHalf8(operands) : multiply8(operands)
      default: break
      }
      row += rows
      tiles -= 1
    }
    column += tileVectors * laneCount
  }
}

// One function for each number of rows: the compiler stops inlining, whatever it is told, where a function becomes too large.
private func multiply1(_ operands: Operands) { operands.multiply(rows: 1, half: false) }
private func multiply2(_ operands: Operands) { operands.multiply(rows: 2, half: false) }
private func multiply3(_ operands: Operands) { operands.multiply(rows: 3, half: false) }
private func multiply4(_ operands: Operands) { operands.multiply(rows: 4, half: false) }
private func multiply5(_ operands: Operands) { operands.multiply(rows: 5, half: false) }
private func multiply6(_ operands: Operands) { operands.multiply(rows: 6, half: false) }
private func multiply7(_ operands: Operands) { operands.multiply(rows: 7, half: false) }
private func multiply8(_ operands: Operands) { operands.multiply(rows: 8, half: false) }
private func multiplyHalf1(_ operands: Operands) { operands.multiply(rows: 1, half: true) }
private func multiplyHalf2(_ operands: Operands) { operands.multiply(rows: 2, half: true) }
private func multiplyHalf3(_ operands: Operands) { operands.multiply(rows: 3, half: true) }
private func multiplyHalf4(_ operands: Operands) { operands.multiply(rows: 4, half: true) }
private func multiplyHalf5(_ operands: Operands) { operands.multiply(rows: 5, half: true) }
private func multiplyHalf6(_ operands: Operands) { operands.multiply(rows: 6, half: true) }
private func multiplyHalf7(_ operands: Operands) { operands.multiply(rows: 7, half: true) }
private func multiplyHalf8(_ operands: Operands) { operands.multiply(rows: 8, half: true) }

/// Consecutive vectors of a row: two or four.
private struct TileRow {
  var v0 = Lanes(repeating: 0)
  var v1 = Lanes(repeating: 0)
  var v2 = Lanes(repeating: 0)
  var v3 = Lanes(repeating: 0)

  @inline(__always) init() {}

  @inline(__always) init(_ from: UnsafePointer<Float>) {
    v0 = load(from)
    v1 = load(from + laneCount)
    if tileVectors == 4 {
      v2 = load(from + 2 * laneCount)
      v3 = load(from + 3 * laneCount)
    }
  }

  /// Of float16.
  @inline(__always) init(half from: UnsafeRawPointer) {
    v0 = lanes_load_half(from)
    v1 = lanes_load_half(from + 2 * laneCount)
    if tileVectors == 4 {
      v2 = lanes_load_half(from + 4 * laneCount)
      v3 = lanes_load_half(from + 6 * laneCount)
    }
  }

  /// `self += value · b`.
  @inline(__always) mutating func add(_ value: Float, _ b: TileRow) {
    let factor = Lanes(repeating: value)
    v0 = multiplyAdd(factor, b.v0, v0)
    v1 = multiplyAdd(factor, b.v1, v1)
    if tileVectors == 4 {
      v2 = multiplyAdd(factor, b.v2, v2)
      v3 = multiplyAdd(factor, b.v3, v3)
    }
  }

  @inline(__always) func store(_ to: UnsafeMutablePointer<Float>, accumulate: Bool) {
    let before = accumulate ? TileRow(to) : TileRow()
    lanes_store(to, before.v0 + v0)
    lanes_store(to + laneCount, before.v1 + v1)
    if tileVectors == 4 {
      lanes_store(to + 2 * laneCount, before.v2 + v2)
      lanes_store(to + 3 * laneCount, before.v3 + v3)
    }
  }
}

private struct Operands {
  let k: Int
  let a: UnsafePointer<Float>
  /// From row to row, and along one.
  let aStride: Int
  let aStep: Int
  let b: UnsafeRawPointer
  /// Bytes.
  let bStep: Int
  let c: UnsafeMutablePointer<Float>
  let cStride: Int
  let accumulate: Bool

  /// `rows` and `half` are constants where this is inlined: what is beyond them disappears.
  @inline(__always) func multiply(rows: Int, half: Bool) {
    var s0 = TileRow()
    var s1 = TileRow()
    var s2 = TileRow()
    var s3 = TileRow()
    var s4 = TileRow()
    var s5 = TileRow()
    var s6 = TileRow()
    var s7 = TileRow()
    var a = a
    var b = b
    for _ in 0..<k {
      // Few rows are done before the memory is there.
      if half { lanes_prefetch(b + prefetchDistance) }
      let vectors = half ? TileRow(half: b) : TileRow(b.assumingMemoryBound(to: Float.self))
      s0.add(a[0], vectors)
      if rows > 1 { s1.add(a[aStride], vectors) }
      if rows > 2 { s2.add(a[2 * aStride], vectors) }
      if rows > 3 { s3.add(a[3 * aStride], vectors) }
      if rows > 4 { s4.add(a[4 * aStride], vectors) }
      if rows > 5 { s5.add(a[5 * aStride], vectors) }
      if rows > 6 { s6.add(a[6 * aStride], vectors) }
      if rows > 7 { s7.add(a[7 * aStride], vectors) }
      a += aStep
      b += bStep
    }
    s0.store(c, accumulate: accumulate)
    if rows > 1 { s1.store(c + cStride, accumulate: accumulate) }
    if rows > 2 { s2.store(c + 2 * cStride, accumulate: accumulate) }
    if rows > 3 { s3.store(c + 3 * cStride, accumulate: accumulate) }
    if rows > 4 { s4.store(c + 4 * cStride, accumulate: accumulate) }
    if rows > 5 { s5.store(c + 5 * cStride, accumulate: accumulate) }
    if rows > 6 { s6.store(c + 6 * cStride, accumulate: accumulate) }
    if rows > 7 { s7.store(c + 7 * cStride, accumulate: accumulate) }
  }
}
