import Compute
import Foundation
import Models
import Runtime
import Support
import TestSupport
import Testing
import Video

/// Keys, values and slow tokens in fewer bits.
@Suite struct CacheBitsTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func session(_ path: String, bits: Int?, cache: String? = nil) throws -> Session {
    var options = SessionOptions()
    options.cacheBits = bits
    options.clipCache = cache.map { ClipCacheOptions(directory: directory.file($0)) }
    return try Session(try VideoLanguageModel(path: path), options: options)
  }

  private func watch(_ session: Session, frames: Int = 8) throws {
    try session.watch([.frames(try (0..<frames).map { try picture($0) })], sampling: SamplingRequest(frames: frames))
  }

  /// The probabilities of the next token, after a prompt and then an answer that is given.
  private func distributions(_ session: Session) throws -> [[Double]] {
    let conversation = session.conversation
    let prompt = try conversation.makePrompt("What happens?", cached: 0)
    let generator = try conversation.readyGenerator(capacity: prompt.tokenCount + 8) { _ in }
    func probabilities(_ logits: UnsafeBufferPointer<Float>) -> [Double] {
      let greatest = Double(logits.max() ?? 0)
      let weights = logits.map { exp(Double($0) - greatest) }
      let sum = weights.reduce(0, +)
      return weights.map { $0 / sum }
    }
    var result = [probabilities(try generator.prefill(prompt))]
    try generator.force([5, 6, 7, 8, 9, 10, 11, 12]) { result.append(probabilities($0)) }
    return result
  }

  /// The greatest divergence from what is kept as floats. Of random weights, which make far more of it than trained ones.
  @Test(arguments: ["clip", "slowfast-siglip", "onevision-hf"], [(32, 0.0), (16, 1e-4), (8, 0.05)])
  func divergence(name: String, bits: (Int, Double)) throws {
    let (exact, rounded) = try (session(Golden.path(name), bits: nil), session(Golden.path(name), bits: bits.0))
    for session in [exact, rounded] { try watch(session) }
    let pairs = try zip(distributions(exact), distributions(rounded))
    let worst = pairs.map { zip($0, $1).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) } }.max() ?? .infinity
    #expect(worst <= bits.1, "\(worst)")
    #expect(rounded.statistics.cacheBits == bits.0 && exact.statistics.cacheBits == 32)
  }

  @Test func planned() throws {
    let path = try convert("clip", bits: 4, to: directory)
    func plan(_ bits: Int?) throws -> MemoryPlan {
      let images = try (0..<64).map { _ in try picture(1) }
      return try session(path, bits: bits).plan(
        [.frames(images)], sampling: SamplingRequest(frames: 64), question: "What happens?", maximumTokens: 1000)
    }
    let (eight, usual, sixteen, exact) = try (plan(8), plan(nil), plan(16), plan(32))
    #expect(usual == sixteen && usual.cacheBits == 16 && eight.cacheBits == 8 && exact.cacheBits == 32)
    #expect(2 * usual.cacheBytes == exact.cacheBytes && 2 * usual.slowTokenBytes == exact.slowTokenBytes)
    // Scales are a sixteenth of slow tokens, and of heads of 32 three 32nds of keys and values.
    for (few, many) in [(eight.cacheBytes, usual.cacheBytes), (eight.slowCacheBytes, usual.slowCacheBytes)] {
      #expect(few == many / 2 * 35 / 32)
    }
    #expect(eight.slowTokenBytes == usual.slowTokenBytes / 2 * 17 / 16)
    #expect(eight.peakBytes < usual.peakBytes && usual.peakBytes < exact.peakBytes)
  }

  /// Slow tokens are gone once they are keys and values; the conversation can be begun again.
  @Test(arguments: [nil, 8]) func startingOver(bits: Int?) throws {
    let session = try session(Golden.path("clip"), bits: bits)
    try watch(session)
    #expect(session.conversation.clips[0].tokens?.slow.rows == 72)
    let first = try session.ask("What happens?", options: greedy(6))
    #expect(session.conversation.clips[0].tokens?.slow.rows == 0 && session.statistics.slowTokens == 72)
    session.startOver()
    #expect(try session.ask("What happens?", options: greedy(6)) == first)
  }

  /// What a clip cache keeps is of those bits, and gives the same answers.
  @Test(arguments: [8, 16, 32]) func kept(bits: Int) throws {
    var answers: [Answer] = []
    for round in 0..<3 {
      let session = try session(Golden.path("clip"), bits: bits, cache: "cache")
      try watch(session)
      #expect(session.statistics.cachedFrames == (round == 0 ? 0 : 8) && session.statistics.warnings.isEmpty)
      // The second finds the clip, the third the prompt up to it.
      if round > 0 { answers.append(try session.ask("What happens?", options: greedy(6))) }
    }
    #expect(answers[0] == answers[1])
    let other = try session(Golden.path("clip"), bits: bits == 8 ? 16 : 8, cache: "cache")
    try watch(other)
    #expect(other.statistics.cachedFrames == 0 && other.statistics.warnings.isEmpty)
  }

  @Test func otherNumbers() throws {
    let error = failure { _ = try session(Golden.path("clip"), bits: 4) }
    #expect(error?.isA(.invalidOption, "cacheBits", "4", "8, 16 or 32") == true)
  }
}
