import Foundation
import Lab
import SlowFast
import Support

/// Numbers and tables for people.
enum Printing {
  /// An object over several lines, or on one, with keys in snake case.
  static func json(_ value: some Encodable, onOneLine: Bool = false) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if !onOneLine { encoder.outputFormatting.insert(.prettyPrinted) }
    encoder.keyEncodingStrategy = .convertToSnakeCase
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  static func seconds(_ value: Double) -> String {
    if value >= 3600 { return "\(Int(value) / 3600) h \(Int(value) % 3600 / 60) min" }
    if value >= 100 { return "\(Int(value) / 60) min \(Int(value) % 60) s" }
    return "\(fixed(value, 1)) s"
  }

  static func fixed(_ value: Double, _ digits: Int) -> String { value.fixed(digits) }

  /// What a server's question about a clip takes.
  static func plan(_ plan: MemoryPlan, of runner: ModelRunner) -> String {
    let kept = runner.options.clipMemory.map { ", \(formatBytes($0)) of them for clips that are kept" } ?? ""
    let frames = counted(runner.model.defaultFrameCount, "frame")
    return self.plan(plan) + "\ntogether          \(formatBytes(runner.bytesOfBoth)) for a clip of \(frames)\(kept): tower and decoder "
      + (runner.weightsTakeTurns ? "take turns in memory" : "are both in memory")
  }

  static func plan(_ plan: MemoryPlan) -> String {
    var lines = [
      "frames            \(plan.frames)",
      "fast tokens       \(plan.fastTokens)",
      "slow tokens       \(plan.slowTokens)",
      "prompt tokens     \(plan.promptTokens), answer at most \(plan.maximumAnswerTokens)",
      "",
      "while the clip is encoded",
      "  weights         \(formatBytes(plan.visionWeightBytes))",
      "  buffers         \(formatBytes(plan.visionBufferBytes)), at most \(formatBytes(plan.decodingBytes)) of them for decoding on "
        + counted(plan.decodingThreads, "thread"),
      "while the answer is made",
      "  weights         \(formatBytes(plan.decoderWeightBytes))",
      "  buffers         \(formatBytes(plan.decoderBufferBytes))",
      "  keys and values \(formatBytes(plan.cacheBytes)) of the conversation, \(formatBytes(plan.slowCacheBytes)) of the slow tokens, in "
        + "\(plan.cacheBits) bits",
      "in both",
      "  clip's tokens   \(formatBytes(plan.tokenBytes))"
        + (plan.slowTokens == 0 ? "" : ", \(formatBytes(plan.slowTokenBytes)) of them until they are keys and values"),
      "  program         \(formatBytes(plan.baseBytes))",
      "",
      "peak              \(formatBytes(plan.peakBytes))",
    ]
    if let available = MemoryPlan.availableBytes() { lines.append("available         \(formatBytes(available))") }
    return lines.joined(separator: "\n")
  }

  /// Of the frames through the tower, where not all was computed.
  private static func computedShares(_ statistics: RunStatistics) -> String {
    let shares = statistics.computedFrames.map { 100 * $0 / Double(max(1, statistics.encodedFrames)) }
    guard shares.contains(where: { $0 < 99.95 }) else { return "" }
    return "; of the tower's stages computed: " + shares.map { fixed($0, 1) + " %" }.joined(separator: ", ")
  }

  static func statistics(_ statistics: RunStatistics, answer: Answer, options: GenerationOptions) -> String {
    let times = statistics.times
    func row(_ name: String, _ seconds: Double, _ more: String? = nil) -> String {
      "  \(name.padding(to: 22))\(left(fixed(seconds, 2), 9)) s" + (more.map { "  " + $0 } ?? "")
    }
    // nil where there is nothing to divide.
    func each(_ seconds: Double) -> String? {
      statistics.encodedFrames > 0 ? "\(fixed(seconds / Double(statistics.encodedFrames) * 1000, 1)) ms a frame" : nil
    }
    func speed(_ rate: Double) -> String? { rate > 0 ? "\(fixed(rate, 1)) tokens/s" : nil }
    let guessed = statistics.guessedTokens
    let guesses = guessed > 0 ? "\(statistics.rightGuesses) of \(counted(guessed, "guessed token")) right" : nil
    var sources = ["\(statistics.encodedFrames) through the tower"]
    if statistics.reusedFrames > 0 { sources.append("\(statistics.reusedFrames) showed the same as the one before") }
    if statistics.cachedFrames > 0 { sources.append("\(statistics.cachedFrames) from the clip cache") }
    let cached = statistics.cachedPromptTokens > 0 ? " (after \(statistics.cachedPromptTokens) from the clip cache)" : ""
    var lines = [
      "",
      "\(statistics.kernels) kernels, \(counted(statistics.threads, "thread")), keys and values in \(statistics.cacheBits) bits"
        + (options.isDrawn ? ", seed \(options.seed)" : ""),
      "\(statistics.frames) of \(counted(statistics.decodedFrames, "frame")), "
        + "\(statistics.fastTokens) fast and \(counted(statistics.slowTokens, "slow token")), "
        + "\(statistics.promptTokens) prompt\(cached) and \(counted(statistics.generatedTokens, "answer token")) "
        + "(\(answer.endReason.words))",
      "frames: " + sources.joined(separator: ", ") + computedShares(statistics),
      row("clip cache", times.clipCache),
      row("load tower", times.loadVision),
      row("decode", times.decode, each(times.decode)),
      row("resize", times.resize, each(times.resize)),
      row("waiting for frames", times.frameWait, "decoding and resizing go on beside the tower"),
      row("tower", times.tower, each(times.tower)),
      row("projector", times.projector, each(times.projector)),
      row("load decoder", times.loadDecoder),
      row("cross keys and values", times.crossKeyValues),
      row("prefill", times.prefill, speed(statistics.prefillTokensPerSecond)),
      row("generate", times.generate, [speed(statistics.generationTokensPerSecond), guesses].compactMap { $0 }.joined(separator: ", ")),
    ]
    if let peak = RunStatistics.peakResidentBytes { lines.append("  peak memory           \(formatBytes(peak))") }
    return lines.joined(separator: "\n")
  }
}

extension String {
  func padding(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}

extension Printing {
  static func summary(_ summary: ModelSummary) -> String {
    let total = summary.total
    let tower =
      summary.towerDepths.count == 1
      ? "\(summary.towerDepths[0]) layers of \(summary.towerWidths[0])" : "depths \(summary.towerDepths), widths \(summary.towerWidths)"
    let hybrid = summary.hybridLayers.isEmpty ? "" : "hybrid \(summary.hybridLayers), "
    var lines = [
      "\(summary.path.escaped()): .sfq \(summary.formatVersion), \(formatBytes(summary.fileBytes))",
      "  parameters   \(fixed(Double(summary.parameters) / 1e6, 1)) M, \(fixed(total.bitsPerWeight, 2)) bits a weight in memory, "
        + "\(fixed(total.storedBitsPerWeight, 2)) in the file",
      "  family       \(summary.family)",
      "  takes        \(summary.takes.joined(separator: "; "))",
      "  tower        \(summary.imageSize)×\(summary.imageSize) pixels, \(tower)",
      "  decoder      \(summary.decoderLayers) layers of \(summary.hiddenSize), \(hybrid)vocabulary \(summary.vocabularySize)",
      "  frames       \(summary.defaultFrames) by default",
      "  answers      \(answers(summary)), end at \(summary.stopTokens.map { $0.escaped() }.joined(separator: " "))",
      "",
      "  part          tensors   parameters     in memory       in file   bits",
    ]
    for part in summary.parts + [total] {
      lines.append(
        "  " + part.name.padding(to: 12) + left("\(part.tensors)", 9) + left("\(part.parameters)", 13) + left(formatBytes(part.bytes), 14)
          + left(formatBytes(part.storedBytes), 14) + left(fixed(part.bitsPerWeight, 2), 7))
    }
    if let provenance = summary.provenance { lines += ["", provenance.escaped(limit: 4000).replacing("\\n", with: "\n")] }
    return lines.joined(separator: "\n")
  }

  private static func answers(_ summary: ModelSummary) -> String {
    let generation = summary.generation
    let choice =
      generation.temperature == 0
      ? "the likeliest token" : "temperature \(generation.temperature), top-p \(generation.topP), top-k \(generation.topK)"
    let slow =
      summary.hybridLayers.isEmpty ? "" : ", slow tokens read by \(generation.slowAttention == .all ? "all text" : "the prompt")"
    return "\(choice), repetition penalty \(generation.repetitionPenalty), at most \(generation.maximumTokens) tokens\(slow)"
  }

  static func tensors(_ summary: ModelSummary) -> String {
    let width = summary.tensors.map(\.name.count).max() ?? 0
    return summary.tensors.map { tensor in
      tensor.name.escaped().padding(to: width) + "  " + tensor.encoding.padding(to: 18) + left(formatBytes(tensor.bytes), 11) + "  "
        + tensor.shape.map(String.init).joined(separator: "×")
    }.joined(separator: "\n")
  }

  static func left(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}

extension Printing {
  static func benchmark(_ report: BenchmarkReport) -> String {
    var lines = [
      "slowfast \(report.version), \(report.model.escaped()): \(report.kernels) kernels, \(counted(report.threads, "thread")), "
        + "\(counted(report.frames, "frame")), \(counted(report.slowTokens, "slow token")) (\(report.slowAttention.rawValue)), "
        + "keys and values in \(report.cacheBits) bits"
    ]
    if let limits = report.limits {
      lines.append(
        "the machine: \(fixed(limits.products, 1)) GMAC/s of int8, \(fixed(limits.floatProducts, 1)) of floats; reads "
          + "\(fixed(limits.bytes, 1)) GB/s")
    }
    lines += [
      "",
      [
        "stage".padding(to: 24), left("seconds", 10), left("rate", 22), left("GMAC/s", 9), left("%", 5), left("GB/s", 8), left("of", 7),
        left("%", 5), left("busy", 6),
      ]
      .joined(),
    ]
    for stage in report.stages {
      let digits = stage.seconds < 0.1 ? 5 : 3
      lines.append(
        [
          stage.name.padding(to: 24), left(fixed(stage.seconds, digits), 10),
          left(stage.unitsPerSecond.map { "\(fixed($0, 2)) \(stage.unit ?? "")/s" } ?? "", 22),
          left(stage.productRate.map { fixed($0, 1) } ?? "", 9), left(percent(stage.productShare), 5),
          left(stage.byteRate.map { fixed($0, 2) } ?? "", 8),
          left((stage.byteShare == nil ? nil : stage.readRate ?? report.limits?.bytes).map { fixed($0, 1) } ?? "", 7),
          left(percent(stage.byteShare), 5), left(percent(stage.processorShare), 6),
        ].joined())
    }
    lines.append("")
    for skipped in report.skipped { lines.append("left out: \(skipped.name): \(skipped.reason)") }
    if let hash = report.tokenHash {
      lines.append(
        "generated tokens        \(hash)\(report.tokensSawTower ? "" : " (of made-up features: the tower did not run)")")
    }
    if let peak = report.peakResidentBytes { lines.append("peak memory             \(formatBytes(peak))") }
    return lines.joined(separator: "\n")
  }

  private static func percent(_ share: Double?) -> String { share.map { "\(Int(($0 * 100).rounded()))" } ?? "" }
}

/// What `--json` and `--jsonl` print of an answer.
struct AnswerRecord: Encodable {
  var clip: ClipNames
  var question: String
  var answer: String
  var tokens: [Int32]
  var endReason: String
  /// nil where there was no choice.
  var choices: [ChoiceRecord]?
  /// nil where they were not asked for.
  var logprobs: [TokenRecord]?
  /// nil where nothing was drawn.
  var seed: UInt64?
  var plan: MemoryPlan?
  var statistics: RunStatistics
  var peakResidentBytes: Int?

  init(
    _ answer: Answer, to question: String, about clips: [String], options: GenerationOptions, tokenizer: Tokenizer,
    plan: MemoryPlan? = nil, statistics: RunStatistics
  ) {
    clip = ClipNames(names: clips)
    self.question = question
    self.answer = answer.text
    tokens = answer.tokens
    endReason = answer.endReason.words
    choices = answer.choices.isEmpty ? nil : answer.choices.map(ChoiceRecord.init)
    logprobs = options.topLogProbabilities.map { _ in
      answer.probabilities.map { token in
        var record = TokenRecord(token.chosen, tokenizer)
        record.topLogprobs = token.likeliest.map { TokenRecord($0, tokenizer) }
        return record
      }
    }
    seed = options.isDrawn ? options.seed : nil
    self.plan = plan
    self.statistics = statistics
    peakResidentBytes = RunStatistics.peakResidentBytes
  }
}

/// How likely one of the texts to choose from was.
struct ChoiceRecord: Encodable {
  var text: String
  var probability: Double
  var logprob: Double

  init(_ choice: ChoiceProbability) {
    (text, probability, logprob) = (choice.text, choice.probability, max(choice.logProbability, -9999))
  }
}

/// How likely a token was, in the words of OpenAI's API.
struct TokenRecord: Encodable {
  var token: String
  var id: Int32
  /// A character may begin in one token and end in the next.
  var bytes: [UInt8]
  /// JSON has no infinity; this is as good as none.
  var logprob: Double
  var topLogprobs: [TokenRecord]?

  init(_ candidate: TokenProbability.Candidate, _ tokenizer: Tokenizer) {
    token = tokenizer.decode([candidate.token])
    id = candidate.token
    bytes = tokenizer.bytes(of: candidate.token)
    logprob = max(candidate.logProbability, -9999)
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
    "cacheBits": "--cache-bits", "calibration": "--calibrate", "choices": "--choices", "clipCache.limit": "--cache-size",
    "contexts": "--contexts", "draftTokens": "--draft-tokens", "every": "--every",
    "fastFrames": "--fast-frames",
    "frames": "--frames", "frequencyPenalty": "--frequency-penalty", "generatedTokens": "--tokens", "keep": "--keep",
    "maximumTokens": "--max-tokens", "minP": "--min-p", "partBits": "--parts", "presencePenalty": "--presence-penalty",
    "prompts": "--prompts", "repeats": "--repeat", "repetitionPenalty": "--repetition-penalty", "reuse": "--reuse",
    "sampling": "--fps", "stopTexts": "--stop", "streamCache": "--stream-cache",
    "temperature": "--temperature", "threads": "--threads", "together": "--together",
    "topK": "--top-k", "topLogProbabilities": "--logprobs", "topP": "--top-p", "variants": "--variants",
    "window": "--window",
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
