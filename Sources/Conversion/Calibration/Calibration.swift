import Compute
import Kernels
import ModelFile
import Models
import Parallel
import Quantization
import Support

/// How the inputs of a model's layers are looked at.
public struct CalibrationOptions: Sendable, Equatable {
  /// `eval.jsonl` files, videos, images, directories of images.
  public var paths: [String]
  /// The first clips of them; nil takes all.
  public var clipLimit: Int?
  /// Frames of a clip; nil: the model's own number.
  public var frames: Int?
  /// Scales of inputs are folded into the layer before, where that changes nothing else and makes the quantized outputs better.
  public var folds = true
  /// GPTQ: what is added to each input's mean square, in parts of their mean.
  public var damping: Float = 0.01
  /// GPTQ: inputs of much energy are rounded first.
  public var ordersByActivation = false
  /// Layers take their inputs from the quantized layers before them; else from the unquantized.
  public var followsQuantized = true

  /// Clips, or files of questions about clips.
  public init(paths: [String]) { self.paths = paths }

  /// Asked about clips without a question of their own.
  static let plainQuestion = "Describe the video."
  /// Frames that go through the tower block by block, and bytes that their maps may take.
  static let towerFrameLimit = 128
  static let towerMapBytes = 1 << 30
}

/// What calibration makes of one tensor on its way into the model file.
public struct TensorTreatment {
  /// Each column (each value of a vector) is multiplied with its own, so that what comes before or after may be divided by it.
  public var columnFactors: [Float]?
  /// Each row is multiplied with its own.
  public var rowFactors: [Float]?
  /// Mean squares of the inputs that the stored matrix will take, one a column.
  public var moments: [Float]?
  /// For GPTQ: of the inputs that the stored matrix will take.
  public var compensation: Compensation?

  /// What GPTQ compensates a matrix's rounding with.
  public struct Compensation {
    package var factor: HessianFactor
    package var kernels: FloatKernels

    package init(factor: HessianFactor, kernels: FloatKernels) {
      self.factor = factor
      self.kernels = kernels
    }
  }

  /// Nothing is done to the tensor.
  public init() {}
}

/// Looks at what the model's layers take as inputs, layer by layer, while the model is converted.
package protocol Calibration: AnyObject {
  /// What the inputs were taken from and how, for the model file's provenance: a JSON object.
  var record: CalibrationRecord { get }

  /// Comes first. `written` gives a tensor of the model file as it is there, once it is; nil before.
  func begin(_ plan: ConversionPlan, written: @escaping @Sendable (String) throws(SlowFastError) -> LoadedTensor?)

  /// What to do with a tensor. Tensors come in the plan's order, but for those that an interrupted run has written already.
  func treatment(of tensor: ConversionPlan.Stored) throws(SlowFastError) -> TensorTreatment
}

/// What a calibrated model file tells of its calibration.
public struct CalibrationRecord: Codable, Sendable, Equatable {
  /// Files that were named, without their directories.
  public var files: [String]
  /// XXH3-64 of them, in hexadecimal.
  public var fingerprint: String
  /// Clips that were seen.
  public var clips: Int
  /// Questions that were read.
  public var questions: Int
  /// Frames of a clip, at most.
  public var frames: Int
  /// Parts of the mean square that were added to each input's.
  public var damping: Float
  /// Whether GPTQ took the loudest inputs first.
  public var ordersByActivation: Bool
  /// Scales of inputs were folded into what comes before.
  public var folds: Bool
  /// Layers took their inputs from the quantized layers before them, not from the unquantized.
  public var followsQuantized: Bool

  /// A record of a calibration.
  public init(
    files: [String], fingerprint: String, clips: Int, questions: Int, frames: Int, damping: Float, ordersByActivation: Bool, folds: Bool,
    followsQuantized: Bool
  ) {
    self.files = files
    self.fingerprint = fingerprint
    self.clips = clips
    self.questions = questions
    self.frames = frames
    self.damping = damping
    self.ordersByActivation = ordersByActivation
    self.folds = folds
    self.followsQuantized = followsQuantized
  }
}

/// A checkpoint whose tensors give way, one after the other, to what the converter made of them.
final class CalibratedSource: WeightSource {
  let config: ModelConfig
  let schema: TensorSchema
  private let checkpoint: any WeightSource
  /// Tensors that are in the model file by now.
  private let written: @Sendable (String) throws(SlowFastError) -> LoadedTensor?

  init(_ checkpoint: any WeightSource, written: @escaping @Sendable (String) throws(SlowFastError) -> LoadedTensor?) {
    config = checkpoint.config
    schema = checkpoint.schema
    self.checkpoint = checkpoint
    self.written = written
  }

  let isQuantized = true
  func checkUnchanged() throws(SlowFastError) { try checkpoint.checkUnchanged() }
  func residentBytes(_ names: [String]) -> Int { checkpoint.residentBytes(names) }
  var embeddingBytes: Int { checkpoint.embeddingBytes }
  func makeEmbeddingTable() throws(SlowFastError) -> any EmbeddingTable { try checkpoint.makeEmbeddingTable() }
  func preload(_ names: [String], pool: ThreadPool, progress: @escaping @Sendable (Int, Int) -> Void) throws(SlowFastError) {}

  func matrix(_ name: String) throws(SlowFastError) -> WeightMatrix {
    if let weight = try written(name)?.weightMatrix { return weight }
    return try checkpoint.matrix(name)
  }

  func vector(_ name: String) throws(SlowFastError) -> Matrix {
    if let tensor = try written(name), let values = try classified({ () throws(ComputeError) in try tensor.floats() }) { return values }
    return try checkpoint.vector(name)
  }
}
