import Models

/// A part of the model that is calibrated at once: its inputs are seen before any of it is quantized.
enum CalibrationUnit: Hashable {
  case downsample(stage: Int)
  case block(stage: Int, index: Int)
  case projector
  case layer(Int)
  case head

  /// All of a model, in the order of the model file.
  static func all(_ schema: TensorSchema, _ config: ModelConfig) -> [CalibrationUnit] {
    var units: [CalibrationUnit] = []
    for (stage, depth) in schema.tower.depths.enumerated() {
      if stage > 0 { units.append(.downsample(stage: stage)) }
      for index in 0..<depth { units.append(.block(stage: stage, index: index)) }
    }
    if config.projector != .identity { units.append(.projector) }
    return units + (0..<config.layerCount).map { .layer($0) } + [.head]
  }

  /// What the names of its tensors begin with.
  var prefixes: [String] {
    switch self {
    case .downsample(let stage): [TowerShape.prefix + "stages.\(stage).downsample."]
    case .block(let stage, let index): [TowerShape.prefix + "stages.\(stage).blocks.\(index)."]
    case .projector: ["model.mm_projector"]
    case .layer(let index): ["model.layers.\(index)."]
    case .head: ["model.norm.", "lm_head."]
    }
  }

  var isTower: Bool {
    switch self {
    case .downsample, .block: true
    default: false
    }
  }
}
