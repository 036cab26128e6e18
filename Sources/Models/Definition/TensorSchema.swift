/// What a tensor is for: decides the type that it may be stored in.
package enum TensorRole: String, Sendable, CaseIterable {
  case embedding, head, attention, crossAttention, mlp, projector
  case towerLinear, towerDownsample, towerStem, towerDepthwise
  case norm, bias, layerScale, gate

  /// The part of the model for tables and options: `tower`, `projector`, `attention`, …
  package var part: String {
    switch self {
    case .towerLinear, .towerDownsample, .towerStem, .towerDepthwise: "tower"
    case .norm, .bias, .layerScale, .gate: "vectors"
    case .crossAttention: "cross"
    default: rawValue
    }
  }

  /// A matrix that is multiplied with many activations, and so may be quantized.
  package var isMatrix: Bool {
    switch self {
    case .embedding, .head, .attention, .crossAttention, .mlp, .projector, .towerLinear, .towerDownsample: true
    default: false
    }
  }
}

/// How a checkpoint's tensor is laid out in a model file and in memory.
package enum TensorLayout: Sendable, Equatable {
  case asStored
  /// A convolution `[out, in, height, width]` as the matrix `[out, height · width · in]` that channels-last patches are multiplied with.
  case patchMatrix
  /// A depthwise convolution `[channels, 1, height, width]` as `[height · width, channels]`.
  case depthwise
}

/// One tensor that the model cannot do without.
package struct TensorRequirement: Sendable, Equatable {
  /// As in the published checkpoints.
  package var name: String
  /// As in the published checkpoints.
  package var shape: [Int]
  package var role: TensorRole
  package var layout: TensorLayout

  /// The shape in a model file: what `layout` makes of `shape`.
  package var storedShape: [Int] {
    switch layout {
    case .asStored: shape
    case .patchMatrix: [shape[0], shape[1] * shape[2] * shape[3]]
    case .depthwise: [shape[2] * shape[3], shape[0]]
    }
  }
}

/// All tensors of a model: the one list that conversion and runtime go by.
package struct TensorSchema: Sendable {
  /// The table of input embeddings, of which single rows are read.
  package static let embeddingName = "model.embed_tokens.weight"

  package var tower: TowerShape
  /// In the order in which the model uses them.
  package var requirements: [TensorRequirement]

  /// What a model of that config needs, whether it is there or not; `shapes` of the tensors there are (canonical names) tell the tower's
  /// measures and whether there is a head.
  package init(needed config: ModelConfig, shapes: [String: [Int]]) throws(ArchitectureError) {
    // Weights of hybrid layers in a config that names none: as a plain LLaVA the model would say something else.
    if config.hybrid == nil, shapes.keys.contains(where: { $0.contains("cross_attn_kv_proj") }) {
      throw .configMissing(field: "cross_attn_every_n_layers")
    }
    tower = try TowerShape(shapes: shapes)
    var list = RequirementList()
    list.addTower(tower)
    list.addProjector(config, width: tower.outputWidth)
    list.addDecoder(config, hasHead: shapes["lm_head.weight"] != nil)
    requirements = list.requirements
  }

  /// For a config and the shapes of the tensors there are (canonical names). Throws for missing tensors and for other shapes.
  package init(config: ModelConfig, shapes: [String: [Int]]) throws(ArchitectureError) {
    try self.init(needed: config, shapes: shapes)
    let missing = requirements.filter { shapes[$0.name] == nil }.map(\.name)
    guard missing.isEmpty else { throw .missingTensors(missing) }
    for requirement in requirements {
      let found = shapes[requirement.name] ?? []
      guard found == requirement.shape else {
        throw .wrongShape(tensor: requirement.name, expected: requirement.shape, found: found)
      }
    }
  }

  /// The requirements of a model file, whose tensors have their stored shapes already.
  package init(config: ModelConfig, storedShapes: [String: [Int]]) throws(ArchitectureError) {
    // A patch matrix forgets its kernel's side; the stem's is found again from the three colours, the others are always 2 × 2.
    var shapes = storedShapes
    let stem = TowerShape.prefix + "stem.0.weight"
    if let stored = storedShapes[stem], stored.count == 2 {
      let side = (1...16).first { $0 * $0 * 3 == stored[1] } ?? 0
      shapes[stem] = [stored[0], 3, side, side]
    }
    for (name, shape) in storedShapes where name.hasPrefix(TowerShape.prefix) && shape.count == 2 {
      if name.hasSuffix("conv_dw.weight") {
        let side = (1...15).first { $0 * $0 == shape[0] } ?? 0
        shapes[name] = [shape[1], 1, side, side]
      } else if name.hasSuffix("downsample.1.weight") {
        shapes[name] = [shape[0], shape[1] / 4, 2, 2]
      }
    }
    try self.init(config: config, shapes: shapes)
  }
}

extension TensorSchema {
  /// The tensor that the head's products are made with.
  package var headName: String {
    requirements.contains { $0.role == .head } ? "lm_head.weight" : Self.embeddingName
  }

  /// Names of the tensors that turn frames into tokens: not needed once a clip is encoded.
  package var visionNames: [String] {
    requirements.map(\.name).filter { $0.hasPrefix(TowerShape.prefix) || $0.hasPrefix("model.mm_projector") }
  }

  /// Names of the tensors that turn tokens into text, the embedding table left out.
  package var decoderNames: [String] {
    let vision = Set(visionNames)
    return requirements.map(\.name).filter { !vision.contains($0) && ($0 != Self.embeddingName || $0 == headName) }
  }
}
