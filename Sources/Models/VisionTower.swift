import Compute
import Support

/// A vision tower: pixels to a map of features. A family of towers is a file with a type of this kind, and a line in `ModelRegistry`.
package protocol VisionTower: Sendable {
  /// What has to be known before a tower can be made.
  associatedtype Measures: Sendable

  /// What a config may name, in words: `a ConvNeXt tower such as convnext-576`; nil: a family's own, which its configs need not name.
  static var example: String? { get }
  /// Whether a config's name for its tower means this family.
  static func isNamed(_ name: String) -> Bool
  /// What the names of its tensors begin with.
  static var prefix: String { get }
  /// The published name of a tensor that other tools call otherwise.
  static func canonical(_ name: String) -> String
  /// Why a tensor with the prefix is not used; nil if it is not known.
  static func reasonUnused(_ name: String) -> String?
  /// What a config says of the tower; `selectLayer`: whose output is taken.
  static func settings(_ fields: ConfigFields, _ files: ConfigFiles, selectLayer: Int?) throws(ArchitectureError) -> TowerSettings
  /// What the config and the tensors there are say.
  static func measures(_ config: ModelConfig, _ shapes: TensorShapes) throws(ArchitectureError) -> Measures

  /// All tensors are asked of `builder`, in the order of the model file; what runs block by block in its units.
  init(_ measures: Measures, _ builder: LayerBuilder) throws(SlowFastError)

  var measures: Measures { get }
  /// Pixels of a side of its square input.
  var imageSize: Int { get }
  /// Side of the output map.
  var outputSide: Int { get }
  var outputWidth: Int { get }
  /// Blocks, and channels, of each stage.
  var depths: [Int] { get }
  var widths: [Int] { get }

  /// Multiply-adds of `embed`.
  var embeddingProducts: Int { get }
  /// What runs after `embed`, in order: the builder's units.
  var units: [any TowerUnit] { get }
  /// Of `units`, those of each stage.
  var stages: [Range<Int>] { get }

  /// Floats of the workspace's two matrices: the largest map, and what is beside it.
  var mapFloats: Int { get }
  var scratchFloats: Int { get }
  var scratch: ScratchMeasures { get }
  /// Values that its branches make of a frame, where these can be remembered for the next one; else 0.
  var branchValues: Int { get }

  /// `pixels` `[imageSize², 3]`, normalised → what the first unit takes, in the workspace's memory.
  func embed(_ pixels: Matrix, in workspace: TowerWorkspace, on engine: Engine) throws(ComputeError) -> Matrix
}

/// A part of a tower that computes at once.
package protocol TowerUnit: Sendable {
  /// Multiply-adds for a frame.
  var products: Int { get }
  /// `x` is in the workspace's memory and may be lost; so is the result.
  func run(_ x: Matrix, in workspace: TowerWorkspace, on engine: Engine) throws(ComputeError) -> Matrix
}

/// Memory for one frame on its way through the tower; reused from frame to frame.
package struct TowerWorkspace {
  package let map: Matrix
  package let scratch: Matrix
  /// What branches are remembered for the next frame; nil: none.
  package var branches: TowerBranches?
}

/// What the branches of a tower made of earlier frames, and how much of them had to be computed.
package final class TowerBranches {
  package let threshold: Float
  /// Of the branches in the order in which they run; made when they first do.
  private var memories: [BranchMemory] = []
  private var next = 0
  /// Floats for any of them.
  private let spare: Matrix
  fileprivate var stage = 0
  /// By stage, of the frames that were encoded with this: multiply-adds of all branches, and of those that were computed.
  package private(set) var products: [Double] = []
  package private(set) var computedProducts: [Double] = []

  package init(_ tower: any VisionTower, threshold: Float) throws(SlowFastError) {
    self.threshold = threshold
    spare = try classified { () throws(ComputeError) in try Matrix(rows: 1, columns: tower.mapFloats) }
  }

  /// Bytes of what a tower's branches take.
  package static func byteCount(_ tower: any VisionTower, threshold: Float) -> Int {
    tower.branchValues * BranchMemory.bytesPerValue(threshold: threshold) + tower.mapFloats * MemoryLayout<Float>.stride
  }

  /// The next frame is like none before.
  package func forget() { for memory in memories { memory.forget() } }

  package func startCounting() { (products, computedProducts) = ([], []) }

  fileprivate func begin() { next = 0 }

  /// A branch of the running frame, whose perceptron is of `products` multiply-adds: see `Engine.perceptron(_:norm:_:_:remembered:spare:)`.
  func run(
    _ input: Matrix, norm: RowNorm, _ inner: PerceptronInner, _ outer: LinearProduct, products count: Int, on engine: Engine
  ) throws(ComputeError) {
    if next == memories.count { memories.append(try BranchMemory(rows: input.rows, columns: input.columns, threshold: threshold)) }
    let memory = memories[next]
    next += 1
    let computed = try engine.perceptron(
      input, norm: norm, inner, outer, remembered: memory, spare: spare.reshaped(rows: input.rows, columns: input.columns))
    while products.count <= stage {
      products.append(0)
      computedProducts.append(0)
    }
    products[stage] += Double(count)
    computedProducts[stage] += Double(count) * Double(computed) / Double(input.rows)
  }
}

extension VisionTower {
  package static func canonical(_ name: String) -> String { name }
  package static func reasonUnused(_ name: String) -> String? { nil }
  package var stages: [Range<Int>] { [0..<units.count] }
  package var branchValues: Int { 0 }

  /// The tower with weights; with `unit` those of that unit alone.
  package func loaded(_ builder: LayerBuilder) throws(SlowFastError) -> Self { try Self(measures, builder) }

  package func makeWorkspace() throws(SlowFastError) -> TowerWorkspace {
    try classified { () throws(ComputeError) in
      TowerWorkspace(map: try Matrix(rows: 1, columns: mapFloats), scratch: try Matrix(rows: 1, columns: scratchFloats))
    }
  }

  /// One frame. `pixels` `[imageSize², 3]`, normalised → `[outputSide², outputWidth]`, in the workspace's memory.
  /// `isCancelled` is asked before each unit; nil when it said yes. `afterStage` hears of each stage's end, `embed` being the first's.
  package func encode(
    _ pixels: Matrix, in workspace: TowerWorkspace, on engine: Engine, isCancelled: () -> Bool, afterStage: (Int) -> Void = { _ in }
  ) throws(ComputeError) -> Matrix? {
    workspace.branches?.begin()
    var x = try embed(pixels, in: workspace, on: engine)
    let units = units
    for (stage, range) in stages.enumerated() {
      workspace.branches?.stage = stage
      for unit in units[range] {
        if isCancelled() { return nil }
        x = try unit.run(x, in: workspace, on: engine)
      }
      afterStage(stage)
    }
    return x
  }

  /// Multiply-adds of a frame, stage by stage; `embed` counts to the first.
  package var stageProducts: [Int] {
    var products = stages.map { units[$0].reduce(0) { $0 + $1.products } }
    products[0] += embeddingProducts
    return products
  }
}
