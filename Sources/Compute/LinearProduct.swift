/// What happens to a product before it reaches memory. `bias` always comes first.
package enum Epilogue {
  case store
  /// Exact GELU.
  case gelu
  /// `output += scale · product`; nil scale is 1: a residual connection with or without layer scale. `scale` is `[1, rows of the weight]`.
  case addTo(scale: Matrix?)
}

/// One of the products that share an input.
package struct LinearProduct {
  package var weight: WeightMatrix
  /// `[1, weight.rows]`.
  package var bias: Matrix?
  package var epilogue: Epilogue
  /// `[tokens, weight.rows]`.
  package var output: Matrix

  package init(_ weight: WeightMatrix, bias: Matrix? = nil, _ epilogue: Epilogue = .store, to output: Matrix) {
    self.weight = weight
    self.bias = bias
    self.epilogue = epilogue
    self.output = output
  }

  func check(inputRows: Int, inputColumns: Int) {
    precondition(weight.columns == inputColumns && output.columns == weight.rows && output.rows == inputRows)
    precondition(bias.map { $0.columns == weight.rows } ?? true)
    if case .addTo(let scale?) = epilogue { precondition(scale.columns == weight.rows) }
  }
}
