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
    let scale = config.projector.scale
    guard tower.outputSide % scale == 0 else {
      throw .configValue(field: "scale_factor", found: "\(scale)", expected: "a divisor of the tower's side, \(tower.outputSide)")
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

/// What a tensor is for: decides the type that it may be stored in.
package enum TensorRole: String, Sendable, CaseIterable {
  case embedding, head, attention, crossAttention, mlp, projector
  case towerLinear, towerDownsample, towerStem, towerDepthwise
  case norm, bias, layerScale, gate
  /// A learned token, and a table of what is added to each position.
  case token, positions

  /// The part of the model for tables and options: `tower`, `projector`, `attention`, …
  package var part: String {
    switch self {
    case .towerLinear, .towerDownsample, .towerStem, .towerDepthwise: "tower"
    case .norm, .bias, .layerScale, .gate, .token, .positions: "vectors"
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

/// The components of a model, in the order in which they compute. The decoder's weights are not in memory while clips are encoded, the
/// others' not while an answer is made.
package enum ModelComponent: Sendable { case tower, projector, decoder }

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
  package var component: ModelComponent

  /// The shape in a model file: what `layout` makes of `shape`.
  package var storedShape: [Int] {
    switch layout {
    case .asStored: shape
    case .patchMatrix: [shape[0], shape[1] * shape[2] * shape[3]]
    case .depthwise: [shape[2] * shape[3], shape[0]]
    }
  }
}

extension TensorRequirement {
  /// Calls `body` with each index of the stored layout, in order, and the index of that value in the checkpoint's.
  package func forEachStoredIndex(_ body: (_ stored: Int, _ source: Int) -> Void) {
    let count = shape.reduce(1, *)
    switch layout {
    case .asStored:
      for index in 0..<count { body(index, index) }
    case .patchMatrix:
      let (outputs, inputs, area) = (shape[0], shape[1], shape[2] * shape[3])
      var stored = 0
      for output in 0..<outputs {
        for position in 0..<area {
          for input in 0..<inputs {
            body(stored, (output * inputs + input) * area + position)
            stored += 1
          }
        }
      }
    case .depthwise:
      let (channels, area) = (shape[0], shape[2] * shape[3])
      var stored = 0
      for position in 0..<area {
        for channel in 0..<channels {
          body(stored, channel * area + position)
          stored += 1
        }
      }
    }
  }
}

/// A checkpoint's tensors under the names that they have in the published checkpoints.
package struct CanonicalNames<Record: Sendable>: Sendable {
  /// By canonical name. Where two tensors get the same one, that which needed no renaming, else the first by name.
  package let tensors: [String: Record]
  /// Names of the checkpoint that are the same tensor: canonical name, the one taken, the one left.
  package let collisions: [(name: String, taken: String, left: String)]
  /// A tensor that belongs to an adapter that was not merged.
  package let adapter: String?

  /// `records` by the names that they have in the checkpoint.
  package init(_ records: [String: Record]) {
    var tensors: [String: Record] = [:]
    var taken: [String: String] = [:]
    var collisions: [(String, String, String)] = []
    let renamed = records.keys.map { (name: $0, canonical: CanonicalName.canonical($0)) }
    for (name, canonical) in renamed.sorted(by: { ($0.name != $0.canonical ? 1 : 0, $0.name) < ($1.name != $1.canonical ? 1 : 0, $1.name) })
    {
      if let first = taken[canonical] {
        collisions.append((canonical, first, name))
      } else {
        tensors[canonical] = records[name]
        taken[canonical] = name
      }
    }
    self.tensors = tensors
    self.collisions = collisions
    adapter = records.keys.filter(CanonicalName.isAdapter).min()
  }
}

/// A tensor's name as the published checkpoints have it, made from the names that other tools write.
package enum CanonicalName {
  /// What training tools put before, and some between, the parts of a name.
  private static let wrappers = ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."]
  private static let prefixes = ["module.", "base_model.model."]
  /// Marks of an adapter that was not merged into the weights.
  private static let adapterMarks = [
    ".lora_A.", ".lora_B.", ".lora_embedding_A.", ".lora_embedding_B.", ".lora_magnitude_vector.", ".base_layer.", ".modules_to_save.",
  ]

  /// Of a tower, by its published name.
  package static func isTower(_ name: String) -> Bool { tower(of: name) != nil }

  /// The family of towers that has tensors of that name: that of the longest prefix, where one's begins another's.
  private static func tower(of name: String) -> (any VisionTower.Type)? {
    ModelRegistry.towers.filter { name.hasPrefix($0.prefix) }.max { $0.prefix.utf8.count < $1.prefix.utf8.count }
  }

  package static func isAdapter(_ name: String) -> Bool { adapterMarks.contains { ("." + name + ".").contains($0) } }

  package static func canonical(_ name: String) -> String {
    var name = name
    for wrapper in wrappers { name = name.replacing(wrapper, with: "") }
    while let prefix = prefixes.first(where: { name.hasPrefix($0) }) { name.removeFirst(prefix.count) }
    if let known = ModelRegistry.families.lazy.map({ $0.canonical(name) }).first(where: { $0 != name }) { name = known }
    // In a directory of its own, or a whole CLIP's or SigLIP's.
    if name.hasPrefix("vision_model.") { name = "model.vision_tower.vision_tower." + name }
    return tower(of: name)?.canonical(name) ?? name
  }

  /// Why the model does not use a tensor of that (canonical) name; nil if nothing of the kind is known.
  package static func reasonUnused(_ name: String) -> String? {
    if let reason = tower(of: name)?.reasonUnused(name) { return reason }
    if name.hasSuffix(".rotary_emb.inv_freq") { return "computed from rope_theta" }
    if name.hasSuffix(".position_ids") { return "computed" }
    if name.hasSuffix(".num_batches_tracked") { return "a counter of training" }
    if name == PerceptronProjector.newlineName { return "ends lines of visual tokens, which this model does not mark" }
    return nil
  }
}
