import Foundation
import SlowFast

/// What is answered, as OpenAI's clients read it: the objects of one answer, with one id.
struct ChatReplies: Sendable {
  let id: String
  let created: Int
  let model: String
  let includesUsage: Bool
  private let tokenizer: Tokenizer
  /// Of streams that are asked about.
  private let windows: [NamedWindow]

  init(_ request: ChatRequest, model: String, _ tokenizer: Tokenizer, _ windows: [NamedWindow]) {
    (self.tokenizer, self.windows) = (tokenizer, windows)
    id = "chatcmpl-" + Identifier.make()
    created = Int(Date().timeIntervalSince1970)
    self.model = model
    includesUsage = request.includesUsage
  }

  private func object(_ kind: String, _ choices: JSON) -> JSON {
    [
      "id": .string(id), "object": .string(kind), "created": .integer(created), "model": .string(model), "choices": choices,
    ]
  }

  /// The whole answers in one object.
  func whole(_ answers: [(answer: Answer, statistics: RunStatistics)]) -> JSON {
    let choices = answers.enumerated().map { index, made -> JSON in
      let message: JSON = ["role": "assistant", "content": .string(made.answer.text), "refusal": nil]
      return [
        "index": .integer(index), "message": message, "logprobs": logprobs(made.answer.probabilities),
        "finish_reason": .string(Self.reason(made.answer)),
      ]
    }
    let statistics = RunStatistics(of: answers.map(\.statistics))
    return object("chat.completion", .array(choices)).with("usage", Self.usage(statistics))
      .with("slowfast", answers.first.map { extra($0.answer, statistics) })
  }

  // MARK: A stream

  /// The first chunk: who speaks.
  func opening(_ index: Int) -> JSON { chunk(index, ["role": "assistant", "content": ""]) }

  func text(_ index: Int, _ text: String, _ tokens: [TokenProbability]) -> JSON {
    chunk(index, ["content": .string(text)], tokens: tokens)
  }

  /// Says nothing, and tells in an object of its own how far the work is.
  func progress(_ stage: String, _ done: Int, _ total: Int) -> JSON {
    chunk(0, [:]).with("slowfast", ["progress": ["stage": .string(stage), "done": .integer(done), "total": .integer(total)]])
  }

  /// An answer's last chunk: why it ends, and what it took.
  func ending(_ index: Int, _ answer: Answer, _ statistics: RunStatistics) -> JSON {
    chunk(index, [:], reason: Self.reason(answer)).with("slowfast", extra(answer, statistics))
  }

  /// The last chunk of all, where it is wanted: the tokens.
  func usage(_ statistics: [RunStatistics]) -> JSON? {
    // A plain nil would be JSON's null.
    guard includesUsage else { return Optional.none }
    return object("chat.completion.chunk", []).with("usage", Self.usage(RunStatistics(of: statistics)))
  }

  private func chunk(_ index: Int, _ delta: JSON, tokens: [TokenProbability] = [], reason: String? = nil) -> JSON {
    let choice: JSON = [
      "index": .integer(index), "delta": delta, "logprobs": logprobs(tokens), "finish_reason": reason.map(JSON.string) ?? .null,
    ]
    let chunk = object("chat.completion.chunk", [choice])
    return includesUsage ? chunk.with("usage", .null) : chunk
  }

  // MARK: Parts of both

  private static func reason(_ answer: Answer) -> String { answer.endReason == .maximumTokens ? "length" : "stop" }

  /// Null where nothing was asked for.
  private func logprobs(_ tokens: [TokenProbability]) -> JSON {
    if tokens.isEmpty { return .null }
    func object(_ candidate: TokenProbability.Candidate) -> JSON {
      [
        "token": .string(tokenizer.decode([candidate.token])),
        // JSON has no infinity; this is as good as none.
        "logprob": .number(max(candidate.logProbability, -9999)),
        "bytes": .array(tokenizer.bytes(of: candidate.token).map { .integer(Int($0)) }),
      ]
    }
    return [
      "content": .array(tokens.map { object($0.chosen).with("top_logprobs", .array($0.likeliest.map(object))) }), "refusal": nil,
    ]
  }

  static func usage(_ statistics: RunStatistics) -> JSON {
    let prompt = statistics.promptTokens + statistics.cachedPromptTokens
    return [
      "prompt_tokens": .integer(prompt), "completion_tokens": .integer(statistics.generatedTokens),
      "total_tokens": .integer(prompt + statistics.generatedTokens),
      "prompt_tokens_details": ["cached_tokens": .integer(statistics.cachedPromptTokens), "audio_tokens": 0],
      "completion_tokens_details": ["reasoning_tokens": 0, "audio_tokens": 0],
    ]
  }

  /// What OpenAI's objects have no place for: seconds of each stage, frames, tokens of the clips, memory, warnings.
  private func extra(_ answer: Answer, _ statistics: RunStatistics) -> JSON {
    func rounded(_ value: Double) -> JSON { .number((value * 1e6).rounded() / 1e6) }
    let seconds = JSON.object(
      StageTimes.stages.map { JSON.Member(key: $0.name, value: rounded(statistics.times[keyPath: $0.seconds])) })
    let extra: JSON = [
      "seconds": seconds, "tokens_per_second": rounded(statistics.generationTokensPerSecond), "frames": .integer(statistics.frames),
      "encoded_frames": .integer(statistics.encodedFrames), "cached_frames": .integer(statistics.cachedFrames),
      "fast_tokens": .integer(statistics.fastTokens), "slow_tokens": .integer(statistics.slowTokens),
      "resident_bytes": ProcessMemory.residentBytes.map(JSON.integer) ?? .null,
      "peak_bytes": RunStatistics.peakResidentBytes.map(JSON.integer) ?? .null,
      "kernels": .string(statistics.kernels), "threads": .integer(statistics.threads),
      "warnings": .array(statistics.warnings.map(JSON.string)),
    ]
    let streams = windows.map { Streams.Stream.json($0.window).with("name", .string($0.name)) }
    return extra.with("choices", answer.choices.isEmpty ? nil : .array(answer.choices.map(Self.choice)))
      .with("streams", streams.isEmpty ? nil : .array(streams))
  }
}

extension ChatReplies {
  private static func choice(_ choice: ChoiceProbability) -> JSON {
    [
      "text": .string(choice.text), "probability": .number(choice.probability), "logprob": .number(max(choice.logProbability, -9999)),
    ]
  }
}

extension StageTimes {
  /// The stages, as replies and metrics name them.
  static var stages: [(name: String, seconds: WritableKeyPath<StageTimes, Double>)] {
    [
      ("clip_cache", \.clipCache), ("load_vision", \.loadVision), ("decode", \.decode), ("frame_wait", \.frameWait),
      ("resize", \.resize), ("tower", \.tower), ("projector", \.projector), ("load_decoder", \.loadDecoder),
      ("cross_key_values", \.crossKeyValues), ("prefill", \.prefill), ("generate", \.generate),
    ]
  }
}

extension RunStatistics {
  /// Of answers to one question: seconds and tokens of answers together, the prompt and the clips once, as the answer found them that found
  /// the least of them kept.
  init(of answers: [RunStatistics]) {
    self = answers.min { $0.cachedPromptTokens < $1.cachedPromptTokens } ?? RunStatistics()
    generatedTokens = answers.reduce(0) { $0 + $1.generatedTokens }
    encodedFrames = answers.map(\.encodedFrames).max() ?? 0
    cachedFrames = answers.map(\.cachedFrames).min() ?? 0
    for (_, stage) in StageTimes.stages { times[keyPath: stage] = answers.reduce(0) { $0 + $1.times[keyPath: stage] } }
  }
}

/// Names that nobody guesses.
enum Identifier {
  /// 24 letters and digits, of 62 each.
  static func make() -> String {
    var generator = SystemRandomNumberGenerator()
    return String((0..<24).map { _ in letters[Int.random(in: 0..<letters.count, using: &generator)] })
  }

  private static let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
}

enum ProcessMemory {
  /// Bytes of this process that are in memory.
  static var residentBytes: Int? {
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return nil }
    return text.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * Int(sysconf(Int32(_SC_PAGESIZE))) }
  }
}
