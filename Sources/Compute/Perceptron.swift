import Kernels

/// The first half of a multilayer perceptron: a linear layer and what makes it one of a perceptron.
package enum PerceptronInner {
  /// `activation(input · weightᵀ + bias)`.
  case activated(WeightMatrix, bias: Matrix?, by: Activation)
  /// `silu(input · gateᵀ) · (input · upᵀ)`.
  case gated(gate: WeightMatrix, up: WeightMatrix)

  /// `GELU(input · weightᵀ + bias)`, the exact one.
  package static func gelu(_ weight: WeightMatrix, bias: Matrix?) -> PerceptronInner { .activated(weight, bias: bias, by: .gelu) }

  var weights: [WeightMatrix] {
    switch self {
    case .activated(let weight, _, _): [weight]
    case .gated(let gate, let up): [gate, up]
    }
  }

  /// Columns of what it makes.
  var width: Int { weights[0].rows }
}

extension Engine {
  /// `output = epilogue(inner(norm(input)) · weightᵀ + bias)` of the outer product: a multilayer perceptron. `input` is `[tokens, columns
  /// of the inner weights]`; the output may be the input where it is added to.
  ///
  /// What is between the two layers is the widest of the model. Where the outer weight is quantized it exists as int8 only: a task
  /// multiplies as many panels as make a group of it, applies the activation and quantizes, all in its own cache.
  /// The first `alone` rows become bit for bit what each would as the only row.
  package func perceptron(
    _ input: Matrix, norm: RowNorm? = nil, alone: Int = 0, _ inner: PerceptronInner, _ outer: LinearProduct
  ) throws(ComputeError) {
    norm?.check(columns: input.columns)
    precondition(inner.weights.allSatisfy { $0.columns == input.columns && $0.rows == inner.width })
    outer.check(inputRows: input.rows, inputColumns: inner.width)
    let group = observer == nil ? outer.weight.inputGroup : nil
    let tileBytes = max(
      inputTileBytes(inner.weights, columns: input.columns, isNormed: norm != nil),
      group.map { QuantizedRows.tileBytes(columns: inner.width, group: $0) } ?? inner.width * tileTokens * MemoryLayout<Float>.stride)
    for rows in Engine.parts(of: input.rows, tileBytes: tileBytes) {
      let outputRows = outer.output[rows: rows]
      let alone = Engine.alone(alone, of: input.rows) - rows.lowerBound
      let middle: PanelInput
      if let group {
        let byteCount = QuantizedRows.byteCount(
          count: rows.count, groups: QuantizedRows.groups(columns: inner.width, group: group), group: group)
        let quantized = QuantizedRows(
          memory: try innerScratch.reserve(byteCount), count: rows.count, groups: QuantizedRows.groups(columns: inner.width, group: group),
          group: group)
        middle = .quantized(quantized)
        try runInner(input[rows: rows], norm: norm, alone: alone, inner, .quantized(quantized, columns: inner.width))
      } else {
        let memory = try innerScratch.reserve(rows.count * inner.width * MemoryLayout<Float>.stride)
        let floats = Matrix(
          rows: rows.count, columns: inner.width, stride: inner.width, pointer: memory.assumingMemoryBound(to: Float.self),
          owner: innerScratch)
        try runInner(input[rows: rows], norm: norm, alone: alone, inner, .floats(.store, floats))
        middle = try inputs(floats, norm: nil, [outer.weight])[0]
      }
      try run([PanelLoop(outer, middle, alone: alone, .floats(outer.epilogue, outputRows))], tokens: rows.count)
      withExtendedLifetime(middle) {}
    }
    withExtendedLifetime((input, norm, inner, outer)) {}
  }

  private func runInner(
    _ input: Matrix, norm: RowNorm?, alone: Int, _ inner: PerceptronInner, _ output: PanelOutput
  ) throws(ComputeError) {
    let sources = try inputs(input, norm: norm, inner.weights)
    try run([PanelLoop(inner, sources, alone: alone, output)], tokens: input.rows)
    withExtendedLifetime(sources) {}
  }
}
