import Kernels
import ModelFile
import Quantization

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
  func begin(_ plan: ConversionPlan, written: @escaping @Sendable (String) throws(ConversionError) -> LoadedTensor?)

  /// What to do with a tensor. Tensors come in the plan's order, but for those that an interrupted run has written already.
  func treatment(of tensor: ConversionPlan.Stored) throws(ConversionError) -> TensorTreatment
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
