import Foundation
import SlowFast

/// What is answered, as OpenAI's clients read it: the objects of one answer, with one id.
struct ChatReplies: Sendable {
  let id: String
  let created: Int
  let model: String
  let includesUsage: Bool
  private let tokenizer: Tokenizer

  init(_ request: ChatRequest, model: String, _ tokenizer: Tokenizer) {
    self.tokenizer = tokenizer
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

  /// The whole answer in one object.
  func whole(_ answer: Answer, _ statistics: RunStatistics) -> JSON {
    let message: JSON = ["role": "assistant", "content": .string(answer.text), "refusal": nil]
    return object(
      "chat.completion",
      [["index": 0, "message": message, "logprobs": logprobs(answer.probabilities), "finish_reason": .string(Self.reason(answer))]]
    )
    .with("usage", Self.usage(statistics)).with("slowfast", Self.extra(answer, statistics))
  }

  // MARK: A stream

  /// The first chunk: who speaks.
  var opening: JSON { chunk(["role": "assistant", "content": ""]) }

  func text(_ text: String, _ tokens: [TokenProbability]) -> JSON { chunk(["content": .string(text)], tokens: tokens) }

  /// Says nothing, and tells in an object of its own how far the work is.
  func progress(_ stage: String, _ done: Int, _ total: Int) -> JSON {
    chunk([:]).with("slowfast", ["progress": ["stage": .string(stage), "done": .integer(done), "total": .integer(total)]])
  }

  /// The last chunks: why the answer ends, and what it took.
  func ending(_ answer: Answer, _ statistics: RunStatistics) -> [JSON] {
    let last = chunk([:], reason: Self.reason(answer)).with("slowfast", Self.extra(answer, statistics))
    guard includesUsage else { return [last] }
    return [last, object("chat.completion.chunk", []).with("usage", Self.usage(statistics))]
  }

  private func chunk(_ delta: JSON, tokens: [TokenProbability] = [], reason: String? = nil) -> JSON {
    let choice: JSON = [
      "index": 0, "delta": delta, "logprobs": logprobs(tokens), "finish_reason": reason.map(JSON.string) ?? .null,
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
  private static func extra(_ answer: Answer, _ statistics: RunStatistics) -> JSON {
    let times = statistics.times
    func rounded(_ value: Double) -> JSON { .number((value * 1e6).rounded() / 1e6) }
    let seconds: JSON = [
      "clip_cache": rounded(times.clipCache), "load_vision": rounded(times.loadVision), "decode": rounded(times.decode),
      "frame_wait": rounded(times.frameWait), "resize": rounded(times.resize), "tower": rounded(times.tower),
      "projector": rounded(times.projector), "load_decoder": rounded(times.loadDecoder), "cross_key_values": rounded(times.crossKeyValues),
      "prefill": rounded(times.prefill), "generate": rounded(times.generate),
    ]
    let extra: JSON = [
      "seconds": seconds, "tokens_per_second": rounded(statistics.generationTokensPerSecond), "frames": .integer(statistics.frames),
      "encoded_frames": .integer(statistics.encodedFrames), "cached_frames": .integer(statistics.cachedFrames),
      "fast_tokens": .integer(statistics.fastTokens), "slow_tokens": .integer(statistics.slowTokens),
      "resident_bytes": ProcessMemory.residentBytes.map(JSON.integer) ?? .null,
      "peak_bytes": RunStatistics.peakResidentBytes.map(JSON.integer) ?? .null,
      "kernels": .string(statistics.kernels), "threads": .integer(statistics.threads),
      "warnings": .array(statistics.warnings.map(JSON.string)),
    ]
    return extra.with("choices", answer.choices.isEmpty ? nil : .array(answer.choices.map(Self.choice)))
  }
}

extension ChatReplies {
  private static func choice(_ choice: ChoiceProbability) -> JSON {
    [
      "text": .string(choice.text), "probability": .number(choice.probability), "logprob": .number(max(choice.logProbability, -9999)),
    ]
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
