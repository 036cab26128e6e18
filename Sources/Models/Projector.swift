import Compute
import Support

/// What stands between tower and decoder: features of the tower to the decoder's width.
package protocol Projector: Sendable {
  static func computes(_ type: ProjectorType) -> Bool
  /// All of it is one unit.
  init(_ config: ModelConfig, width: Int, _ builder: LayerBuilder) throws(SlowFastError)

  var config: ModelConfig { get }
  /// Channels of the tower's output.
  var width: Int { get }
  /// The learned token that ends a line of visual tokens, `[1, hidden]`; nil: none.
  var newline: Matrix? { get }
  /// Multiply-adds for `positions` of the tower's map.
  func products(positions: Int) -> Int
  /// `[positions, width]` → `[positions, hidden]`.
  func project(_ features: Matrix, on engine: Engine) throws(ComputeError) -> Matrix
}

extension Projector {
  /// The projector with weights.
  package func loaded(_ builder: LayerBuilder) throws(SlowFastError) -> Self { try Self(config, width: width, builder) }
}

extension WeightSource {
  /// The learned token that ends a line of visual tokens, without the rest of the projector; nil: none.
  package func newline() throws(SlowFastError) -> Matrix? {
    let name = PerceptronProjector.newlineName
    return schema.requirements.contains { $0.name == name } ? try vector(name) : nil
  }
}

/// `mm_projector`: linear layers with GELU between, or none.
package struct PerceptronProjector: Projector {
  package let config: ModelConfig
  package let width: Int
  private let layers: [Linear]
  package let newline: Matrix?

  package static let newlineName = "model.image_newline"

  package static func computes(_ type: ProjectorType) -> Bool { if case .pixelShuffle = type { false } else { true } }

  package init(_ config: ModelConfig, width: Int, _ builder: LayerBuilder) throws(SlowFastError) {
    self.config = config
    self.width = width
    let names: [String] =
      switch config.projector {
      case .identity: []
      case .linear: ["model.mm_projector"]
      case .mlp(let depth): (0..<depth).map { "model.mm_projector.\(2 * $0)" }
      case .pixelShuffle: preconditionFailure("another projector's")
      }
    var layers: [Linear] = []
    if !names.isEmpty {
      try builder.unit { () throws(SlowFastError) in
        for name in names {
          layers.append(try builder.linear(name, config.hiddenSize, layers.isEmpty ? width : config.hiddenSize, .projector))
        }
      }
    }
    self.layers = layers
    let needsNewline = config.sequence.map { $0.newline != .none || $0.picturesHaveNewlines } ?? false
    newline = needsNewline ? try builder.vector(Self.newlineName, config.hiddenSize, .token) : nil
  }

  package func products(positions: Int) -> Int { layers.reduce(0) { $0 + positions * $1.weightCount } }

  package func project(_ features: Matrix, on engine: Engine) throws(ComputeError) -> Matrix {
    guard !layers.isEmpty else { return try features.copied() }
    var x = features
    for (index, layer) in layers.enumerated() {
      let output = try Matrix(rows: x.rows, columns: layer.weight.rows)
      try engine.linear(x, [layer.product(index + 1 < layers.count ? .gelu : .store, to: output)])
      x = output
    }
    return x
  }
}

/// SmolVLM's connector: each square of `scale`×`scale` positions becomes one, with the channels of all, row by row, which go through one
/// linear layer without bias.
package struct PixelShuffleProjector: Projector {
  package let config: ModelConfig
  package let width: Int
  private let linear: Linear  // [hidden, scale² · width]

  package var newline: Matrix? { nil }

  package static func computes(_ type: ProjectorType) -> Bool { if case .pixelShuffle = type { true } else { false } }

  package init(_ config: ModelConfig, width: Int, _ builder: LayerBuilder) throws(SlowFastError) {
    (self.config, self.width) = (config, width)
    let scale = config.projector.scale
    linear = try builder.unit { () throws(SlowFastError) in
      try builder.linear("model.mm_projector", config.hiddenSize, scale * scale * width, .projector, hasBias: false)
    }
  }

  package func products(positions: Int) -> Int { positions / (config.projector.scale * config.projector.scale) * linear.weightCount }

  package func project(_ features: Matrix, on engine: Engine) throws(ComputeError) -> Matrix {
    let (scale, width) = (config.projector.scale, features.columns)
    let side = Int(Double(features.rows).squareRoot())
    let squares = side / scale
    let shuffled = try Matrix(rows: squares * squares, columns: scale * scale * width)
    for row in 0..<squares * scale {
      for column in 0..<squares * scale {
        let target = shuffled.row(row / scale * squares + column / scale) + (row % scale * scale + column % scale) * width
        target.update(from: features.row(row * side + column), count: width)
      }
    }
    let output = try Matrix(rows: shuffled.rows, columns: config.hiddenSize)
    try engine.linear(shuffled, [linear.product(to: output)])
    return output
  }
}
