import Foundation
import Models
import Runtime
import Synchronization
import Testing
import Video

/// A conversation about a clip: what is kept between questions, and what ends an answer.
@Suite struct SessionTests {
  private static let first = "What happens?"
  private static let second = "And then, at the end?"

  private func session(_ name: String = "vanilla", _ attention: SlowAttention = .prompt) throws -> Session {
    var options = SessionOptions()
    options.slowAttention = attention
    let session = try Session(try VideoLanguageModel(path: Golden.path(name)), options: options)
    try session.watch([.frames(try (0..<3).map { try picture($0) })], sampling: SamplingRequest(frames: 3))
    return session
  }

  /// A conversation kept in the cache answers as one that is read anew. The first answer goes into the second session's only prompt,
  /// as the turns that it is, so an answer is looked for whose text has exactly its tokens again.
  @Test(arguments: ["vanilla", "clip"], SlowAttention.allCases)
  func aSecondQuestionIsAsTheWholeConversationAnew(name: String, attention: SlowAttention) throws {
    let fresh = try session(name, attention)
    let tokenizer = fresh.model.tokenizer
    let opening = tokenizer.encode("assistant\n")
    for question in ["What happens?", "Who is it?", "Where?", "How many?", "Why so?", "Which colour?", "Is it day?", "When?"] {
      let kept = try session(name, attention)
      let answer = try kept.ask(question, options: greedy(2))
      guard tokenizer.encode("assistant\n" + answer.text) == opening + answer.tokens else { continue }
      let continued = try kept.ask(Self.second, options: greedy(8))
      let turns = "\(question)<|im_end|>\n<|im_start|>assistant\n\(answer.text)<|im_end|>\n<|im_start|>user\n\(Self.second)"
      #expect(try fresh.ask(turns, options: greedy(8)).tokens == continued.tokens)
      return
    }
    Issue.record("no answer of two tokens has a text with these tokens")
  }

  @Test(arguments: SlowAttention.allCases)
  func theSameConversationTwice(attention: SlowAttention) throws {
    let sessions = try [session("vanilla", attention), session("vanilla", attention)]
    let answers = try sessions.map { session in
      try [Self.first, Self.second, Self.first].map { try session.ask($0, options: greedy(6)) }
    }
    #expect(answers[0] == answers[1])
    // The history counts: the same question later is another prompt.
    #expect(sessions[0].statistics.promptTokens > 0)
    #expect(answers[0][0].tokens != answers[0][2].tokens)
  }

  /// Stopped while the prompt is read, and while the answer is made: the question is forgotten.
  @Test(arguments: SlowAttention.allCases, [0, 3, 9])
  func aCancelledQuestionLeavesNoTrace(attention: SlowAttention, asked: Int) throws {
    let disturbed = try session("vanilla", attention)
    let plain = try session("vanilla", attention)
    for question in [Self.first, Self.second] {
      let count = Atomic(0)
      let error = failure {
        _ = try disturbed.ask(
          "Something else?", options: greedy(12),
          isCancelled: { count.wrappingAdd(1, ordering: .relaxed).newValue > asked })
      }
      guard let error, error.isA(.cancelled) else {
        Issue.record("\(String(describing: error))")
        return
      }
      #expect(try disturbed.ask(question, options: greedy(6)) == plain.ask(question, options: greedy(6)))
    }
  }

  @Test func watchingAgainForgets() throws {
    let session = try session()
    let before = try session.ask(Self.first, options: greedy(6))
    try session.watch([.frames(try (0..<3).map { try picture($0) })], sampling: SamplingRequest(frames: 3))
    #expect(try session.ask(Self.first, options: greedy(6)) == before)
  }

  /// Exactly: what the conversation left in the decoder's cache, and what an answer that was stopped left, counts no longer.
  @Test(arguments: ["vanilla", "clip"], SlowAttention.allCases)
  func startingOverKeepsTheClip(name: String, attention: SlowAttention) throws {
    let session = try session(name, attention)
    let first = try session.ask(Self.first, options: greedy(6))
    let second = try session.ask(Self.second, options: greedy(6))
    for _ in 0..<2 {
      session.startOver()
      #expect(try session.ask(Self.first, options: greedy(6)) == first)
      #expect(try session.ask(Self.second, options: greedy(6)) == second)
      _ = failure { _ = try session.ask("Else?", options: greedy(6), isCancelled: { true }) }
    }
    session.startOver()
    #expect(try session.ask(Self.second, options: greedy(6)) == self.session(name, attention).ask(Self.second, options: greedy(6)))
    #expect(session.statistics.encodedFrames == 3)
  }

  @Test func endsInWords() {
    #expect([Answer.EndReason.stopToken, .maximumTokens, .stoppedByCaller].map(\.words) == ["stop token", "token limit", "stopped"])
  }

  @Test func aCancelledClip() throws {
    let session = try Session(try VideoLanguageModel(path: Golden.path("vanilla")))
    let error = failure({
      try session.watch([.frames([try picture(1)])], sampling: SamplingRequest(frames: 1), isCancelled: { true })
    })
    guard error?.isA(.cancelled) == true else {
      Issue.record("expected cancelled")
      return
    }
  }

  @Test func stopTokensEndAnAnswer() throws {
    let all = try session().ask(Self.first, options: greedy(12))
    #expect(all.endReason == .maximumTokens && all.tokens.count == 12)
    let stop = all.tokens[7]
    let length = try #require(all.tokens.firstIndex(of: stop))
    var options = greedy(12)
    options.stopTokens = [stop]
    let session = try session()
    let answer = try session.ask(Self.first, options: options)
    #expect(answer.endReason == .stopToken)
    #expect(answer.tokens == Array(all.tokens.prefix(length)))
    let whole = session.model.tokenizer.decode(answer.tokens, skipSpecial: true)
    #expect(answer.text == whole.trimmingCharacters(in: .whitespacesAndNewlines))
  }

  @Test func theTextStreams() throws {
    let session = try session()
    var pieces: [String] = []
    let answer = try session.ask(
      Self.first, options: greedy(12),
      onText: { piece in
        pieces.append(piece)
        return true
      })
    #expect(pieces.joined() == answer.text && pieces.count > 1 && !pieces.contains(""))
  }

  @Test func theCallerStops() throws {
    var pieces = 0
    let session = try session()
    let answer = try session.ask(
      Self.first, options: greedy(200),
      onText: { _ in
        pieces += 1
        return pieces < 2
      })
    #expect(answer.endReason == .stoppedByCaller)
    #expect(answer.tokens.count < 200 && answer.tokens.count >= 2)
    // The conversation goes on from there.
    #expect(try session.ask(Self.second, options: greedy(4)).tokens.count == 4)
  }

  @Test func aPromptBeyondTheContext() throws {
    let session = try session()
    let question = String(repeating: "why ", count: 5000)
    let clip = ClipSource.frames(try (0..<3).map { try picture($0) })
    let plan = session.plan([clip], sampling: SamplingRequest(frames: 3), question: question, maximumTokens: 4)
    guard let error = failure({ _ = try session.ask(question, options: greedy(4)) }), error.isA(.promptTooLong) else {
      Issue.record("expected promptTooLong")
      return
    }
    #expect(plan.promptTokens > 4096 && error.isA(.promptTooLong, "takes \(plan.promptTokens) tokens", "has 4096"))
    // A shorter question goes.
    #expect(try session.ask(Self.first, options: greedy(4)).tokens.count == 4)
    // It is known before the clip is watched, but where its frames depend on the clip.
    let sampling = SamplingRequest(frames: 3)
    let early = failure { try session.checkPrompt(question, about: [clip], sampling: sampling) }
    #expect(early?.isA(.promptTooLong, "takes \(plan.promptTokens) tokens", "has 4096") == true)
    #expect(failure { try session.checkPrompt(Self.first, about: [clip], sampling: sampling) } == nil)
    let film = try ClipSource(path: Golden.clip)
    #expect(failure { try session.checkPrompt(question, about: [film], sampling: sampling) }?.isA(.promptTooLong) == true)
    let byTime = SamplingRequest(frames: 3, rule: .rate(2))
    #expect(failure { try session.checkPrompt(question, about: [film], sampling: byTime) } == nil)
  }

  @Test func seedsRepeatAnAnswer() throws {
    func answer(_ seed: UInt64) throws -> [Int32] {
      var options = greedy(10)
      options.temperature = 1.5
      options.seed = seed
      return try session().ask(Self.first, options: options).tokens
    }
    #expect(try answer(1) == answer(1))
    #expect(try answer(1) != answer(2))
  }

  @Test func defaultsComeFromTheGenerationConfig() throws {
    let defaults = try VideoLanguageModel(path: Golden.path("clip")).generationDefaults
    #expect(defaults.stopTokens == [454, 452])
    // The published demo's settings; the file's own temperature and top-p, 0.7 and 0.8, are not what it answers with.
    #expect(defaults.temperature == 0.2 && defaults.topP == 1 && defaults.maximumTokens == 1024)
    #expect(defaults.topK == 20 && defaults.repetitionPenalty == 1.05)
  }

  @Test func unknownKernelsAreNamed() throws {
    var options = SessionOptions()
    options.kernels = "abacus"
    let error = failure { _ = try Session(try VideoLanguageModel(path: Golden.path("clip")), options: options) }
    guard let error, error.isA(.invalidOption) else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect("\(error)".contains("abacus") && "\(error)".contains("portable"))
  }
}
