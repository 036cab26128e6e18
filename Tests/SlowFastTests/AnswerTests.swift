import Foundation
import Models
import Runtime
import Support
import Testing
import Tokenizer
import Video

/// Where an answer ends, and how likely its tokens were.
@Suite struct AnswerTests {
  private let model: VideoLanguageModel

  init() throws { model = try VideoLanguageModel(path: Golden.path("clip")) }

  private func session(_ attention: SlowAttention = .prompt) throws -> Session {
    var options = SessionOptions()
    options.slowAttention = attention
    let session = try Session(model, options: options)
    try session.watch([.frames([try picture(3), try picture(4)])], sampling: SamplingRequest(frames: 2))
    return session
  }

  /// The text before the first stop text, in whatever pieces it comes; found at the place where it begins first.
  @Test(arguments: [
    ("red ball. Blue", ["."], "red ball", true), ("red ball", ["."], "red ball", false), ("aaab", ["aab"], "a", true),
    ("abc", ["abcd", "c"], "ab", true), ("abce", ["abcd", "c"], "ab", true), ("abcd", ["abcd", "c"], "", true),
    ("ab", ["abc"], "ab", false), ("x\nUser:", ["\nUser:", "\nSystem:"], "x", true), ("größer, größe", ["e,", "ße"], "grö", true),
    ("e\u{301}a", ["e"], "", true), ("", ["a"], "", false), ("aabaab", ["ab", "b"], "a", true), ("日本語", ["本"], "日", true),
  ])
  func stopTexts(text: String, stops: [String], told: String, isFound: Bool) {
    let scalars = Array(text.unicodeScalars)
    for size in [max(1, scalars.count), 1, 2, 3] {
      var search = StopTexts(stops)
      var result = ""
      for start in stride(from: 0, to: scalars.count, by: size) {
        var piece = String.UnicodeScalarView()
        piece.append(contentsOf: scalars[start..<min(start + size, scalars.count)])
        result += search.append(String(piece))
        #expect(told.unicodeScalars.starts(with: result.unicodeScalars))
      }
      if !search.isFound { result += search.finish() }
      #expect(Array(result.utf8) == Array(told.utf8) && search.isFound == isFound, "\(stops) in pieces of \(size): \(result)")
    }
  }

  /// Each text within an answer ends it there: nothing of it is streamed, tokens and probabilities end with the text, and the conversation
  /// goes on from what was told.
  @Test(arguments: SlowAttention.allCases)
  func anAnswerEndsBeforeItsStopText(attention: SlowAttention) throws {
    var options = greedy(12)
    options.topLogProbabilities = 0
    let session = try session(attention)
    let whole = try session.ask("What happens?", options: options)
    #expect(whole.tokens.count == 12 && whole.probabilities.map(\.chosen.token) == whole.tokens)
    let scalars = Array(whole.text.unicodeScalars)
    var hasStraddled = false
    for (start, length) in [(1, 1), (2, 3), (5, 2), (scalars.count - 2, 2), (scalars.count / 2, 4)] {
      var stop = String.UnicodeScalarView()
      stop.append(contentsOf: scalars[start..<min(start + length, scalars.count)])
      options.stopTexts = [String(stop), "no such text"]
      session.startOver()
      var pieces: [String] = []
      var told: [Int32] = []
      let answer = try session.ask(
        "What happens?", options: options, onTokens: { told += $0.map(\.chosen.token) },
        onText: {
          pieces.append($0)
          return true
        })
      let cut = whole.text.range(of: String(stop), options: .literal).map { String(whole.text[..<$0.lowerBound]) } ?? whole.text
      #expect(answer.endReason == .stopText && pieces.joined() == answer.text)
      #expect(answer.text == cut.trimmingCharacters(in: .whitespacesAndNewlines), "\(stop)")
      #expect(whole.tokens.starts(with: answer.tokens) && told == answer.tokens && answer.probabilities.map(\.chosen.token) == told)
      #expect(session.statistics.generatedTokens >= answer.tokens.count)
      let text = model.tokenizer.decode(answer.tokens, skipSpecial: true)
      #expect(text.drop { $0.isWhitespace }.hasPrefix(answer.text))
      hasStraddled = hasStraddled || text.trimmingCharacters(in: .whitespacesAndNewlines) != answer.text

      // As if the model had said just these tokens.
      options.stopTexts = []
      let next = try session.ask("And then?", options: options)
      session.startOver()
      if answer.tokens.isEmpty { continue }
      var short = options
      short.maximumTokens = answer.tokens.count
      #expect(try session.ask("What happens?", options: short).tokens == answer.tokens)
      #expect(try session.ask("And then?", options: options).tokens == next.tokens)
    }
    #expect(hasStraddled)
  }

  /// Against a plain softmax of the same logits, with ties, infinities and NaN.
  @Test func probabilitiesAreTheSoftmaxOfTheLogits() {
    let logits: [Float] = [1, 3, .nan, 2, 3, -.infinity, -40]
    logits.withUnsafeBufferPointer { logits in
      let found = TokenProbability(3, in: logits, top: 3)
      let sum = ([1, 3, 2, 3, -40] as [Double]).reduce(0) { $0 + exp($1) }
      #expect(abs(found.chosen.logProbability - (2 - log(sum))) < 1e-6)
      #expect(found.likeliest.map(\.token) == [1, 4, 3])
      #expect(abs(found.likeliest[0].logProbability - (3 - log(sum))) < 1e-6)
      let impossible = TokenProbability(2, in: logits, top: 0)
      #expect(impossible.chosen.token == 2 && impossible.chosen.logProbability == -.infinity && impossible.likeliest.isEmpty)
      #expect(TokenProbability(5, in: logits, top: 9).chosen.logProbability == -.infinity)
      #expect(TokenProbability(0, in: logits, top: 9).likeliest.count == 6)
    }
  }

  /// They are of the model's own logits: temperature, penalties and seed change what is chosen, not how likely it was.
  @Test func probabilitiesOfAnAnswer() throws {
    let session = try session()
    var options = greedy(8)
    options.topLogProbabilities = 4
    let first = try session.ask("What happens?", options: options)
    for token in first.probabilities {
      #expect(token.likeliest.count == 4 && token.likeliest[0] == token.chosen)
      #expect(token.likeliest.map(\.logProbability) == token.likeliest.map(\.logProbability).sorted(by: >))
    }
    (options.temperature, options.presencePenalty, options.frequencyPenalty, options.seed) = (5, 1.5, 1, 3)
    session.startOver()
    let second = try session.ask("What happens?", options: options)
    #expect(second.tokens != first.tokens && second.probabilities[0].likeliest == first.probabilities[0].likeliest)
    options.topLogProbabilities = nil
    session.startOver()
    let third = try session.ask("What happens?", options: options)
    #expect(third.tokens == second.tokens && third.probabilities.isEmpty)
  }

  /// Tokens that are read in one pass leave what they leave one by one, to the last bit.
  @Test(arguments: SlowAttention.allCases)
  func severalTokensInOnePass(attention: SlowAttention) throws {
    func logits(_ parts: [[Int32]]) throws -> [Float] {
      let session = try session(attention)
      _ = try session.ask("What happens?", options: greedy(1))
      let generator = try session.conversation.readyGenerator(capacity: 0, progress: { _ in })
      try generator.reserve(generator.position + 32)
      var last: [Float] = []
      for part in parts { last = Array(try generator.step(part)) }
      return last
    }
    let tokens: [Int32] = [5, 300, 17, 17, 42, 9, 100]
    let expected = try logits(tokens.map { [$0] })
    #expect(try logits([tokens]) == expected && logits([Array(tokens[..<3]), Array(tokens[3...])]) == expected)
  }
}
