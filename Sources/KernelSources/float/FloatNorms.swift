import CIntrinsics

// Norms of one row. The variance is the mean of squared distances from the mean, in a pass of its own.

func layerNorm(
  _ x: UnsafePointer<Float>, _ count: Int, _ weight: UnsafePointer<Float>, _ bias: UnsafePointer<Float>, _ epsilon: Float,
  _ y: UnsafeMutablePointer<Float>
) {
  let mean = sum(x, count) / Float(count)
  let variance = sum(x, count, from: mean, squared: true) / Float(count)
  let factor = Lanes(repeating: 1 / (variance + epsilon).squareRoot())
  let origin = Lanes(repeating: mean)
  eachVector(count) { i, part in
    store(multiplyAdd((load(x + i, part) - origin) * factor, load(weight + i, part), load(bias + i, part)), y + i, part)
  }
}

func rmsNorm(_ x: UnsafePointer<Float>, _ count: Int, _ weight: UnsafePointer<Float>, _ epsilon: Float, _ y: UnsafeMutablePointer<Float>) {
  let meanSquare = sum(x, count, squared: true) / Float(count)
  let factor = Lanes(repeating: 1 / (meanSquare + epsilon).squareRoot())
  eachVector(count) { i, part in store(load(x + i, part) * factor * load(weight + i, part), y + i, part) }
}
