import Kernels

/// A norm of each row of a matrix. Weights and biases are `[1, columns]`.
package enum RowNorm {
  /// `(x − mean) / √(variance + epsilon) · weight + bias`.
  case layer(weight: Matrix, bias: Matrix, epsilon: Float)
  /// `x / √(mean(x²) + epsilon) · weight`.
  case rms(weight: Matrix, epsilon: Float)

  func check(columns: Int) {
    switch self {
    case .layer(let weight, let bias, _): precondition(weight.columns == columns && bias.columns == columns)
    case .rms(let weight, _): precondition(weight.columns == columns)
    }
  }

  /// One row of `count` values; `y` may be `x`.
  func apply(_ x: UnsafePointer<Float>, _ count: Int, to y: UnsafeMutablePointer<Float>, using kernels: FloatKernels) {
    switch self {
    case .layer(let weight, let bias, let epsilon): kernels.layerNorm(x, count, weight.pointer, bias.pointer, epsilon, y)
    case .rms(let weight, let epsilon): kernels.rmsNorm(x, count, weight.pointer, epsilon, y)
    }
  }
}

extension Engine {
  /// Row by row; `output` may be `input`.
  package func normalize(_ input: Matrix, _ norm: RowNorm, to output: Matrix) {
    norm.check(columns: input.columns)
    precondition(output.columns == input.columns && output.rows == input.rows)
    forEachRows(input.rows, columns: input.columns) { rows, _ in
      for row in rows { norm.apply(input.row(row), input.columns, to: output.row(row), using: kernels.float) }
    }
  }
}
