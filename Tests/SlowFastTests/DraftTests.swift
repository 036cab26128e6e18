import Compute
import Models
import Runtime
import Support
import TestSupport
import Testing
import Video

/// Tokens that are guessed and checked in passes with others.
@Suite struct DraftTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func drafts(_ tokens: [Int32]) -> Drafts {
    var drafts = Drafts()
    drafts.note(single: 1)
    for token in tokens { if token < 0 { drafts.addGap() } else { drafts.add(token) } }
    return drafts
  }

  /// What followed the last three tokens where they stood last, else what followed the last two; never over what is no text.
  @Test(
    arguments: [
      ([1, 2, 3, 4, 5, 1, 2], [3, 4, 5]), ([1, 2, 3, 4, 1, 2, 5, 6, 1, 2], [5, 6, 1]), ([9, 1, 2, 3, 4, 8, 1, 2, 6, 9, 1, 2], [3, 4, 8]),
      ([1, 2], []), ([1, 1, 1, 1], [1]), ([1, 2, -1, 3, 1, 2], []), ([1, 2, 3, -1, 4, 1, 2], [3]), ([1, -1, 2, 1, -1, 2], []), ([], []),
    ] as [([Int32], [Int32])])
  func guesses(said: [Int32], expected: [Int32]) {
    var some = drafts(said)
    #expect(some.guess(atMost: 7) == expected)
    var fewer = drafts(said)
    #expect(fewer.guess(atMost: 2) == Array(expected.prefix(2)))
    var none = drafts(said)
    #expect(none.guess(atMost: 0) == [] && none.guess(atMost: -1) == [])
  }

  /// Seven where all were right, three else; after a loss a pause, after the next one a longer one; none before a pass has been timed.
  @Test func pace() {
    var drafts = Drafts()
    for token in (0..<40).map({ Int32($0 % 20) }) { drafts.add(token) }
    #expect(drafts.guess(atMost: 7) == [])
    drafts.note(single: 1)
    #expect(drafts.guess(atMost: 7) == [0, 1, 2])
    drafts.note(guessed: 3, right: 3, seconds: 1.5)
    #expect(drafts.guess(atMost: 7) == [0, 1, 2, 3, 4, 5, 6])
    drafts.note(guessed: 7, right: 2, seconds: 1.5)
    #expect(drafts.guess(atMost: 7) == [0, 1, 2])
    func pause() -> Int { (0..<1000).first { _ in drafts.guess(atMost: 7) != [] } ?? 1000 }
    for expected in [2, 4, 8, 16, 32, 64, 64] {
      drafts.note(guessed: 3, right: 0, seconds: 1.5)
      #expect(pause() == expected)
    }
    drafts.note(guessed: 3, right: 1, seconds: 1.5)
    #expect(pause() == 0)
  }

  /// Memory is bounded.
  @Test func forgets() {
    var some = drafts([1, 2, 3] + (4..<Int32(Drafts.room)).map { $0 } + [1])
    #expect(some.guess(atMost: 7) == [])
    some.add(2)
    #expect(some.guess(atMost: 7) == [])
    for token in [3, 1, 2, 3] as [Int32] { some.add(token) }
    #expect(some.guess(atMost: 7) == [1, 2, 3])
  }

  /// Whatever is guessed, tokens, logits and cache are those of one token after the other.
  @Test(arguments: ["clip", "vanilla", "4 bits", "8 bits"], SlowAttention.allCases)
  func checkedTokensAreTheSame(_ name: String, _ attention: SlowAttention) throws {
    let path = try Int(name.prefix(1)).map { bits in try convert("clip", bits: bits, to: directory) }
    let model = try VideoLanguageModel(path: path ?? Golden.path(name))
    for cacheType in [model.cacheType, .int8] {
      let context = try RunContext(model, options: SessionOptions())
      var times = StageTimes()
      let passes = try context.decoderPasses(&times) { _ in }
      var numbers = SeededNumbers(7)
      let width = model.config.hiddenSize
      let slow = try passes.readSlow(
        [StoredRows(Matrix(rows: 30, columns: width, values: numbers.floats(30 * width)), type: .float32, on: passes.engine)],
        type: cacheType)
      func generator() throws -> Generator {
        try Generator(
          passes, slow: slow, capacity: 200, cacheType: cacheType, slowAttention: attention, answerVocabulary: model.answerVocabulary)
      }
      let count = 60
      var expected: [(token: Int32, logits: [Float])] = []
      let one = try generator()
      var greedy = Sampler(GenerationOptions())
      var logits = try one.prefill(Prompt(pieces: [.text([5, 6, 7])], followsVisual: true))
      for _ in 0..<count {
        expected.append((greedy.next(logits), Array(logits)))
        logits = try one.step(expected[expected.count - 1].token)
      }

      let several = try generator()
      var sampler = Sampler(GenerationOptions())
      var found: [(token: Int32, logits: [Float])] = []
      func next(_ logits: UnsafeBufferPointer<Float>) -> [Int32]? {
        found.append((sampler.next(logits), Array(logits)))
        return found.count < count ? [found[found.count - 1].token] : nil
      }
      var run = try next(several.prefill(Prompt(pieces: [.text([5, 6, 7])], followsVisual: true)))
      while let tokens = run {
        // Some right guesses, and then wrong ones.
        let right = Int.random(in: 0...7, using: &numbers)
        var guessed = expected[found.count...].prefix(right).map(\.token)
        for _ in 0..<Int.random(in: 0...(7 - guessed.count), using: &numbers) { guessed.append(Int32.random(in: 0..<200, using: &numbers)) }
        run = try several.verify(tokens + guessed, sure: tokens.count) { (logits) throws(SlowFastError) in next(logits) }
        #expect(several.position == 3 + found.count - 1)
      }
      #expect(found.map(\.token) == expected.map(\.token))
      #expect(zip(found, expected).allSatisfy { $0.logits == $1.logits })
      // One that fails leaves the cache as it was.
      let position = several.position
      #expect(throws: SlowFastError.self) {
        _ = try several.verify([1, 2, 3], sure: 1) { (_) throws(SlowFastError) in throw .cancelled }
      }
      #expect(several.position == position)
    }
  }

  /// A conversation that repeats itself says the same with guesses and without, drawn or not, and some of them are right.
  @Test(arguments: [0, 0.8] as [Float], SlowAttention.allCases)
  func answersAreTheSame(temperature: Float, attention: SlowAttention) throws {
    let model = try VideoLanguageModel(path: Golden.path("clip"))
    var right = 0
    var answers: [[Answer]] = []
    for draftTokens in [0, 7] {
      var options = SessionOptions()
      options.slowAttention = attention
      let session = try Session(model, options: options)
      try session.watch([.frames([try picture(3), try picture(4)])], sampling: SamplingRequest(frames: 2))
      var generation = GenerationOptions()
      (generation.maximumTokens, generation.temperature, generation.seed) = (24, temperature, 3)
      (generation.draftTokens, generation.topLogProbabilities) = (draftTokens, 2)
      var told: [Answer] = []
      for question in ["What happens?", "What happens?", "What happens?", "Again: what happens?"] {
        // The same words each time: an answer that was given is likely to be given again.
        session.startOver()
        told.append(try session.ask(question, options: generation))
        #expect(draftTokens > 0 || session.statistics.guessedTokens == 0)
        right += session.statistics.rightGuesses
      }
      answers.append(told)
    }
    #expect(answers[0] == answers[1])
    #expect(right > 0)
  }

  @Test func optionsOutOfRange() throws {
    for count in [-1, 8] {
      var options = GenerationOptions()
      options.draftTokens = count
      #expect { try options.validate() } throws: { "\($0)".contains("draftTokens is \(count), expected 0 to 7") }
    }
  }
}
