extension Engine {
  /// Row by row; `output` may be `input`. `weight`, `bias` `[1, columns]`.
  public func layerNorm(_ input: Matrix, weight: Matrix, bias: Matrix, epsilon: Float, to output: Matrix) {
    precondition(weight.columns == input.columns && bias.columns == input.columns)
    precondition(output.columns == input.columns && output.rows == input.rows)
    let layerNorm = kernels.float.layerNorm
    forEachRows(input.rows, columns: input.columns) { rows in
      for row in rows { layerNorm(input.row(row), input.columns, weight.pointer, bias.pointer, epsilon, output.row(row)) }
    }
  }

  /// Row by row; `output` may be `input`. `weight` `[1, columns]`.
  public func rmsNorm(_ input: Matrix, weight: Matrix, epsilon: Float, to output: Matrix) {
    precondition(weight.columns == input.columns && output.columns == input.columns && output.rows == input.rows)
    let rmsNorm = kernels.float.rmsNorm
    forEachRows(input.rows, columns: input.columns) { rows in
      for row in rows { rmsNorm(input.row(row), input.columns, weight.pointer, epsilon, output.row(row)) }
    }
  }
}
