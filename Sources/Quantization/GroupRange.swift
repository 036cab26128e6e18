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

/// Sums over a group that a quantization's error and its best scale follow from, with q the code, less the zero point.
struct FitSums {
  /// Σ (x − quantized x)².
  var error: Float = 0
  /// Σ q, Σ q², Σ x · q.
  var q: Float = 0
  var qq: Float = 0
  var xq: Float = 0

  /// Of `count` values, for `x ≈ scale · q + minimum` with q in `least ... greatest`.
  @inline(__always)
  init(_ x: UnsafePointer<Float>, _ count: Int, scale: Float, minimum: Float, least: Float, greatest: Float) {
    let inverse = scale == 0 ? 0 : 1 / scale
    let scales = SIMD4<Float>(repeating: scale)
    var errors = (SIMD4<Float>(), SIMD4<Float>())
    var (qs, qqs, xqs) = (SIMD4<Float>(), SIMD4<Float>(), SIMD4<Float>())
    var index = 0
    while index + 8 <= count {
      let first = quantizer_load(x + index) - minimum
      let second = quantizer_load(x + index + 4) - minimum
      let q = quantizer_round(first * inverse, least, greatest)
      let r = quantizer_round(second * inverse, least, greatest)
      let a = first - q * scales
      let b = second - r * scales
      errors.0 += a * a
      errors.1 += b * b
      qs += q + r
      qqs += q * q + r * r
      xqs += first * q + second * r
      index += 8
    }
    while index < count {
      let value = SIMD4<Float>(x[index] - minimum, 0, 0, 0)
      let q = SIMD4<Float>(quantizer_round(value * inverse, least, greatest)[0], 0, 0, 0)
      let a = value - q * scales
      errors.0 += a * a
      qs += q
      qqs += q * q
      xqs += value * q
      index += 1
    }
    error = (errors.0 + errors.1).sum()
    self.q = qs.sum()
    qq = qqs.sum()
    xq = xqs.sum()
  }
}
