import Architecture
import Checkpoint
import Compute
import Conversion
import Support
import ModelFile
import Tokenizer
import Video

/// Everything that can go wrong between a path and an answer. Each description is one line that says what and where.
public enum SlowFastError: Error, Sendable {
  case architecture(ArchitectureError)
  case checkpoint(CheckpointError)
  case compute(ComputeError)
  case conversion(ConversionError)
  case modelFile(ModelFileError)
  case output(OutputError)
  case tokenizer(TokenizerError)
  case video(VideoError)

  case notAModel(path: String, reason: String)
  case notAClip(path: String, reason: String)
  /// A section or a tensor of a model file holds what its name does not promise.
  case badModel(path: String, reason: String)
  /// Too few tokens to tell what a layer takes.
  case calibrationTooSmall(tokens: Int, least: Int)
  case promptTooLong(tokens: Int, limit: Int)
  /// `help`: what it would take with which change.
  case notEnoughMemory(needed: Int, available: Int, plan: String, help: [String])
  /// The directory of a clip cache is of no use.
  case cannotCache(directory: String, reason: String)
  /// A generation option out of range.
  case badOption(name: String, found: String, expected: String)
  /// A file of questions and answers; `line` counts from 1 and is nil where the whole file is meant.
  case badEvaluation(path: String, line: Int?, problem: String)
  /// The folder that a comparison writes to.
  case badReport(path: String, reason: String)
  /// The model has no id for a token that the prompt needs.
  case missingToken(String)
  case cancelled
}

extension SlowFastError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .architecture(let error): "\(error)"
    case .checkpoint(let error): "\(error)"
    case .compute(let error): "\(error)"
    case .conversion(let error): "\(error)"
    case .modelFile(let error): "\(error)"
    case .output(let error): "\(error)"
    case .tokenizer(let error): "\(error)"
    case .video(let error): "\(error)"
    case .notAModel(let path, let reason), .notAClip(let path, let reason): "\(path.escaped()): \(reason)"
    case .badModel(let path, let reason): "\(path.escaped()): \(reason)"
    case .calibrationTooSmall(let tokens, let least):
      "the calibration set gives \(tokens) tokens, expected at least \(least): name more clips or questions"
    case .promptTooLong(let tokens, let limit):
      "the prompt takes \(tokens) tokens, the model's context has \(limit): ask a shorter question, take fewer frames, or begin a new conversation"
    case .notEnoughMemory(let needed, let available, let plan, let help):
      "the run needs \(formatBytes(needed)), \(formatBytes(available)) are available (\(plan)); "
        + (help.isEmpty ? "it takes a smaller model" : "it would take \(help.joined(separator: ", "))")
        + "; with --force it runs all the same, slowly, for weights are then read from the file again and again"
    case .cannotCache(let directory, let reason): "\(directory.escaped()): clips cannot be kept there: \(reason)"
    case .badOption(let name, let found, let expected): "\(name) is \(found.escaped()), expected \(expected)"
    case .badReport(let path, let reason): "\(path.escaped()): \(reason)"
    case .badEvaluation(let path, let line, let problem): "\(path.escaped())\(line.map { ":\($0)" } ?? ""): \(problem)"
    case .missingToken(let token): "the tokenizer has no token \(token.escaped())"
    case .cancelled: "interrupted"
    }
  }
}

extension SlowFastError {
  /// Whether a file was not written only because there is one of that name.
  public var isExistingOutput: Bool {
    switch self {
    case .output(.exists), .modelFile(.output(.exists)), .conversion(.modelFile(.output(.exists))), .checkpoint(.output(.exists)),
      .video(.output(.exists)):
      true
    default: false
    }
  }

  /// Whether an option is wrong whatever the files hold.
  public var isWrongUsage: Bool {
    switch self {
    case .badOption, .conversion(.invalidBits), .conversion(.invalidGroup), .conversion(.invalidKeepRule), .conversion(.calibrationMissing),
      .conversion(.calibrationUnused):
      true
    default: false
    }
  }
}

/// `1536` → `1.5 KiB`.
public func formatBytes(_ count: Int) -> String {
  var value = Double(count)
  for unit in ["bytes", "KiB", "MiB"] {
    if value < 1024 { return unit == "bytes" ? "\(count) bytes" : "\(rounded(value)) \(unit)" }
    value /= 1024
  }
  return "\(rounded(value)) GiB"
}

private func rounded(_ value: Double) -> String {
  let tenths = Int((value * (value < 100 ? 10 : 1)).rounded())
  return value < 100 ? "\(tenths / 10).\(tenths % 10)" : "\(tenths)"
}

/// Runs operators, their failures as this module's.
func compute<T>(_ body: () throws(ComputeError) -> T) throws(SlowFastError) -> T {
  do throws(ComputeError) { return try body() } catch { throw .compute(error) }
}
