import Compute
import Support

/// `mm_projector`: features of the tower to the decoder's width.
package struct Projector: Sendable {
  /// None for `identity`; `mm_projector.0`, `.2`, … with GELU between.
  package let layers: [Linear]

  package init(_ source: any WeightSource) throws(SlowFastError) {
    switch source.config.projector {
    case .identity: layers = []
    case .linear: layers = [try Linear(source, "model.mm_projector", hasBias: true)]
    case .mlp(let depth):
      var layers: [Linear] = []
      for index in 0..<depth { layers.append(try Linear(source, "model.mm_projector.\(2 * index)", hasBias: true)) }
      self.layers = layers
    }
  }

  /// `[positions, tower width]` → `[positions, hidden]`.
  package func project(_ features: Matrix, on engine: Engine) throws(ComputeError) -> Matrix {
    var x = features
    for (index, layer) in layers.enumerated() {
      let output = try Matrix(rows: x.rows, columns: layer.weight.rows)
      try engine.linear(x, [layer.product(index + 1 < layers.count ? .gelu : .store, to: output)])
      x = output
    }
    if layers.isEmpty {
      let copy = try Matrix(rows: x.rows, columns: x.columns)
      copy.copy(from: x)
      return copy
    }
    return x
  }
}
