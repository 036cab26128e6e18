/// What makes a value unfit for quantization. Rows count from the panel's first.
package enum QuantizationError: Error, Equatable, Sendable {
  /// A NaN or an infinity.
  case notFinite(row: Int, column: Int, value: Float)
  /// Too great for a scale, or a minimum, in float16: `limit` is the greatest magnitude that fits.
  case tooLarge(row: Int, column: Int, value: Float, limit: Float)
}

extension QuantizationError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .notFinite(let row, let column, let value): return "weight [\(row), \(column)] is \(value); a finite number was expected"
    case .tooLarge(let row, let column, let value, let limit):
      return "weight [\(row), \(column)] is \(value); with this quantization its magnitude may be \(limit) at most"
    }
  }
}
