import Conversion
import Lab
import Models
import Runtime
import Testing
import Video

/// Logits of answers that are given.
@Suite struct ScoringTests {
  private func session(_ attention: SlowAttention, keepsWeights: Bool = false) throws -> Session {
    var options = SessionOptions()
    options.slowAttention = attention
    options.keepsWeights = keepsWeights
    return try Session(try VideoLanguageModel(path: Golden.path("clip")), options: options)
  }

  private func watch(_ session: Session) throws {
    try session.watch([.frames(try (0..<3).map { try picture($0) })], sampling: SamplingRequest(frames: 3))
  }

  private func score(
    _ session: Session, _ questions: [EvaluationSet.Question], branchBytes: Int = 256 << 20, onFirst: (() -> Void)? = nil
  ) throws -> (answers: [ScoredAnswer], logits: [[[Float]]]) {
    var logits: [[[Float]]] = questions.map { _ in [] }
    let answers = try session.score(questions, maximumTokens: 8, branchBytes: branchBytes, onFirst: onFirst) { question, _, values in
      logits[question].append(Array(values))
    }
    return (answers, logits)
  }

  private static let questions = [
    EvaluationSet.Question(question: "What happens?", answer: "a red square"),
    EvaluationSet.Question(question: "How many are there?", answer: "4"),
    EvaluationSet.Question(question: "Which?", answer: "The large red cross moves left."),
  ]

  /// With `all`, the answer's tokens are computed as if they stood in the prompt.
  @Test func theyAreThoseOfTheSameTextInAPrompt() throws {
    let scored = try session(.all)
    try watch(scored)
    let (answers, logits) = try score(scored, Self.questions)
    for (index, question) in Self.questions.enumerated() {
      let text = "\(question.question)<|im_end|>\n<|im_start|>assistant\n\(question.answer)"
      let trace = try session(.all).trace(
        [.frames(try (0..<3).map { try picture($0) })], sampling: SamplingRequest(frames: 3), question: text)
      let all = try #require(trace.floats["logits"])
      let width = all.shape[1]
      let ids = try #require(trace.integers["prompt_ids"])
      let tokens = answers[index].tokens
      #expect(logits[index].count == tokens.count)
      // The prompt ends with the answer and the opening of another one; clip tokens are one id each there, and more rows.
      let tail = scored.model.tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n")
      let spoken = Array(ids.suffix(tail.count + tokens.count - 1).prefix(tokens.count - 1))
      #expect(spoken == Array(tokens.dropLast()))
      let first = all.shape[0] - tail.count - tokens.count
      for (place, found) in logits[index].enumerated() {
        let expected = all.values[(first + place) * width..<(first + place + 1) * width]
        let difference = zip(found, expected).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
        #expect(difference < 1e-4, "token \(place): \(difference)")
      }
    }
  }

  /// A question's logits do not depend on those before it, nor on weights that are kept.
  @Test(arguments: SlowAttention.allCases)
  func questionsAreAskedAlone(attention: SlowAttention) throws {
    let shared = try session(attention, keepsWeights: true)
    try watch(shared)
    let together = try score(shared, Self.questions)
    for (index, question) in Self.questions.enumerated().reversed() {
      try watch(shared)
      let alone = try score(shared, [question])
      #expect(alone.logits[0] == together.logits[index] && alone.answers[0].tokens == together.answers[index].tokens)
    }
    let fresh = try session(attention)
    try watch(fresh)
    #expect(try score(fresh, Self.questions).logits == together.logits)
    // Nor on how many share a pass.
    var calls = 0
    #expect(try score(fresh, Self.questions) { calls += 1 }.logits == together.logits && calls == 1)
    #expect(try score(fresh, Self.questions, branchBytes: 1).logits == together.logits)
    // And a conversation begins as if nothing had been scored.
    let before = try session(attention)
    try watch(before)
    #expect(try fresh.ask("Who?", options: greedy(4)) == before.ask("Who?", options: greedy(4)))
  }

  /// What the model itself would say is right; anything else is not.
  @Test(arguments: SlowAttention.allCases)
  func itsOwnAnswerIsRight(attention: SlowAttention) throws {
    for question in ["What happens?", "Who is it?", "Where?", "How many?", "Why so?", "Which colour?", "Is it day?", "When?"] {
      let session = try session(attention)
      try watch(session)
      var options = greedy(64)
      options.stopTokens = session.model.generationDefaults.stopTokens
      let answer = try session.ask(question, options: options)
      // Only an answer that ends, and that its text stands for, can be met.
      let isWhole = answer.endReason == .stopToken && session.model.tokenizer.encode(answer.text) == answer.tokens
      try watch(session)
      let scored = try score(
        session, [.init(question: question, answer: answer.text), .init(question: question, answer: answer.text + "!")])
      if isWhole { #expect(scored.answers[0].isRight) }
      #expect(!scored.answers[1].isRight)
      // As far as the answer goes, its tokens are the likeliest.
      if session.model.tokenizer.encode(answer.text) == answer.tokens {
        for (place, token) in answer.tokens.enumerated() {
          let logits = scored.logits[0][place]
          #expect(logits[Int(token)] == logits.max())
        }
      }
    }
  }

  @Test func anAnswerBeyondTheContext() throws {
    let session = try session(.prompt)
    try watch(session)
    let long = EvaluationSet.Question(question: "Why?", answer: String(repeating: "why ", count: 5000))
    guard failure({ _ = try score(session, [Self.questions[0], long]) })?.isA(.promptTooLong) == true else {
      Issue.record("expected promptTooLong")
      return
    }
    #expect(try score(session, [Self.questions[1]]).logits[0].count == 2)
  }
}
