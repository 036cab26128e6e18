import SlowFast
import Support

/// What `--json` and `--jsonl` print of an answer.
struct AnswerRecord: Encodable {
  var clip: ClipNames
  var question: String
  var answer: String
  var tokens: [Int32]
  var endReason: String
  /// nil where nothing was drawn.
  var seed: UInt64?
  var plan: MemoryPlan?
  var statistics: RunStatistics
  var peakResidentBytes: Int?

  init(
    _ answer: Answer, to question: String, about clips: [String], options: GenerationOptions, plan: MemoryPlan? = nil,
    statistics: RunStatistics
  ) {
    clip = ClipNames(names: clips)
    self.question = question
    self.answer = answer.text
    tokens = answer.tokens
    endReason = answer.endReason.words
    seed = options.isDrawn ? options.seed : nil
    self.plan = plan
    self.statistics = statistics
    peakResidentBytes = RunStatistics.peakResidentBytes
  }
}

/// Clips as they were named: null for none, a string for one, an array for several.
struct ClipNames: Encodable {
  var names: [String]

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch names.count {
    case 0: try container.encodeNil()
    case 1: try container.encode(names[0].fileNameText)
    default: try container.encode(names.map(\.fileNameText))
    }
  }
}

extension SlowFastError {
  /// The description, with the command's own names of options.
  var text: String { description { Self.flags[$0] ?? $0 } }

  /// By the names that options have in the library.
  private static let flags = [
    "calibration": "--calibrate", "clipCache.limit": "--cache-size", "contexts": "--contexts", "frames": "--frames",
    "generatedTokens": "--tokens", "keep": "--keep", "maximumTokens": "--max-tokens", "partBits": "--parts", "prompts": "--prompts",
    "repeats": "--repeat", "repetitionPenalty": "--repetition-penalty", "reuseStatic": "--reuse-static", "sampling": "--fps",
    "temperature": "--temperature", "threads": "--threads", "topK": "--top-k", "topP": "--top-p", "variants": "--variants",
  ]
}

/// An error, where output is JSON: `{"error": {"message": …, "status": 1}}`, with the question that it belongs to, if any.
struct ErrorRecord: Encodable {
  struct Content: Encodable {
    var message: String
    var status: Int32
  }
  var error: Content
  var question: String?

  init(_ message: String, status: Int32, question: String? = nil) {
    error = Content(message: message, status: status)
    self.question = question
  }
}

/// One of several questions that has no answer: a line on the error stream, and an object where output is JSON.
enum QuestionFailure {
  static func tell(_ message: String, question: String?, isJSON: Bool) throws {
    Display.printError("error: \(message)")
    if isJSON { try Display.printJSON(ErrorRecord(message, status: 1, question: question), onOneLine: true) }
  }
}

/// A file that was made of a model: what `--json` prints of it.
struct WrittenFile: Encodable {
  var model: String
  var path: String
  var fileBytes = 0
  var seconds = 0.0

  private enum CodingKeys: CodingKey { case model, path, fileBytes, seconds }
  private let name: String
  private let start = ContinuousClock.now

  /// Before it is written: its time begins.
  init(_ name: String, of model: String) {
    (self.name, path, self.model) = (name, name.fileNameText, model.fileNameText)
  }

  func finished() -> WrittenFile {
    var file = self
    file.fileBytes = FileStatus(path: name)?.byteCount ?? 0
    file.seconds = (ContinuousClock.now - start) / .seconds(1)
    return file
  }
}

extension CommandLineCheck {
  private var asksForJSON: Bool { arguments.prefix { $0 != "--" }.contains { $0 == "--json" || $0 == "--jsonl" } }

  /// Tells a program that asked for JSON why it gets nothing else; returns the status.
  func failed(_ message: String, status: Int32) -> Int32 {
    // Where the output cannot be written, the error stream has the message.
    if asksForJSON { try? Display.printJSON(ErrorRecord(message, status: status), onOneLine: true) }
    return status
  }
}
