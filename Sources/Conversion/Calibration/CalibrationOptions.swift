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
