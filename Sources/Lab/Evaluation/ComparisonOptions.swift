import Conversion
import Models
import Quantization
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

/// A way to store the checkpoint, as `--variants` names it: `BITS[a][:OPTION]…`.
///
///     4                    as convert --bits 4
///     4a                   with a minimum for each group
///     4:tower=8            a keep rule: a part or a pattern, and its bits
///     4:group=64           inputs that share a scale
///     4:method=rtn         how codes and scales are chosen: rtn, search or gptq, which is calibrated
///     4:calibrated         the inputs that calibration saw count
///     4:target=4.5         bits and groups as convert --target-bits chooses them
///     8:input=float        the inputs of quantized weights stay floats: the error of the weights alone
public struct ComparisonVariant: Sendable, Equatable {
  /// As it was written.
  public var name: String
  /// How it is converted.
  public var conversion: ConversionOptions
  /// Beside quantized weights, inputs are not rounded to int8.
  public var hasFloatInputs = false
  /// Made with `ComparisonOptions.calibration`.
  public var isCalibrated = false
  /// Bits a weight that the whole model may take.
  public var target: SizeTarget?

  static let form = "BITS[a][:OPTION]…, as in 8, 4a, 4:tower=8, 4:group=64, 4:target=4.5, 4:input=float"

  /// Reads variants with commas between.
  public static func list(parsing text: String) throws(SlowFastError) -> [ComparisonVariant] {
    var variants: [ComparisonVariant] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      variants.append(try ComparisonVariant(parsing: String(part)))
    }
    return variants
  }

  /// As written for the command: `BITS[a][:OPTION]…`.
  public init(parsing text: String) throws(SlowFastError) {
    func refused(_ expected: String) -> SlowFastError { .badOption("variants", found: text, expected: .text(expected)) }
    var parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    var bits = parts.removeFirst()
    name = text
    conversion = ConversionOptions()
    if bits.hasSuffix("a") {
      conversion.isAsymmetric = true
      bits.removeLast()
    }
    guard let number = Int(bits), ConversionOptions.bitChoices.contains(number) else { throw refused(Self.form) }
    conversion.bits = number
    if conversion.isAsymmetric, number > 8 { throw refused("4a or 8a: floats have no minimum") }
    for part in parts {
      if part == "calibrated" {
        isCalibrated = true
        continue
      }
      guard let separator = part.lastIndex(of: "="), separator > part.startIndex else { throw refused(Self.form) }
      let (key, value) = (String(part[..<separator]), String(part[part.index(after: separator)...]))
      switch key {
      case "group":
        guard let group = Int(value), ConversionOptions.groupChoices.contains(group) else {
          throw refused("group=\(ConversionOptions.groupChoices.alternatives)")
        }
        conversion.group = group
      case "method":
        guard let method = QuantizationMethod(rawValue: value) else { throw refused("method=rtn, search or gptq") }
        conversion.method = method
        isCalibrated = isCalibrated || method == .gptq
      case "target":
        guard let bits = Double(value), SizeTarget.bitRange.contains(bits) else { throw refused("target=BITS, 1 to 32 a weight") }
        target = .bits(bits)
      case "input":
        guard ["float", "int8"].contains(value) else { throw refused("input=float or int8") }
        hasFloatInputs = value == "float"
      default:
        do throws(ConversionError) { conversion.keep.append(try KeepRule(part)) } catch {
          throw refused("PATTERN=\(ConversionOptions.bitChoices.alternatives) of \(KeepRule.patternWords)")
        }
      }
    }
    if isCalibrated, conversion.method == .rtn { throw refused("method=search or gptq beside calibrated: rtn looks at no inputs") }
    // Keep rules may quantize parts of a variant of floats.
    if conversion.keep.isEmpty, target == nil, number > 8, conversion.group != nil || hasFloatInputs || isCalibrated {
      throw refused("options that matter: nothing is quantized")
    }
  }
}

extension ComparisonVariant {
  /// What the name stands for.
  var words: String {
    var parts: [String] = []
    let isQuantized = conversion.bits <= 8
    switch conversion.bits {
    case 16: parts.append("floats of 16 bits, as stored")
    case 32: parts.append("floats of 32 bits")
    case 4 where conversion.keep.isEmpty && target == nil: parts.append("4 bits, tower and projector 8")
    default: parts.append("\(conversion.bits) bits")
    }
    for rule in conversion.keep {
      let name =
        rule.pattern == "*" ? "everything" : ConversionPlan.matrixParts.contains(rule.pattern) ? rule.pattern : "tensors \(rule.pattern)"
      parts.append("\(name) \(rule.bits)")
    }
    if let target { parts.append("bits and groups chosen by error, \(target) at most") }
    if conversion.isAsymmetric { parts.append("a minimum for each group") }
    if let group = conversion.group { parts.append("\(group) inputs share a scale") }
    if isQuantized || !conversion.keep.isEmpty || target != nil {
      switch conversion.method {
      case .rtn: parts.append("rounded to nearest")
      case .search: parts.append(isCalibrated ? "scales of the least error on calibration data" : "scales of the least squared error")
      case .gptq: parts.append("GPTQ: later inputs make up for earlier errors, on calibration data")
      }
    }
    if hasFloatInputs { parts.append("inputs stay floats: to measure, not to use") }
    return parts.joined(separator: "; ")
  }
}
