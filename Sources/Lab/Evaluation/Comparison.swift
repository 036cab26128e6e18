import Conversion
import Foundation
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
  /// Which frames of a clip; nil is the model's own way.
  public var sampling: SamplingRule?
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

/// A way to store the checkpoint, as `--variants` names it: `BITS[a|u][:OPTION]…`.
///
///     4                    as convert --bits 4
///     4a                   with a minimum for each group
///     4u                   with uneven levels
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

  static let form = "BITS[a|u][:OPTION]…, as in 8, 4a, 4u, 4:tower=8, 4:group=64, 4:target=4.5, 4:input=float"

  /// Reads variants with commas between.
  public static func list(parsing text: String) throws(SlowFastError) -> [ComparisonVariant] {
    var variants: [ComparisonVariant] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      variants.append(try ComparisonVariant(parsing: String(part)))
    }
    return variants
  }

  /// As written for the command: `BITS[a|u][:OPTION]…`.
  public init(parsing text: String) throws(SlowFastError) {
    func refused(_ expected: String) -> SlowFastError { .badOption("variants", found: text, expected: .text(expected)) }
    var parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    var bits = parts.removeFirst()
    name = text
    conversion = ConversionOptions()
    if bits.hasSuffix("a") {
      conversion.isAsymmetric = true
      bits.removeLast()
    } else if bits.hasSuffix("u") {
      conversion.isUneven = true
      bits.removeLast()
    }
    guard let number = Int(bits), ConversionOptions.bitChoices.contains(number) else { throw refused(Self.form) }
    conversion.bits = number
    if conversion.isAsymmetric, number > 8 { throw refused("3a, 4a or 8a: floats have no minimum") }
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
    if conversion.isUneven, number != 4, target == nil, !conversion.keep.contains(where: { $0.bits == 4 }) {
      throw refused("4u: only 4 bits have uneven levels")
    }
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
    case ..<8 where conversion.keep.isEmpty && target == nil: parts.append("\(conversion.bits) bits, tower and projector 8")
    default: parts.append("\(conversion.bits) bits")
    }
    for rule in conversion.keep {
      let name =
        rule.pattern == "*" ? "everything" : ConversionPlan.matrixParts.contains(rule.pattern) ? rule.pattern : "tensors \(rule.pattern)"
      parts.append("\(name) \(rule.bits)")
    }
    if let target { parts.append("bits and groups chosen by error, \(target) at most") }
    if conversion.isAsymmetric { parts.append("a minimum for each group") }
    if conversion.isUneven { parts.append("4 bits with uneven levels") }
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

/// How far a comparison is.
public struct ComparisonProgress: Sendable {
  /// `baseline`, a variant's name, a part's name.
  public var model: String
  /// Its place among all models, from 0.
  public var index: Int
  /// Models in all.
  public var count: Int
  /// What is at work.
  public enum Work: Sendable {
    /// Weights are being converted: bytes done and in all.
    case converting(Int, of: Int)
    /// Clips done and in all.
    case measuring(Int, of: Int)
    /// Something to be told that stops nothing.
    case warning(String)
  }
  /// What is at work.
  public var work: Work
}

/// Measures variants of a model against the unquantized one, on the same clips and texts: what each bit costs.
///
/// One model is in memory at a time. What was measured is kept in the report's folder, clip by clip: a run that was cut off, or one
/// with more variants or clips, goes on from there.
public struct Comparison: Sendable {
  /// The baseline.
  public let checkpoint: String
  /// Clips and questions.
  public let data: EvaluationSet
  /// As reports name the data.
  public let dataName: String
  /// As they were given.
  public let options: ComparisonOptions

  /// - Parameters:
  ///   - checkpoint: the baseline: a checkpoint directory; a model file where nothing has to be converted.
  ///   - data: clips with at least one question each.
  ///   - dataName: as reports name the data.
  ///   - options: what to compare, and how.
  public init(checkpoint: String, data: EvaluationSet, dataName: String, options: ComparisonOptions) throws(SlowFastError) {
    try options.validate()
    self.checkpoint = checkpoint
    self.data = data
    self.dataName = dataName
    self.options = options
  }

  /// Measures what is not yet measured and writes `report.json` and `report.html` to `folder`, made if it is not there. `onNote` gets the
  /// report's notes before anything is measured.
  public func run(
    to folder: String, onNote: (String) -> Void = { _ in }, progress: @escaping @Sendable (ComparisonProgress) -> Void = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) throws(SlowFastError) -> ComparisonReport {
    let baseline = try VideoLanguageModel(path: checkpoint)
    let models = ComparedModel.all(options, baseline: baseline)
    try check(models, baseline)
    let origins = try ComparedOrigins(models, checkpoint: checkpoint)
    for note in origins.notes { onNote(note) }
    let run = ComparisonRun(
      comparison: self, baseline: baseline, origins: origins, folder: try ReportFolder(folder), identity: try ModelIdentity.of(checkpoint),
      count: models.count + 1, progress: progress, isCancelled: isCancelled)
    let report = try run.report(models)
    try run.folder.write(try report.json(), as: "report.json")
    try run.folder.write(Array(HTMLReport(report).text.utf8), as: "report.html")
    run.folder.removeModelFiles()
    return report
  }

  /// Everything that can be told before hours of work.
  private func check(_ models: [ComparedModel], _ baseline: VideoLanguageModel) throws(SlowFastError) {
    for compared in models {
      if let problem = try compared.conversion(of: checkpoint)?.check() { throw .badModel(path: checkpoint, reason: problem) }
      if case .file(let path) = compared.recipe {
        let model = try VideoLanguageModel(path: path)
        func same<T: Equatable>(_ name: String, _ value: KeyPath<ModelConfig, T>) throws(SlowFastError) {
          let (found, expected) = (model.config[keyPath: value], baseline.config[keyPath: value])
          if found != expected { throw .badModel(path: path, reason: "\(name) \(found), the checkpoint's is \(expected): another model") }
        }
        try same("vocabulary", \.vocabularySize)
        try same("hidden size", \.hiddenSize)
        try same("number of layers", \.layerCount)
        for question in data.clips.flatMap(\.questions) {
          for text in [question.question, question.answer] where model.tokenizer.encode(text) != baseline.tokenizer.encode(text) {
            throw .badModel(path: path, reason: "\(text.quoted) has other tokens than the checkpoint's tokenizer gives it: another model")
          }
        }
      }
    }
  }
}
