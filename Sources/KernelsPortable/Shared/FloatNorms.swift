import CIntrinsics

// Norms of one row. Sums run in four vectors side by side, so that no lane adds more than a fraction of the row: that keeps them
// accurate and hides the additions' latency. The variance is the mean of squared distances from the mean, in a pass of its own.

/// The sum over `count` values of what `term` makes of each vector; the lanes of a last, partial vector are zeroed beyond its end.
@inline(__always) private func sum(_ x: UnsafePointer<Float>, _ count: Int, _ term: (Lanes) -> Lanes) -> Float {
  var sum0 = Lanes(repeating: 0)
  var sum1 = Lanes(repeating: 0)
  var sum2 = Lanes(repeating: 0)
  var sum3 = Lanes(repeating: 0)
  var i = 0
  while i + 4 * laneCount <= count {
    sum0 += term(lanes_load(x + i))
    sum1 += term(lanes_load(x + i + laneCount))
    sum2 += term(lanes_load(x + i + 2 * laneCount))
    sum3 += term(lanes_load(x + i + 3 * laneCount))
    i += 4 * laneCount
  }
  while i + laneCount <= count {
    sum0 += term(lanes_load(x + i))
    i += laneCount
  }
  var rest: Float = 0
  if i < count {
    let last = term(lanes_load_part(x + i, count - i))
    for lane in 0..<(count - i) { rest += last[lane] }
  }
  return lanes_sum((sum0 + sum1) + (sum2 + sum3)) + rest
}

func layerNorm(
  _ x: UnsafePointer<Float>, _ count: Int, _ weight: UnsafePointer<Float>, _ bias: UnsafePointer<Float>, _ epsilon: Float,
  _ y: UnsafeMutablePointer<Float>
) {
  let mean = Lanes(repeating: sum(x, count) { $0 } / Float(count))
  let variance = sum(x, count) { ($0 - mean) * ($0 - mean) } / Float(count)
  let factor = Lanes(repeating: 1 / (variance + epsilon).squareRoot())
  eachVector(count) { i, part in
    store(multiplyAdd((load(x + i, part) - mean) * factor, load(weight + i, part), load(bias + i, part)), y + i, part)
  }
}

func rmsNorm(_ x: UnsafePointer<Float>, _ count: Int, _ weight: UnsafePointer<Float>, _ epsilon: Float, _ y: UnsafeMutablePointer<Float>) {
  let meanSquare = sum(x, count) { $0 * $0 } / Float(count)
  let factor = Lanes(repeating: 1 / (meanSquare + epsilon).squareRoot())
  eachVector(count) { i, part in store(load(x + i, part) * factor * load(weight + i, part), y + i, part) }
}
