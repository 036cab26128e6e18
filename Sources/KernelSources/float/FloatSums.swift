import CIntrinsics

// Sums along a row. Their order does not follow the width of a vector: partial sum i takes the inputs i, i + 16 (or i + 32), …, and halves
// are added onto halves at the end. So the same row has the same sum, to the last bit, wherever products and sums are fused.

/// Sixteen partial sums: one, two or four vectors.
struct RowSum {
  private var v0 = Lanes(repeating: 0)
  private var v1 = Lanes(repeating: 0)
  private var v2 = Lanes(repeating: 0)
  private var v3 = Lanes(repeating: 0)

  static var count: Int { 16 }

  @inline(__always) init() {}

  /// Each vector becomes `body(where its inputs begin, vector)`.
  @inline(__always) mutating func update(_ body: (_ offset: Int, _ sum: Lanes) -> Lanes) {
    v0 = body(0, v0)
    if laneCount < 16 { v1 = body(laneCount, v1) }
    if laneCount < 8 {
      v2 = body(2 * laneCount, v2)
      v3 = body(3 * laneCount, v3)
    }
  }

  /// This sum and another one's, partial sum by partial sum.
  @inline(__always) func adding(_ other: RowSum) -> RowSum {
    var result = self
    result.v0 = v0 + other.v0
    result.v1 = v1 + other.v1
    result.v2 = v2 + other.v2
    result.v3 = v3 + other.v3
    return result
  }

  @inline(__always) var total: Float {
    if laneCount == 16 { return lanes_sum(v0) }
    if laneCount == 8 { return lanes_sum(v0 + v1) }
    return lanes_sum((v0 + v2) + (v1 + v3))
  }
}

/// The sum over `count` values of `x − origin`, or of its square. Two times sixteen partial sums keep the sum accurate and the adders busy.
@inline(__always) func sum(_ x: UnsafePointer<Float>, _ count: Int, from origin: Float = 0, squared: Bool = false) -> Float {
  let shift = Lanes(repeating: origin)
  var even = RowSum()
  var odd = RowSum()
  var i = 0
  while i + 2 * RowSum.count <= count {
    even.update { offset, sum in adding(load(x + i + offset) - shift, squared, sum) }
    odd.update { offset, sum in adding(load(x + i + RowSum.count + offset) - shift, squared, sum) }
    i += 2 * RowSum.count
  }
  var rest: Float = 0
  while i < count {
    let value = x[i] - origin
    rest += squared ? value * value : value
    i += 1
  }
  return even.adding(odd).total + rest
}

@inline(__always) private func adding(_ x: Lanes, _ squared: Bool, _ sum: Lanes) -> Lanes {
  squared ? multiplyAdd(x, x, sum) : sum + x
}
