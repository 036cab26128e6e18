import Compute
import Conversion
import Models
import Runtime
import Support

/// Follows an answer that is given, token by token.
private struct AnswerScore {
  /// With the token that ends a turn.
  let answer: [Int32]
  /// Where the model's own answer leaves the given one, and with which token.
  private(set) var parting: (index: Int, token: Int32)?
  private var index = 0
  private var greedy = Sampler(GenerationOptions())

  init(_ answer: [Int32]) { self.answer = answer }

  var nextToken: Int32 { answer[index] }

  /// The logits from which it would be chosen.
  mutating func take(_ logits: UnsafeBufferPointer<Float>) {
    let own = greedy.next(logits)
    if own != nextToken, parting == nil { parting = (index, own) }
    index += 1
  }
}

/// What a model makes of a question whose answer is given.
package struct ScoredAnswer {
  /// The given answer's tokens and the token that ends a turn.
  package var tokens: [Int32]
  /// Whether the model's own answer, always its likeliest token, is the given one.
  package var isRight: Bool
}

extension Session {
  /// Asks about the clips, each question as if it were the only one, with the answer given: `onLogits` gets, for the question of that
  /// index, the logits `[vocabulary]` from which each token of its answer would be chosen (the end included), valid during the call. The
  /// prompt up to the questions goes through the decoder once, and then the questions together, as many as `branchBytes` have room for;
  /// with `onFirst` the first one by itself, after which that is called.
  ///
  /// To be called after `watch`, before any question. `observer` sees the first question's prompt, as a generator's does.
  package func score(
    _ questions: [EvaluationSet.Question], maximumTokens: Int, observer: ((_ layer: Int, _ position: Int, _ x: Matrix) -> Void)? = nil,
    branchBytes: Int = 256 << 20, isCancelled: @escaping @Sendable () -> Bool = { false }, onFirst: (() -> Void)? = nil,
    onLogits: (_ question: Int, _ token: Int32, _ logits: UnsafeBufferPointer<Float>) -> Void
  ) throws(SlowFastError) -> [ScoredAnswer] {
    let endOfTurn = try endOfTurnToken()
    let halves = questions.map { conversation.promptHalves($0.question) }
    let opening = Prompt(pieces: halves.first?.before ?? [])
    let prompts = halves.map { Prompt(pieces: $0.after, followsVisual: !conversation.clips.isEmpty) }
    let answers = questions.map { model.tokenizer.encode($0.answer) + [endOfTurn] }
    let lengths = zip(prompts, answers).map { opening.tokenCount + $0.tokenCount + $1.count }
    for length in lengths where length > model.config.contextLength {
      throw .promptTooLong(tokens: length, limit: model.config.contextLength)
    }
    let rooms = zip(lengths, answers).map { min($0 - $1.count + max($1.count, maximumTokens), model.config.maximumPositions) }
    let generator = try conversation.readyGenerator(capacity: lengths.max() ?? 0, progress: { _ in })
    try generator.reserve(lengths.max() ?? 0)
    generator.truncate(to: 0)
    generator.isCancelled = isCancelled
    generator.observer = observer
    defer {
      generator.isCancelled = { false }
      generator.observer = nil
      generator.truncate(to: 0)
    }
    if opening.tokenCount > 0 {
      _ = try statistics.times.measure(\.prefill) { () throws(SlowFastError) in try generator.prefill(opening) }
    }
    let asked = generator.position
    var results: [ScoredAnswer] = []
    while results.count < questions.count {
      // Those that the memory has room for.
      var (some, bytes) = ([Int](), 0)
      for index in results.count..<questions.count {
        bytes += DecoderCaches.byteCount(
          config: model.config, layers: model.config.layerCount, tokens: lengths[index], type: context.cacheType)
        if !some.isEmpty, some == [0] && onFirst != nil || bytes > branchBytes { break }
        some.append(index)
      }
      var scores: [(generator: Generator, score: AnswerScore)] = []
      for index in some {
        let own = index == 0 || some.count == 1 ? generator : try generator.branch(capacity: lengths[index])
        scores.append((own, AnswerScore(answers[index])))
      }
      let scripts = zip(some, scores).map { ($1.generator, Generator.Script(prompts[$0], answer: answers[$0].dropLast())) }
      try statistics.times.measure(\.prefill) { () throws(SlowFastError) in
        try Generator.read(scripts) { place, logits in
          onLogits(some[place], scores[place].score.nextToken, logits)
          scores[place].score.take(logits)
        }
      }
      generator.observer = nil
      for (index, (own, score)) in zip(some, scores) {
        let isRight = try statistics.times.measure(\.generate) { () throws(SlowFastError) in
          try self.isRight(score, text: questions[index].answer, on: own, room: rooms[index], maximumTokens: maximumTokens)
        }
        results.append(ScoredAnswer(tokens: answers[index], isRight: isRight))
      }
      generator.truncate(to: asked)
      if some == [0] { onFirst?() }
    }
    return results
  }

  /// Whether the model's own answer says the given one, which `generator` has read to its end.
  private func isRight(
    _ score: AnswerScore, text: String, on generator: Generator, room: Int, maximumTokens: Int
  ) throws(SlowFastError) -> Bool {
    guard let parting = score.parting else { return true }
    // Other tokens may still spell the same text.
    try generator.reserve(room)
    generator.truncate(to: generator.position - (score.answer.count - 1) + parting.index)
    var said = Array(score.answer[..<parting.index])
    var next = parting.token
    var greedy = Sampler(GenerationOptions())
    while !model.generationDefaults.stopTokens.contains(next) {
      said.append(next)
      // A character that is not whole yet is no other character.
      let spelled = model.tokenizer.decode(said, skipSpecial: true).trimmedOfSpace.prefix(while: { $0 != "\u{FFFD}" })
      guard said.count < maximumTokens, generator.position < room, text.trimmedOfSpace.hasPrefix(spelled) else {
        return false
      }
      next = greedy.next(try generator.step(next))
    }
    return model.tokenizer.decode(said, skipSpecial: true).trimmedOfSpace == text.trimmedOfSpace
  }

  private func endOfTurnToken() throws(SlowFastError) -> Int32 {
    let end = model.config.promptTemplate.turnEnd
    guard let token = model.tokenizer.id(of: end) else { throw .missingToken(end) }
    return token
  }
}

extension String {
  /// Without white space at both ends.
  var trimmedOfSpace: String {
    let start = drop { $0.isWhitespace }
    let end = start.lastIndex { !$0.isWhitespace }
    return end.map { String(start[...$0]) } ?? ""
  }
}
