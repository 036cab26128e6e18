import Compute
import Kernels
import Support

/// A vision transformer as a tower. SigLIP and CLIP say what they differ in.
package protocol VisionTransformerTower: VisionTower where Measures == VisionTransformer.Measures {
  static var style: VisionTransformer.Style { get }
  static var defaults: VisionDefaults { get }
  /// Why no other features than the patches' can be taken.
  static var whyPatches: String { get }
  var transformer: VisionTransformer { get }
  init(_ transformer: VisionTransformer)
}

/// Patches with learned positions through layers of full attention, to the output of the layer that the config names; most without a last
/// norm:
///
///     x = conv p×p (pixels) + position
///     x += out(softmax(q kᵀ / √d) v) of LayerNorm₁(x);  x += fc2(act(fc1(LayerNorm₂(x))))
package struct VisionTransformer: Sendable {
  /// What families differ in.
  package struct Style: Sendable {
    /// A learned token before the patches', left out of the output.
    package var hasClassToken: Bool
    /// A norm before the first layer, of this name.
    package var preNorm: String?
    /// A norm after the last layer, of this name; nil: its output is taken as it is.
    package var postNorm: String?
    package var patchesHaveBias: Bool
  }

  package struct Measures: Sendable {
    /// Pixels of a side.
    var imageSize: Int
    var vision: VisionConfig
    var patch: Int
    var width: Int
    var inner: Int
    var layers: Int
    /// Patches of a side.
    var side: Int { imageSize / patch }
  }

  let style: Style
  let measures: Measures
  private let patches: Linear  // [width, 3 · patch²]
  private let classToken: Matrix?  // [1, width]
  private let positions: Matrix  // [tokens, width]
  private let preNorm: LayerNorm?
  let units: [any TowerUnit]

  init(_ measures: Measures, _ style: Style, prefix: String, _ builder: LayerBuilder) throws(SlowFastError) {
    (self.measures, self.style) = (measures, style)
    let (width, epsilon) = (measures.width, measures.vision.epsilon)
    let tokens = measures.side * measures.side + (style.hasClassToken ? 1 : 0)
    (classToken, patches, positions, preNorm, units) = try builder.scope(prefix) { () throws(SlowFastError) in
      let classToken = style.hasClassToken ? try builder.vector("embeddings.class_embedding", width, .token) : nil
      let patches = try builder.patches(
        "embeddings.patch_embedding", width, inputs: 3, side: measures.patch, .towerStem, hasBias: style.patchesHaveBias)
      let positions = try builder.positions("embeddings.position_embedding.weight", tokens, width)
      let preNorm = try style.preNorm.map { name throws(SlowFastError) in try builder.layerNorm(name, width, epsilon: epsilon) }
      var units: [any TowerUnit] = []
      for index in 0..<measures.layers {
        let isLast = index == measures.layers - 1
        units.append(
          try builder.unit { () throws(SlowFastError) in
            var layer = try builder.scope("encoder.layers.\(index).") { () throws(SlowFastError) in
              try Layer(measures, tokens: tokens, dropsFirst: style.hasClassToken && isLast, builder)
            }
            if isLast, let name = style.postNorm { layer.postNorm = try builder.layerNorm(name, width, epsilon: epsilon) }
            return layer
          })
      }
      return (classToken, patches, positions, preNorm, units)
    }
  }

  /// `pixels` `[size², 3]` → `[tokens, width]`.
  func embed(_ pixels: Matrix, in workspace: TowerWorkspace, on engine: Engine) throws(ComputeError) -> Matrix {
    let (count, width) = (measures.side * measures.side, measures.width)
    let first = classToken == nil ? 0 : 1
    let inputs = workspace.scratch.reshaped(rows: count, columns: patches.weight.columns)
    engine.gatherPatches(pixels, side: measures.imageSize, patch: measures.patch, to: inputs)
    let x = workspace.map.reshaped(rows: first + count, columns: width)
    try engine.linear(inputs, [patches.product(to: x[rows: first..<first + count])])
    if let classToken { x[rows: 0..<1].copy(from: classToken) }
    for row in 0..<x.rows { engine.kernels.float.addMultiple(1, positions.row(row), width, x.row(row)) }
    if let preNorm { engine.normalize(x, preNorm.rows, to: x) }
    return x
  }

  private struct Layer: TowerUnit {
    let measures: Measures
    let tokens: Int
    /// The class token is not handed on.
    let dropsFirst: Bool
    let norm1: LayerNorm
    let query: Linear  // [width, width]
    let key: Linear
    let value: Linear
    let output: Linear
    let norm2: LayerNorm
    let fc1: Linear  // [inner, width]
    let fc2: Linear  // [width, inner]
    /// After the last layer.
    var postNorm: LayerNorm?

    init(_ measures: Measures, tokens: Int, dropsFirst: Bool, _ builder: LayerBuilder) throws(SlowFastError) {
      (self.measures, self.tokens, self.dropsFirst) = (measures, tokens, dropsFirst)
      let (width, inner, epsilon) = (measures.width, measures.inner, measures.vision.epsilon)
      norm1 = try builder.layerNorm("layer_norm1", width, epsilon: epsilon)
      query = try builder.linear("self_attn.q_proj", width, width, .towerLinear, input: "self_attn")
      key = try builder.linear("self_attn.k_proj", width, width, .towerLinear, input: "self_attn")
      value = try builder.linear("self_attn.v_proj", width, width, .towerLinear, input: "self_attn")
      output = try builder.linear("self_attn.out_proj", width, width, .towerLinear)
      norm2 = try builder.layerNorm("layer_norm2", width, epsilon: epsilon)
      fc1 = try builder.linear("mlp.fc1", inner, width, .towerLinear)
      fc2 = try builder.linear("mlp.fc2", width, inner, .towerLinear)
      builder.fold(inputsOf: ["self_attn.q_proj"], into: ["layer_norm1.weight", "layer_norm1.bias"])
      builder.fold(inputsOf: ["mlp.fc1"], into: ["layer_norm2.weight", "layer_norm2.bias"])
    }

    var products: Int {
      tokens * (query.weightCount + key.weightCount + value.weightCount + output.weightCount + fc1.weightCount + fc2.weightCount)
        + 2 * tokens * tokens * measures.width
    }

    private var activation: Activation {
      switch measures.vision.activation {
      case .gelu: .gelu
      case .geluTanh: .geluTanh
      case .quickGelu: .quickGelu
      }
    }

    /// `x` `[tokens, width]`, in place; without its first row where that is the class token and this the last layer.
    func run(_ x: Matrix, in workspace: TowerWorkspace, on engine: Engine) throws(ComputeError) -> Matrix {
      let width = x.columns
      func part(_ index: Int) -> Matrix {
        let all = workspace.scratch.reshaped(rows: 3 * x.rows, columns: width)
        return all[rows: index * x.rows..<(index + 1) * x.rows]
      }
      let (q, k, v) = (part(0), part(1), part(2))
      try engine.linear(x, norm: norm1.rows, [query.product(to: q), key.product(to: k), value.product(to: v)])
      // No more exact than the products that its operands are from.
      let asCodes = [query, key, value].allSatisfy(\.weight.takesCodes)
      try engine.attention(q, heads: measures.vision.headCount, keys: k, values: v, asCodes: asCodes, to: q)
      try engine.linear(q, [output.product(.addTo(scale: nil), to: x)])
      try engine.perceptron(
        x, norm: norm2.rows, .activated(fc1.weight, bias: fc1.bias, by: activation), fc2.product(.addTo(scale: nil), to: x))
      if let postNorm { engine.normalize(x, postNorm.rows, to: x) }
      return dropsFirst ? x[rows: 1..<x.rows] : x
    }
  }
}

extension VisionTransformerTower {
  package init(_ measures: Measures, _ builder: LayerBuilder) throws(SlowFastError) {
    self.init(try VisionTransformer(measures, Self.style, prefix: Self.prefix, builder))
  }

  package static func settings(
    _ fields: ConfigFields, _ files: ConfigFiles, selectLayer: Int?
  ) throws(ArchitectureError) -> TowerSettings {
    if let vision = files.vision { return try TowerSettings(json: vision) }
    let feature = try fields.optionalString("mm_vision_select_feature") ?? "patch"
    guard feature == "patch" else {
      throw .configValue(field: "mm_vision_select_feature", found: feature, expected: "patch: \(whyPatches)")
    }
    guard let selectLayer else { throw .configMissing(field: "mm_vision_select_layer") }
    return try TowerSettings(defaults, name: try fields.string("mm_vision_tower"), files: files, selectLayer: selectLayer)
  }

  package static var prefix: String { "model.vision_tower.vision_tower.vision_model." }

  package static func reasonUnused(_ name: String) -> String? {
    let rest = name.dropFirst(prefix.count)
    if rest.hasPrefix("post_layernorm.") || rest.hasPrefix("head.") { return "what follows the layer whose output is taken" }
    // Those of the layers that run are asked for; what no layer has is not known.
    let parts = rest.split(separator: ".")
    guard rest.hasPrefix("encoder.layers."), parts.count > 4, ["weight", "bias"].contains(parts[parts.count - 1]),
      layerParts.contains(parts[3..<parts.count - 1].joined(separator: "."))
    else { return nil }
    return "a layer after the one whose output is taken"
  }

  private static var layerParts: Set<String> {
    [
      "layer_norm1", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "layer_norm2", "mlp.fc1", "mlp.fc2",
    ]
  }

  package static func measures(_ config: ModelConfig, _ shapes: TensorShapes) throws(ArchitectureError) -> Measures {
    guard let vision = config.vision else { throw .configMissing(field: "mm_vision_tower") }
    let stem = prefix + "embeddings.patch_embedding.weight"
    let positions = prefix + "embeddings.position_embedding.weight"
    let fc1 = prefix + "encoder.layers.0.mlp.fc1.weight"
    guard let patch = shapes.patchSide(stem, inputs: 3, upTo: 64), let shape = shapes[stem] else {
      guard let found = shapes[stem] else { throw .missingTensors([stem]) }
      throw .towerShape(tensor: stem, found: found, expected: "[width, 3, patch, patch]")
    }
    let width = shape[0]
    guard let perceptron = shapes[fc1] else { throw .missingTensors([fc1]) }
    guard perceptron.count == 2, perceptron[0] >= 1, perceptron[1] == width else {
      throw .towerShape(tensor: fc1, found: perceptron, expected: "[inner, \(width)]")
    }
    guard width % vision.headCount == 0 else {
      throw .towerShape(tensor: stem, found: shape, expected: "a multiple of \(vision.headCount) heads")
    }
    let stored = shapes.count(upTo: 1024) { prefix + "encoder.layers.\($0).mlp.fc1.weight" }
    let measures = Measures(
      imageSize: config.imageSize, vision: vision, patch: patch, width: width, inner: perceptron[0], layers: vision.layerCount ?? stored)
    let tokens = measures.side * measures.side + (style.hasClassToken ? 1 : 0)
    guard let found = shapes[positions] else { throw .missingTensors([positions]) }
    guard found == [tokens, width] else {
      throw .towerShape(
        tensor: positions, found: found,
        expected: "[\(tokens), \(width)] for \(config.imageSize) pixels in patches of \(patch)")
    }
    return measures
  }

  package var measures: Measures { transformer.measures }
  package var imageSize: Int { measures.imageSize }
  package var outputSide: Int { measures.side }
  package var outputWidth: Int { measures.width }
  package var depths: [Int] { [measures.layers] }
  package var widths: [Int] { [measures.width] }
  package var units: [any TowerUnit] { transformer.units }
  package var embeddingProducts: Int { measures.side * measures.side * measures.width * 3 * measures.patch * measures.patch }

  private var tokens: Int { measures.side * measures.side + (Self.style.hasClassToken ? 1 : 0) }
  package var mapFloats: Int { tokens * measures.width }
  package var scratchFloats: Int { max(3 * tokens * measures.width, measures.side * measures.side * 3 * measures.patch * measures.patch) }
  package var scratch: ScratchMeasures {
    let heads = measures.vision.headCount
    return ScratchMeasures(
      widestInput: max(measures.inner, measures.width, 3 * measures.patch * measures.patch), heads: heads, keyHeads: heads,
      headDimension: measures.width / heads, mapWidth: 0, encoderTokens: tokens)
  }

  package func embed(_ pixels: Matrix, in workspace: TowerWorkspace, on engine: Engine) throws(ComputeError) -> Matrix {
    try transformer.embed(pixels, in: workspace, on: engine)
  }
}
