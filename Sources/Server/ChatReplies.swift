import Foundation
import SlowFast

/// What is answered, as OpenAI's clients read it: the objects of one answer, with one id.
struct ChatReplies: Sendable {
  let id: String
  let created: Int
  let model: String
  let includesUsage: Bool

  init(_ request: ChatRequest, model: String) {
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
    return object("chat.completion", [["index": 0, "message": message, "logprobs": nil, "finish_reason": .string(Self.reason(answer))]])
      .with("usage", Self.usage(statistics)).with("slowfast", Self.extra(statistics))
  }

  // MARK: A stream

  /// The first chunk: who speaks.
  var opening: JSON { chunk(["role": "assistant", "content": ""]) }

  func text(_ text: String) -> JSON { chunk(["content": .string(text)]) }

  /// Says nothing, and tells in an object of its own how far the work is.
  func progress(_ stage: String, _ done: Int, _ total: Int) -> JSON {
    chunk([:]).with("slowfast", ["progress": ["stage": .string(stage), "done": .integer(done), "total": .integer(total)]])
  }

  /// The last chunks: why the answer ends, and what it took.
  func ending(_ answer: Answer, _ statistics: RunStatistics) -> [JSON] {
    let last = chunk([:], reason: Self.reason(answer)).with("slowfast", Self.extra(statistics))
    guard includesUsage else { return [last] }
    return [last, object("chat.completion.chunk", []).with("usage", Self.usage(statistics))]
  }

  private func chunk(_ delta: JSON, reason: String? = nil) -> JSON {
    let choice: JSON = [
      "index": 0, "delta": delta, "logprobs": nil, "finish_reason": reason.map(JSON.string) ?? .null,
    ]
    let chunk = object("chat.completion.chunk", [choice])
    return includesUsage ? chunk.with("usage", .null) : chunk
  }

  // MARK: Parts of both

  private static func reason(_ answer: Answer) -> String { answer.endReason == .maximumTokens ? "length" : "stop" }

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
  static func extra(_ statistics: RunStatistics) -> JSON {
    let times = statistics.times
    func rounded(_ value: Double) -> JSON { .number((value * 1e6).rounded() / 1e6) }
    let seconds: JSON = [
      "clip_cache": rounded(times.clipCache), "load_vision": rounded(times.loadVision), "decode": rounded(times.decode),
      "frame_wait": rounded(times.frameWait), "resize": rounded(times.resize), "tower": rounded(times.tower),
      "projector": rounded(times.projector), "load_decoder": rounded(times.loadDecoder), "cross_key_values": rounded(times.crossKeyValues),
      "prefill": rounded(times.prefill), "generate": rounded(times.generate),
    ]
    return [
      "seconds": seconds, "tokens_per_second": rounded(statistics.generationTokensPerSecond), "frames": .integer(statistics.frames),
      "encoded_frames": .integer(statistics.encodedFrames), "cached_frames": .integer(statistics.cachedFrames),
      "fast_tokens": .integer(statistics.fastTokens), "slow_tokens": .integer(statistics.slowTokens),
      "resident_bytes": ProcessMemory.residentBytes.map(JSON.integer) ?? .null,
      "peak_bytes": RunStatistics.peakResidentBytes.map(JSON.integer) ?? .null,
      "kernels": .string(statistics.kernels), "threads": .integer(statistics.threads),
      "warnings": .array(statistics.warnings.map(JSON.string)),
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
