import CIntrinsics

/// The least and greatest of a group's values.
struct GroupRange {
  var least: Float
  var greatest: Float

  /// Of `count` values, a multiple of 4.
  init(_ x: UnsafePointer<Float>, _ count: Int) {
    var low = quantizer_load(x)
    var high = low
    var index = 4
    while index < count {
      let four = quantizer_load(x + index)
      low = quantizer_min(four, low)
      high = quantizer_max(four, high)
      index += 4
    }
    least = low.min()
    greatest = high.max()
  }

  /// The value of greatest magnitude.
  var extreme: Float { -least > greatest ? least : greatest }
}

/// The nearest float16, as a float.
@inline(__always)
func roundedToHalf(_ x: Float) -> Float { Float(Float16(x)) }

/// The codes that a scale and a minimum give, less the zero point, run over a group.
struct CodeRange {
  var least: Float
  var greatest: Float

  /// Calls `body(x − minimum, q)` with four values and their codes at a time; the last call may have zeros for both.
  @inline(__always)
  func forEach(
    _ x: UnsafePointer<Float>, _ count: Int, inverse: Float, minimum: Float, _ body: (_ index: Int, SIMD4<Float>, SIMD4<Float>) -> Void
  ) {
    var index = 0
    while index + 4 <= count {
      let values = quantizer_load(x + index) - minimum
      body(index, values, quantizer_round(values * inverse, least, greatest))
      index += 4
    }
    while index < count {
      let value = x[index] - minimum
      let q = quantizer_round(SIMD4<Float>(repeating: value * inverse), least, greatest)
      body(index, SIMD4<Float>(value, 0, 0, 0), SIMD4<Float>(q[0], 0, 0, 0))
      index += 1
    }
  }

  /// Σ (x − quantized x)² over `count` values.
  @inline(__always)
  func squaredError(_ x: UnsafePointer<Float>, _ count: Int, scale: Float, minimum: Float) -> Float {
    var error = SIMD4<Float>()
    forEach(x, count, inverse: scale == 0 ? 0 : 1 / scale, minimum: minimum) { _, values, q in
      let difference = values - q * scale
      error += difference * difference
    }
    return error.sum()
  }
}

/// The straight line through a group's codes and values with the least squared error, and how much of the values it explains.
struct Fit {
  var scale: Float = 0
  var minimum: Float = 0
  /// Σ x² (about the mean where there is a minimum), less the squared error: the more the better.
  var explained: Float = 0

  /// `x ≈ scale · q`.
  @inline(__always)
  static func proportional(_ x: UnsafePointer<Float>, _ count: Int, _ codes: CodeRange, inverse: Float) -> Fit {
    var (xq, qq) = (SIMD4<Float>(), SIMD4<Float>())
    codes.forEach(x, count, inverse: inverse, minimum: 0) { _, values, q in
      xq += values * q
      qq += q * q
    }
    let (product, square) = (xq.sum(), qq.sum())
    return square > 0 ? Fit(scale: product / square, explained: product * (product / square)) : Fit()
  }

  /// `x ≈ scale · q + minimum`.
  @inline(__always)
  static func linear(_ x: UnsafePointer<Float>, _ count: Int, _ codes: CodeRange, inverse: Float, minimum: Float) -> Fit {
    var (xs, qs, xq, qq) = (SIMD4<Float>(), SIMD4<Float>(), SIMD4<Float>(), SIMD4<Float>())
    codes.forEach(x, count, inverse: inverse, minimum: minimum) { _, values, q in
      xs += values
      qs += q
      xq += values * q
      qq += q * q
    }
    let (meanX, meanQ) = (xs.sum() / Float(count), qs.sum() / Float(count))
    let product = xq.sum() - meanX * meanQ * Float(count)
    let square = qq.sum() - meanQ * meanQ * Float(count)
    guard square > 0 else { return Fit() }
    let scale = product / square
    return Fit(scale: scale, minimum: minimum + meanX - scale * meanQ, explained: product * scale)
  }
}
