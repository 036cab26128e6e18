import Foundation
import Models
import Runtime
import SlowFast
import Support
import Testing
import Video

/// Answers that must fit, from models whose weights are chance: whatever they would say.
@Suite struct AnswerFormTests {
  private let model: VideoLanguageModel

  init() throws { model = try VideoLanguageModel(path: Golden.path("clip")) }

  private func session(_ attention: SlowAttention = .prompt) throws -> Session {
    var options = SessionOptions()
    options.slowAttention = attention
    let session = try Session(model, options: options)
    try session.watch([.frames([try picture(5), try picture(6)])], sampling: SamplingRequest(frames: 2))
    return session
  }

  private static let schema = #"""
    {"type": "object", "properties": {"what is shown": {"type": "string", "maxLength": 6}, "count": {"type": "integer", "minimum": 3,
    "maximum": 41}, "time of day": {"enum": ["day", "night"]}, "more": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2}},
    "required": ["what is shown", "count", "time of day"], "additionalProperties": false}
    """#

  /// The answer ends by itself and meets the schema. Tokens without alternative are read in one pass, or one by one where each token's
  /// probability is asked for: the same answer comes of it, and so does the next one.
  @Test(arguments: SlowAttention.allCases)
  func answersMeetTheirSchema(attention: SlowAttention) throws {
    let session = try session(attention)
    for (temperature, seed) in [(0, 0), (1, 1), (1, 2), (3, 3)] as [(Float, UInt64)] {
      var options = GenerationOptions()
      options.stopTokens = model.generationDefaults.stopTokens
      (options.temperature, options.seed, options.maximumTokens, options.repetitionPenalty) = (temperature, seed, 200, 1.1)
      options.form = .json(try AnswerSchema(Self.schema))
      var streamed = ""
      let answer = try session.ask(
        "What happens?", options: options,
        onText: {
          streamed += $0
          return true
        })
      #expect(answer.endReason == .stopToken && streamed == answer.text)
      let value = try #require(try JSONValue(Array(answer.text.utf8)).object, "\(answer.text)")
      #expect(value["what is shown"]?.string.map { $0.unicodeScalars.count <= 6 } == true)
      #expect(value["count"]?.integer.map { (3...41).contains($0) } == true)
      #expect(["day", "night"].contains(value["time of day"]?.string) && (value["more"]?.array?.count ?? 0) <= 2)
      let next = try session.ask("And then?", options: greedy(5))

      session.startOver()
      options.topLogProbabilities = 0
      let oneByOne = try session.ask("What happens?", options: options)
      #expect(oneByOne.tokens == answer.tokens && oneByOne.probabilities.count == answer.tokens.count)
      #expect(try session.ask("And then?", options: greedy(5)) == next)
      session.startOver()
    }
  }

  @Test func theLimitIsTold() throws {
    let session = try session()
    for count in [1, 2, 5] {
      var options = greedy(count)
      options.form = .json(try AnswerSchema(Self.schema))
      session.startOver()
      let answer = try session.ask("What happens?", options: options)
      #expect(answer.endReason == .maximumTokens && answer.tokens.count == count && answer.text.hasPrefix("{"))
    }
    // What is whole with the last token is whole.
    var options = greedy(1)
    options.form = .json(try AnswerSchema(#"{"const": 1}"#))
    session.startOver()
    let answer = try session.ask("What happens?", options: options)
    #expect(answer.text == "1" && answer.endReason == .stopToken)
  }

  /// Each choice has the probability that it has alone, beside the others; the conversation goes on from the chosen one.
  @Test(arguments: SlowAttention.allCases)
  func choices(attention: SlowAttention) throws {
    let session = try session(attention)
    let texts = ["yes", "no", "yes, it is", "yes, it was", "no", "größer"].filter { $0 != "no" } + ["no"]
    var options = greedy(1)
    options.stopTokens = model.generationDefaults.stopTokens
    options.topLogProbabilities = 2
    func ask(_ texts: [String]) throws -> Answer {
      session.startOver()
      options.form = .choices(texts)
      return try session.ask("What happens?", options: options)
    }
    let answer = try ask(texts)
    #expect(answer.choices.map(\.text) == texts && answer.endReason == .stopToken)
    let total: Double = answer.choices.map(\.probability).reduce(0, +)
    #expect(abs(total - 1) < 1e-9)
    let best = try #require(answer.choices.max { $0.probability < $1.probability })
    #expect(best.text == answer.text && answer.tokens == model.tokenizer.encode(best.text))
    let ofTokens = answer.probabilities.map(\.chosen.logProbability).reduce(0, +)
    #expect(answer.probabilities.map(\.chosen.token) == answer.tokens && best.logProbability < ofTokens)
    let next = try session.ask("And then?", options: greedy(5))
    for choice in answer.choices {
      let alone = try ask([choice.text])
      #expect(alone.text == choice.text && alone.choices[0].probability == 1)
      #expect(abs(alone.choices[0].logProbability - choice.logProbability) < 1e-3)
      #expect(abs(choice.probability - exp(choice.logProbability - best.logProbability) * best.probability) < 1e-9)
      if choice.text == answer.text { #expect(try session.ask("And then?", options: greedy(5)) == next) }
    }
  }

  @Test func choicesOutOfRange() {
    for (texts, words) in [
      ([], "choices is 0 texts, expected 1 to 256"), ([""], "choices is empty"), (["a", "a"], "choices is the same text twice"),
      ([String](repeating: "a", count: 257), "choices is 257 texts"), ([String(repeating: "a", count: 4097)], "choices is 4097 bytes"),
    ] as [([String], String)] {
      var options = GenerationOptions()
      options.form = .choices(texts)
      #expect(failure { try options.validate() }?.isA(.invalidOption, words) == true, "\(words)")
    }
  }
}
