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

  /// Σ weight · (x − quantized x)² over `count` values.
  @inline(__always)
  func squaredError(_ x: UnsafePointer<Float>, _ count: Int, _ weights: some ErrorWeights, scale: Float, minimum: Float) -> Float {
    var error = SIMD4<Float>()
    forEach(x, count, inverse: scale == 0 ? 0 : 1 / scale, minimum: minimum) { index, values, q in
      let difference = values - q * scale
      error += weights.of(index, count) * difference * difference
    }
    return error.sum()
  }
}

extension ErrorWeights {
  /// As `CodeRange.forEach` hands out values: four, or one and zeros where fewer than four are left.
  @inline(__always)
  func of(_ index: Int, _ count: Int) -> SIMD4<Float> { index + 4 <= count ? four(index) : SIMD4(one(index), 0, 0, 0) }
}

/// The straight line through a group's codes and values with the least weighted squared error, and how much of the values it explains.
struct Fit {
  var scale: Float = 0
  var minimum: Float = 0
  /// Σ weight · x² (about the mean where there is a minimum), less the squared error: the more the better.
  var explained: Float = 0

  /// `x ≈ scale · q`.
  @inline(__always)
  static func proportional(
    _ x: UnsafePointer<Float>, _ count: Int, _ weights: some ErrorWeights, _ codes: CodeRange, inverse: Float
  ) -> Fit {
    var (xq, qq) = (SIMD4<Float>(), SIMD4<Float>())
    codes.forEach(x, count, inverse: inverse, minimum: 0) { index, values, q in
      let weighted = weights.of(index, count) * q
      xq += values * weighted
      qq += q * weighted
    }
    let (product, square) = (xq.sum(), qq.sum())
    return square > 0 ? Fit(scale: product / square, explained: product * (product / square)) : Fit()
  }

  /// `x ≈ scale · q + minimum`.
  @inline(__always)
  static func linear(
    _ x: UnsafePointer<Float>, _ count: Int, _ weights: some ErrorWeights, _ codes: CodeRange, inverse: Float, minimum: Float
  ) -> Fit {
    var (sum, xs, qs, xq, qq) = (SIMD4<Float>(), SIMD4<Float>(), SIMD4<Float>(), SIMD4<Float>(), SIMD4<Float>())
    codes.forEach(x, count, inverse: inverse, minimum: minimum) { index, values, q in
      let weight = weights.of(index, count)
      sum += weight
      let weighted = weight * q
      xs += weight * values
      qs += weighted
      xq += values * weighted
      qq += q * weighted
    }
    let total = sum.sum()
    guard total > 0 else { return Fit() }
    let (meanX, meanQ) = (xs.sum() / total, qs.sum() / total)
    let product = xq.sum() - meanX * meanQ * total
    let square = qq.sum() - meanQ * meanQ * total
    guard square > 0 else { return Fit() }
    let scale = product / square
    return Fit(scale: scale, minimum: minimum + meanX - scale * meanQ, explained: product * scale)
  }
}
