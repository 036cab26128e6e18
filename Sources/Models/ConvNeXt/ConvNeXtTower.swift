import Compute
import Support

/// ConvNeXt (CLIP's ConvNeXt-XXLarge in the published models) without norm and head: pixels to a map of features.
package struct VisionTower: Sendable {
  /// `model.vision_tower.vision_tower.stem.0`: 4×4 patches, `[widths[0], 48]`.
  package let stem: Linear
  package let stemNorm: LayerNorm  // stem.1
  package let stages: [Stage]
  package let shape: TowerShape
  package let imageSize: Int

  package struct Stage: Sendable {
    /// Absent in the first stage.
    package let downsample: Downsample?
    package let blocks: [Block]
  }

  /// Half the side: a norm, then a convolution of 2×2.
  package struct Downsample: Sendable {
    package let norm: LayerNorm  // downsample.0
    package let linear: Linear  // downsample.1, [width, 4 · previous width]

    package init(_ source: any WeightSource, _ name: String) throws(SlowFastError) {
      norm = try LayerNorm(source, name + "0")
      linear = try Linear(source, name + "1", hasBias: true)
    }
  }

  /// `x + γ · fc2(GELU(fc1(LayerNorm(dwconv7×7(x)))))`.
  package struct Block: Sendable {
    package let depthwise: Matrix  // conv_dw.weight, [49, width]
    package let depthwiseBias: Matrix  // conv_dw.bias
    package let norm: LayerNorm
    package let fc1: Linear  // mlp.fc1, [inner, width]
    package let fc2: Linear  // mlp.fc2, [width, inner]
    package let layerScale: Matrix  // γ: weight, in other exports gamma

    package init(_ source: any WeightSource, _ name: String) throws(SlowFastError) {
      depthwise = try source.vector(name + "conv_dw.weight")
      depthwiseBias = try source.vector(name + "conv_dw.bias")
      norm = try LayerNorm(source, name + "norm")
      fc1 = try Linear(source, name + "mlp.fc1", hasBias: true)
      fc2 = try Linear(source, name + "mlp.fc2", hasBias: true)
      layerScale = try source.vector(name + "weight")
    }
  }

  package init(_ source: any WeightSource) throws(SlowFastError) {
    let prefix = TowerShape.prefix
    shape = source.schema.tower
    imageSize = source.config.imageSize
    stem = try Linear(source, prefix + "stem.0", hasBias: true)
    stemNorm = try LayerNorm(source, prefix + "stem.1")
    var stages: [Stage] = []
    for (index, depth) in shape.depths.enumerated() {
      let name = prefix + "stages.\(index)."
      var blocks: [Block] = []
      for block in 0..<depth { blocks.append(try Block(source, name + "blocks.\(block).")) }
      stages.append(
        Stage(
          downsample: index == 0 ? nil : try Downsample(source, name + "downsample."), blocks: blocks))
    }
    self.stages = stages
  }

  /// Side of the output map: 18 for 576 pixels.
  package var outputSide: Int { Self.outputSide(imageSize: imageSize, shape: shape) }

  package static func outputSide(imageSize: Int, shape: TowerShape) -> Int {
    (1..<shape.depths.count).reduce(imageSize / shape.patch) { side, _ in side / 2 }
  }

  /// Memory for one frame on its way through the tower; reused from frame to frame.
  package struct Workspace {
    /// `[positions · width]` of the largest stage, the first: 144 · 144 · 384 floats.
    package let map: Matrix
    package let scratch: Matrix
  }

  /// Floats of each of the workspace's two matrices.
  package static func workspaceFloats(imageSize: Int, shape: TowerShape) -> Int {
    var side = imageSize / shape.patch
    // The stem's patches.
    var floats = side * side * 3 * shape.patch * shape.patch
    for (stage, width) in shape.widths.enumerated() {
      if stage > 0 { side /= 2 }
      floats = max(floats, side * side * width)
    }
    return floats
  }

  package func makeWorkspace() throws(SlowFastError) -> Workspace {
    let floats = Self.workspaceFloats(imageSize: imageSize, shape: shape)
    return try classified { () throws(ComputeError) in
      Workspace(map: try Matrix(rows: 1, columns: floats), scratch: try Matrix(rows: 1, columns: floats))
    }
  }

  /// One frame. `pixels` `[imageSize · imageSize, 3]`, normalised → `[outputSide², outputWidth]`, in the workspace's memory.
  /// `isCancelled` is asked between blocks; nil when it said yes. `afterStage` hears of each stage's end, the stem's being the first's.
  package func encode(
    _ pixels: Matrix, in workspace: Workspace, on engine: Engine, isCancelled: () -> Bool, afterStage: (Int) -> Void = { _ in }
  ) throws(ComputeError) -> Matrix? {
    var side = imageSize / shape.patch
    var x = try embed(pixels, in: workspace, on: engine)
    for (index, stage) in stages.enumerated() {
      if let downsample = stage.downsample {
        x = try downsample.run(x, side: side, in: workspace, on: engine)
        side /= 2
      }
      for block in stage.blocks {
        if isCancelled() { return nil }
        try block.run(x, side: side, in: workspace, on: engine)
      }
      afterStage(index)
    }
    return x
  }
}

extension VisionTower {
  /// The stem: `pixels` `[imageSize², 3]` → `[(imageSize / patch)², widths[0]]`, in the workspace's memory.
  package func embed(_ pixels: Matrix, in workspace: Workspace, on engine: Engine) throws(ComputeError) -> Matrix {
    let side = imageSize / shape.patch
    let patches = workspace.scratch.reshaped(rows: side * side, columns: 3 * shape.patch * shape.patch)
    engine.gatherPatches(pixels, side: imageSize, patch: shape.patch, to: patches)
    let x = workspace.map.reshaped(rows: side * side, columns: shape.widths[0])
    try engine.linear(patches, [stem.product(to: x)])
    engine.normalize(x, stemNorm.rows, to: x)
    return x
  }
}

extension VisionTower.Downsample {
  /// `x` `[side², previous width]`, which is lost → `[(side / 2)², width]`, in the workspace's memory.
  package func run(_ x: Matrix, side: Int, in workspace: VisionTower.Workspace, on engine: Engine) throws(ComputeError) -> Matrix {
    engine.normalize(x, norm.rows, to: x)
    let half = side / 2
    let patches = workspace.scratch.reshaped(rows: half * half, columns: 4 * x.columns)
    engine.gatherPatches(x, side: side, patch: 2, to: patches)
    let output = workspace.map.reshaped(rows: half * half, columns: linear.weight.rows)
    try engine.linear(patches, [linear.product(to: output)])
    return output
  }
}

extension VisionTower.Block {
  /// `x` `[side², width]`, in place.
  package func run(_ x: Matrix, side: Int, in workspace: VisionTower.Workspace, on engine: Engine) throws(ComputeError) {
    let y = workspace.scratch.reshaped(rows: x.rows, columns: x.columns)
    try engine.depthwise7x7(x, height: side, width: side, weights: depthwise, bias: depthwiseBias, to: y)
    try engine.perceptron(y, norm: norm.rows, .gelu(fc1.weight, bias: fc1.bias), fc2.product(.addTo(scale: layerScale), to: x))
  }
}
