import Support

/// A model without its weights: its components, and all tensors that they need. Conversion and runtime go by it.
package struct TensorSchema: Sendable {
  /// The table of input embeddings, of which single rows are read.
  package static let embeddingName = "model.embed_tokens.weight"
  package static let headName = "lm_head.weight"

  package let tower: any VisionTower
  package let projector: any Projector
  package let decoder: any Decoder
  /// In the order of the model file.
  package let requirements: [TensorRequirement]
  /// In the order in which they compute.
  package let units: [ModelUnit]

  /// What a model of that config needs, whether it is there or not; `shapes` of the tensors there are (canonical names) tell the tower's
  /// measures and whether there is a head.
  package init(needed config: ModelConfig, shapes: TensorShapes) throws(ArchitectureError) {
    // Weights of hybrid layers in a config that names none: as a plain LLaVA the model would say something else.
    if config.hybrid == nil, shapes.names.contains(where: { $0.contains("cross_attn_kv_proj") }) {
      throw .configMissing(field: "cross_attn_every_n_layers")
    }
    let builders = [ModelComponent.tower, .projector, .decoder].map { LayerBuilder($0) }
    let tower = try ModelRegistry.tower(config, shapes, builders[0])
    if config.sequence == nil {
      let (side, pooling, spatial) = (tower.outputSide, config.poolingStride, config.fastTokens.spatialStride)
      guard pooling <= side else {
        throw .configValue(field: "mm_video_pooling_stride", found: "\(pooling)", expected: "at most the tower's side, \(side)")
      }
      guard spatial <= side / pooling else {
        throw .configValue(
          field: "fast_token_spatial_stride", found: "\(spatial)", expected: "at most the side of a frame's slow tokens, \(side / pooling)")
      }
    }
    projector = try ModelRegistry.projector(config, width: tower.outputWidth, builders[1])
    // Tied checkpoints have no head of their own, or one that is the embedding again.
    decoder = try ModelRegistry.decoder(config, ownsHead: !config.tiesWordEmbeddings || shapes[Self.headName] != nil, builders[2])
    self.tower = tower
    requirements = builders.flatMap(\.requirements)
    units = builders.flatMap(\.units)
  }

  /// For a config and the shapes of the tensors there are. Throws for missing tensors and for other shapes.
  package init(config: ModelConfig, shapes: TensorShapes) throws(ArchitectureError) {
    try self.init(needed: config, shapes: shapes)
    let missing = requirements.filter { shapes[$0.name] == nil }.map(\.name)
    guard missing.isEmpty else { throw .missingTensors(missing) }
    for requirement in requirements {
      let expected = shapes.areStored ? requirement.storedShape : requirement.shape
      let found = shapes[requirement.name] ?? []
      guard found == expected else { throw .wrongShape(tensor: requirement.name, expected: expected, found: found) }
    }
  }
}

extension TensorSchema {
  /// The tensor that the head's products are made with.
  package var headName: String { decoder.ownsHead ? Self.headName : Self.embeddingName }

  /// Names of the tensors that turn frames into tokens: not needed once a clip is encoded.
  package var visionNames: [String] { requirements.filter { $0.component != .decoder }.map(\.name) }

  /// Names of the tensors that turn tokens into text, the embedding table left out.
  package var decoderNames: [String] {
    requirements.filter { $0.component == .decoder && ($0.name != Self.embeddingName || $0.name == headName) }.map(\.name)
  }
}

/// Shapes of the tensors there are, under their canonical names.
package struct TensorShapes: Sendable {
  private let shapes: [String: [Int]]
  /// Of a model file, where convolutions are matrices; else of a checkpoint.
  package let areStored: Bool

  package init(_ shapes: [String: [Int]], areStored: Bool = false) {
    self.shapes = shapes
    self.areStored = areStored
  }

  package subscript(name: String) -> [Int]? { shapes[name] }
  package var names: some Collection<String> { shapes.keys }

  /// How many of the names that `name` gives, from 0 on, there are.
  package func count(upTo limit: Int, _ name: (Int) -> String) -> Int {
    (0..<limit).first { shapes[name($0)] == nil } ?? limit
  }

  /// The side of a square convolution `[outputs, inputs, side, side]`; nil where it is absent, or none.
  package func patchSide(_ name: String, inputs: Int, upTo limit: Int) -> Int? {
    guard let shape = shapes[name], shape.count == (areStored ? 2 : 4), shape[0] >= 1 else { return nil }
    return (1...limit).first { areStored ? $0 * $0 * inputs == shape[1] : shape[1...] == [inputs, $0, $0] }
  }
}
