import Compute
import Support

/// ConvNeXt (CLIP's ConvNeXt-XXLarge in the published models) without norm and head.
package struct ConvNeXtTower: VisionTower {
  package let measures: Measures
  /// 4×4 patches, `[widths[0], 48]`.
  private let stem: Linear
  private let stemNorm: LayerNorm
  package let units: [any TowerUnit]
  package let stages: [Range<Int>]

  package init(_ measures: Measures, _ builder: LayerBuilder) throws(SlowFastError) {
    self.measures = measures
    var units: [any TowerUnit] = []
    var stages: [Range<Int>] = []
    (stem, stemNorm) = try builder.scope(Self.prefix) { () throws(SlowFastError) in
      let (widths, patch) = (measures.widths, measures.patch)
      let stem = try builder.patches("stem.0", widths[0], inputs: 3, side: patch, .towerStem)
      let stemNorm = try builder.layerNorm("stem.1", widths[0], epsilon: Self.epsilon)
      var side = measures.imageSize / patch
      for (stage, depth) in measures.depths.enumerated() {
        let first = units.count
        try builder.scope("stages.\(stage).") { () throws(SlowFastError) in
          if stage > 0 {
            units.append(try Downsample(side: side, from: widths[stage - 1], to: widths[stage], builder))
            side /= 2
          }
          for block in 0..<depth {
            let inner = measures.innerWidths[stage]
            units.append(
              try builder.scope("blocks.\(block).") { () throws(SlowFastError) in
                try Block(side: side, width: widths[stage], inner: inner, builder)
              })
          }
        }
        stages.append(first..<units.count)
      }
      return (stem, stemNorm)
    }
    self.units = units
    self.stages = stages
  }

  /// Of every LayerNorm; timm's ConvNeXt-XXLarge as CLIP trained it.
  private static let epsilon: Float = 1e-5

  package func embed(_ pixels: Matrix, in workspace: TowerWorkspace, on engine: Engine) throws(ComputeError) -> Matrix {
    let side = imageSize / measures.patch
    let patches = workspace.scratch.reshaped(rows: side * side, columns: stem.weight.columns)
    engine.gatherPatches(pixels, side: imageSize, patch: measures.patch, to: patches)
    let x = workspace.map.reshaped(rows: side * side, columns: widths[0])
    try engine.linear(patches, [stem.product(to: x)])
    engine.normalize(x, stemNorm.rows, to: x)
    return x
  }

  /// Half the side: a norm, then a convolution of 2×2.
  private struct Downsample: TowerUnit {
    let side: Int  // before
    let norm: LayerNorm
    let linear: Linear  // [width, 4 · previous width]

    init(side: Int, from previous: Int, to width: Int, _ builder: LayerBuilder) throws(SlowFastError) {
      self.side = side
      (norm, linear) = try builder.unit { () throws(SlowFastError) in
        (
          try builder.layerNorm("downsample.0", previous, epsilon: ConvNeXtTower.epsilon),
          try builder.patches("downsample.1", width, inputs: previous, side: 2, .towerDownsample)
        )
      }
    }

    var products: Int { (side / 2) * (side / 2) * linear.weightCount }

    /// `x` `[side², previous width]` → `[(side / 2)², width]`.
    func run(_ x: Matrix, in workspace: TowerWorkspace, on engine: Engine) throws(ComputeError) -> Matrix {
      engine.normalize(x, norm.rows, to: x)
      let half = side / 2
      let patches = workspace.scratch.reshaped(rows: half * half, columns: linear.weight.columns)
      engine.gatherPatches(x, side: side, patch: 2, to: patches)
      let output = workspace.map.reshaped(rows: half * half, columns: linear.weight.rows)
      try engine.linear(patches, [linear.product(to: output)])
      return output
    }
  }

  /// `x + γ · fc2(GELU(fc1(LayerNorm(dwconv7×7(x)))))`.
  private struct Block: TowerUnit {
    let side: Int
    let depthwise: (weights: Matrix, bias: Matrix)  // [49, width], [1, width]
    let norm: LayerNorm
    let fc1: Linear  // [inner, width]
    let fc2: Linear  // [width, inner]
    let layerScale: Matrix  // γ

    init(side: Int, width: Int, inner: Int, _ builder: LayerBuilder) throws(SlowFastError) {
      self.side = side
      (depthwise, norm, fc1, fc2, layerScale) = try builder.unit { () throws(SlowFastError) in
        let depthwise = try builder.depthwise("conv_dw", width, side: 7)
        let norm = try builder.layerNorm("norm", width, epsilon: ConvNeXtTower.epsilon)
        let fc1 = try builder.linear("mlp.fc1", inner, width, .towerLinear)
        let fc2 = try builder.linear("mlp.fc2", width, inner, .towerLinear)
        builder.fold(inputsOf: ["mlp.fc1"], into: ["norm.weight", "norm.bias"])
        return (depthwise, norm, fc1, fc2, try builder.vector("weight", width, .layerScale))
      }
    }

    var products: Int { side * side * (49 * fc1.weight.columns + fc1.weightCount + fc2.weightCount) }

    /// `x` `[side², width]`, in place.
    func run(_ x: Matrix, in workspace: TowerWorkspace, on engine: Engine) throws(ComputeError) -> Matrix {
      let y = workspace.scratch.reshaped(rows: x.rows, columns: x.columns)
      try engine.depthwise7x7(x, height: side, width: side, weights: depthwise.weights, bias: depthwise.bias, to: y)
      let (inner, outer) = (PerceptronInner.gelu(fc1.weight, bias: fc1.bias), fc2.product(.addTo(scale: layerScale), to: x))
      if let branches = workspace.branches {
        try branches.run(y, norm: norm.rows, inner, outer, products: x.rows * (fc1.weightCount + fc2.weightCount), on: engine)
      } else {
        try engine.perceptron(y, norm: norm.rows, inner, outer)
      }
      return x
    }
  }
}

// MARK: Measures

extension ConvNeXtTower {
  /// No config says them: they are read off the tensors.
  package struct Measures: Sendable {
    var imageSize: Int
    /// Side of the stem's square patch: 4.
    var patch: Int
    /// Blocks of each stage: 3, 4, 30, 3 in ConvNeXt-XXLarge.
    var depths: [Int] = []
    /// Channels of each stage: 384, 768, 1536, 3072.
    var widths: [Int] = []
    /// Inner width of each stage's blocks: 4 × the stage's width in all known towers.
    var innerWidths: [Int] = []
  }

  package static func measures(_ config: ModelConfig, _ shapes: TensorShapes) throws(ArchitectureError) -> Measures {
    let stem = prefix + "stem.0.weight"
    guard let patch = shapes.patchSide(stem, inputs: 3, upTo: 16) else {
      guard let found = shapes[stem] else { throw .missingTensors([stem]) }
      throw .towerShape(tensor: stem, found: found, expected: "[channels, 3, 4, 4]")
    }
    var measures = Measures(imageSize: config.imageSize, patch: patch)
    while measures.depths.count < 16 {
      let stage = measures.depths.count
      func fc1(_ block: Int) -> String { prefix + "stages.\(stage).blocks.\(block).mlp.fc1.weight" }
      guard let shape = shapes[fc1(0)] else { break }
      guard shape.count == 2, shape[0] >= 1, shape[1] >= 1 else {
        throw .towerShape(tensor: fc1(0), found: shape, expected: "[inner, channels]")
      }
      measures.depths.append(shapes.count(upTo: 1024) { fc1($0) })
      measures.widths.append(shape[1])
      measures.innerWidths.append(shape[0])
    }
    guard !measures.depths.isEmpty else { throw .missingTensors([prefix + "stages.0.blocks.0.mlp.fc1.weight"]) }
    return measures
  }

  /// CLIP's normalisation, as all published checkpoints have it.
  package static func settings(
    _ fields: ConfigFields, _ files: ConfigFiles, selectLayer: Int?
  ) throws(ArchitectureError) -> TowerSettings {
    TowerSettings(
      pixels: PixelConfig(
        size: try imageSize(fields), mean: PixelConfig.clipMean, std: PixelConfig.clipStd, fit: .crop, resampling: .bicubic))
  }

  /// `input_image_size`, or the number that the tower's name ends with (`convnext-576`).
  private static func imageSize(_ fields: ConfigFields) throws(ArchitectureError) -> Int {
    if let size = try fields.optionalInteger("input_image_size", in: 32...4096) { return size }
    let tower = try fields.string("mm_vision_tower")
    let digits = tower.reversed().prefix { $0.isASCII && $0.isNumber }
    guard let size = Int(String(digits.reversed())), (32...4096).contains(size) else {
      throw .configValue(field: "mm_vision_tower", found: tower, expected: "a name that ends with the input size, or input_image_size")
    }
    return size
  }

  package var imageSize: Int { measures.imageSize }
  package var depths: [Int] { measures.depths }
  package var widths: [Int] { measures.widths }
  package var outputWidth: Int { widths[widths.count - 1] }
  /// 18 for 576 pixels.
  package var outputSide: Int { (1..<depths.count).reduce(imageSize / measures.patch) { side, _ in side / 2 } }

  package var embeddingProducts: Int {
    let side = imageSize / measures.patch
    return side * side * stem.weightCount
  }

  package var mapFloats: Int { scratchFloats }
  package var scratchFloats: Int {
    var side = imageSize / measures.patch
    // The stem's patches.
    var floats = side * side * stem.weight.columns
    for (stage, width) in widths.enumerated() {
      if stage > 0 { side /= 2 }
      floats = max(floats, side * side * width)
    }
    return floats
  }

  package var branchValues: Int {
    var (side, values) = (imageSize / measures.patch, 0)
    for (stage, width) in widths.enumerated() {
      if stage > 0 { side /= 2 }
      values += depths[stage] * side * side * width
    }
    return values
  }

  package var scratch: ScratchMeasures {
    let widest = max(measures.innerWidths.max() ?? 0, 4 * (widths.dropLast().max() ?? 0))
    return ScratchMeasures(widestInput: widest, heads: 1, keyHeads: 1, headDimension: 1, mapWidth: imageSize / measures.patch)
  }
}

// MARK: Names

extension ConvNeXtTower {
  package static let prefix = "model.vision_tower.vision_tower."
  package static let example: String? = "a ConvNeXt tower such as convnext-576"
  package static func isNamed(_ name: String) -> Bool { name.lowercased().contains("convnext") }

  /// Loaders of the original rename these two wherever they stand, so the published layer scales are called `weight`; exports that went
  /// another way kept `gamma`.
  package static func canonical(_ name: String) -> String {
    if name.hasSuffix(".gamma") { return String(name.dropLast(5)) + "weight" }
    if name.hasSuffix(".beta") { return String(name.dropLast(4)) + "bias" }
    return name
  }

  package static func reasonUnused(_ name: String) -> String? { name.hasPrefix(prefix + "head.") ? "the tower's classifier" : nil }
}
