import Compute

/// A linear layer: `weight` `[rows, columns]`, `bias` `[1, rows]` or none.
package struct Linear: Sendable {
  package var weight: WeightMatrix
  package var bias: Matrix?

  package init(weight: WeightMatrix, bias: Matrix?) {
    self.weight = weight
    self.bias = bias
  }

  /// This layer as one of the products of an input.
  package func product(_ epilogue: Epilogue = .store, to output: Matrix) -> LinearProduct {
    LinearProduct(weight, bias: bias, epilogue, to: output)
  }

  /// Multiply-adds for one input.
  package var products: Int { weight.rows * weight.columns }
}

/// A LayerNorm: `weight`, `bias` `[1, channels]`.
package struct LayerNorm: Sendable {
  package var weight: Matrix
  package var bias: Matrix
  package var epsilon: Float

  package var rows: RowNorm { .layer(weight: weight, bias: bias, epsilon: epsilon) }
}
