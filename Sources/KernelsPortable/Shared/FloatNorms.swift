import CIntrinsics

// Norms of one row. Sums run in four vectors side by side, so that no lane adds more than a fraction of the row: that keeps them
// accurate and hides the additions' latency. The variance is the mean of squared distances from the mean, in a pass of its own.

/// The sum over `count` values of `x − origin`, or of its square.
@inline(__always) private func sum(_ x: UnsafePointer<Float>, _ count: Int, from origin: Lanes, squared: Bool) -> Float {
  var sum0 = Lanes(repeating: 0)
  var sum1 = Lanes(repeating: 0)
  var sum2 = Lanes(repeating: 0)
  var sum3 = Lanes(repeating: 0)
  var i = 0
  while i + 4 * laneCount <= count {
    sum0 = adding(load(x + i) - origin, squared, sum0)
    sum1 = adding(load(x + i + laneCount) - origin, squared, sum1)
    sum2 = adding(load(x + i + 2 * laneCount) - origin, squared, sum2)
    sum3 = adding(load(x + i + 3 * laneCount) - origin, squared, sum3)
    i += 4 * laneCount
  }
  while i + laneCount <= count {
    sum0 = adding(load(x + i) - origin, squared, sum0)
    i += laneCount
  }
  var rest: Float = 0
  while i < count {
    let value = x[i] - origin[0]
    rest += squared ? value * value : value
    i += 1
  }
  return lanes_sum((sum0 + sum1) + (sum2 + sum3)) + rest
}

@inline(__always) private func adding(_ x: Lanes, _ squared: Bool, _ sum: Lanes) -> Lanes {
  squared ? multiplyAdd(x, x, sum) : sum + x
}

func layerNorm(
  _ x: UnsafePointer<Float>, _ count: Int, _ weight: UnsafePointer<Float>, _ bias: UnsafePointer<Float>, _ epsilon: Float,
  _ y: UnsafeMutablePointer<Float>
) {
  let zero = Lanes(repeating: 0)
  let mean = Lanes(repeating: sum(x, count, from: zero, squared: false) / Float(count))
  let variance = sum(x, count, from: mean, squared: true) / Float(count)
  let factor = Lanes(repeating: 1 / (variance + epsilon).squareRoot())
  eachVector(count) { i, part in
    store(multiplyAdd((load(x + i, part) - mean) * factor, load(weight + i, part), load(bias + i, part)), y + i, part)
  }
}

func rmsNorm(_ x: UnsafePointer<Float>, _ count: Int, _ weight: UnsafePointer<Float>, _ epsilon: Float, _ y: UnsafeMutablePointer<Float>) {
  let meanSquare = sum(x, count, from: Lanes(repeating: 0), squared: true) / Float(count)
  let factor = Lanes(repeating: 1 / (meanSquare + epsilon).squareRoot())
  eachVector(count) { i, part in store(load(x + i, part) * factor * load(weight + i, part), y + i, part) }
}
