import Conversion
import Models
import Runtime
import Support
import Video

/// What a comparison measures, and how.
public struct ComparisonOptions: Sendable {
  /// Conversions of the checkpoint.
  public var variants: [ComparisonVariant] = []
  /// Model files of the same model.
  public var files: [String] = []
  /// Bits at which each part is quantized alone; nil leaves that out.
  public var partBits: Int? = 4
  /// What calibrated variants are calibrated on.
  public var calibration: CalibrationOptions?
  /// Frames of a clip; nil is the model's own number.
  public var frames: Int?
  /// Which frames of a clip.
  public var sampling = SamplingRule.uniform
  /// The most tokens of an answer that is told from the right one.
  public var maximumTokens = 64
  /// Which tokens read the slow tokens, in every model; nil: as the checkpoint says.
  public var slowAttention: SlowAttention?
  /// nil: as many as processors.
  public var threads: Int?
  /// Clips whose features are compared, the first ones.
  public var featureClips = 4

  /// No variant yet.
  public init() {}

  /// Throws `badOption` for what makes no sense whatever the files hold.
  public func validate() throws(SlowFastError) {
    var names: Set<String> = ["baseline"]
    for name in variants.map(\.name) + files where !names.insert(name).inserted {
      throw .badOption("variants", found: "\(name) twice", expected: "each variant once")
    }
    if calibration == nil, let variant = variants.first(where: \.isCalibrated) {
      throw .badOption("variants", found: variant.name, expected: .option("calibration"), " beside it")
    }
    if let partBits, !ConversionOptions.quantizedBitChoices.contains(partBits) {
      throw .badOption(
        "partBits", found: "\(partBits)",
        expected: .text((ConversionOptions.quantizedBitChoices.map(String.init) + ["none"]).alternatives))
    }
    guard !variants.isEmpty || !files.isEmpty || partBits != nil else {
      throw .badOption("variants", found: "nothing", expected: "a variant, a model file or ", .option("partBits"))
    }
    if case .rate(let rate) = sampling, !(rate.isFinite && rate > 0) {
      throw .badOption("sampling", found: "\(rate)", expected: "more than 0")
    }
    for (name, value, range) in [
      ("maximumTokens", maximumTokens, 1...GenerationOptions.tokenLimit), ("frames", frames ?? 1, 1...Limits.frames),
      ("threads", threads ?? 1, 1...1024),
    ] where !range.contains(value) {
      throw .badOption(name, found: "\(value)", expected: "\(range.lowerBound) to \(range.upperBound)")
    }
  }
}
