import Compute
import Models
import Support
import Tokenizer

/// Questions and answers about clips, with the keys and values that are made of them. Not for two threads at once; several may run side by
/// side, also about the same clips.
package final class Conversation {
  /// Of the clips, and of the last question.
  package var statistics: RunStatistics
  package private(set) var clips: [WatchedClip]
  private let places: [PromptPlace]
  private let isLive: Bool
  /// What stands before the first question.
  private let opening: PromptOpening
  /// Which tokens read the slow tokens.
  private let slowAttention: SlowAttention
  private let keys: [CacheKey]
  /// What the store has of these clips, until the decoder takes it over.
  private var keptPrefix: CachedPrefix?
  private let context: RunContext
  private var model: VideoLanguageModel { context.model }
  private var generator: Generator?
  private var standing = Standing()
  private var drafts = Drafts()
  /// Tokens up to the last clip that every conversation begins with and that are in the decoder's cache only.
  private var prefixTokens = 0

  /// What the decoder's cache must hold before the next question.
  private struct Standing {
    /// The cache holds this many tokens of prompts that are final.
    var settled = 0
    /// The last answer, without its stop token.
    var answer: [Int32]?
  }

  /// `slowAttention`: another than all of the context's.
  package init(_ watched: WatchedClips, in context: RunContext, slowAttention: SlowAttention? = nil) {
    self.context = context
    self.slowAttention = slowAttention ?? context.slowAttention
    places = context.places(watched.clips.map(\.info), isPicture: watched.isPicture)
    isLive = watched.isLive
    (clips, keys, keptPrefix, statistics) = (watched.clips, watched.keys, watched.prefix, watched.statistics)
    opening = watched.opening
  }

  /// Asks about the clips; a further question continues the conversation. `onText` gets the answer piece by piece, in whole characters,
  /// and says whether to go on; before it `onTokens` gets the probabilities of the tokens that the piece is of, where they are asked for.
  /// When this throws, the conversation is as it was before.
  package func ask(
    _ question: String, options: GenerationOptions, progress: @escaping ProgressHandler = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }, onTokens: ([TokenProbability]) -> Void = { _ in },
    onText: (String) -> Bool = { _ in true }
  ) throws(SlowFastError) -> Answer {
    try options.validate()
    return try context.withDecoder(isCancelled: isCancelled) { () throws(SlowFastError) in
      try answer(question, options, progress, isCancelled, onTokens, onText)
    }
  }

  private func answer(
    _ question: String, _ options: GenerationOptions, _ progress: @escaping ProgressHandler, _ isCancelled: @escaping @Sendable () -> Bool,
    _ onTokens: ([TokenProbability]) -> Void, _ onText: (String) -> Bool
  ) throws(SlowFastError) -> Answer {
    var options = options
    var choices: ChoiceReader?
    if case .choices(let texts) = options.form {
      let reader = ChoiceReader(texts, model.tokenizer, options)
      options.maximumTokens = reader.longest
      choices = reader
    }
    // Statistics are the last question's.
    (statistics.times.prefill, statistics.times.generate) = (0, 0)
    statistics.cachedPromptTokens = 0
    let checkedBefore = drafts.checked
    let read = try settlePrefix(question, options: options, progress: progress, isCancelled: isCancelled)
    // With `prompt` attention the published code would read the whole conversation anew, earlier answers as text that reads the slow
    // tokens: so the answer goes out of the cache and into the prompt. With `all` the cache already holds what that would compute.
    let limit = slowAttention == .prompt ? standing.settled : generator?.position ?? 0
    let prompt = try makePrompt(question, cached: limit - standing.settled)
    let config = model.config
    let total = limit + prompt.tokenCount
    guard total <= config.contextLength else { throw tooLong(total) }
    if let choices, total + choices.longest > config.maximumPositions { throw tooLong(total + choices.longest) }
    let room = min(config.maximumPositions, total + options.maximumTokens)
    let generator = try readyGenerator(capacity: room, progress: progress)
    try generator.reserve(room)
    generator.truncate(to: limit)
    generator.isCancelled = isCancelled
    defer { generator.isCancelled = { false } }

    if options.draftTokens > 0 {
      for piece in prompt.pieces {
        if case .text(let ids) = piece { for id in ids { drafts.add(id) } } else { drafts.addGap() }
      }
    }
    statistics.promptTokens = prompt.tokenCount + read
    progress(.prefilling(token: 0, of: prompt.tokenCount))
    let first = try statistics.times.measure(\.prefill) { () throws(SlowFastError) in
      try generator.prefill(prompt) { progress(.prefilling(token: $0, of: prompt.tokenCount)) }
    }
    let (answer, generatedTokens): (Answer, Int)
    do throws(SlowFastError) {
      (answer, generatedTokens) = try statistics.times.measure(\.generate) { () throws(SlowFastError) in
        if var choices, case .choices(let texts) = options.form {
          return try choose(texts, &choices, after: first, on: generator, onTokens: onTokens, onText: onText)
        }
        return try generate(
          after: first, on: generator, options: options, progress: progress, isCancelled: isCancelled, onTokens: onTokens, onText: onText)
      }
    } catch {
      generator.truncate(to: limit)
      throw error
    }
    standing.settled = total
    standing.answer = answer.tokens
    statistics.generatedTokens = generatedTokens
    statistics.guessedTokens = drafts.checked.all - checkedBefore.all
    statistics.rightGuesses = drafts.checked.right - checkedBefore.right
    return answer
  }

  /// With a clip store: reads the prompt up to the last clip, where it is not kept yet, so that the first question finds it there.
  package func readClips(
    progress: @escaping ProgressHandler, isCancelled: @escaping @Sendable () -> Bool
  ) throws(SlowFastError) {
    var options = GenerationOptions()
    options.maximumTokens = 1
    statistics.promptTokens = try context.withDecoder(isCancelled: isCancelled) { () throws(SlowFastError) in
      try settlePrefix("", options: options, progress: progress, isCancelled: isCancelled)
    }
  }

  private func tooLong(_ total: Int) -> SlowFastError {
    context.tooLong(total, visual: statistics.fastTokens, clips: clips.count, hasFrames: clips.contains { $0.info.frames > 1 })
  }

  /// Forgets the conversation and keeps the clips: the next question is answered as the first.
  package func startOver() {
    standing = Standing(settled: prefixTokens)
    generator?.truncate(to: prefixTokens)
  }

  /// The likeliest of some texts, and how many tokens it has. The cache has none of them: the next question reads the one that was chosen.
  private func choose(
    _ texts: [String], _ choices: inout ChoiceReader, after first: UnsafeBufferPointer<Float>, on generator: Generator,
    onTokens: ([TokenProbability]) -> Void, onText: (String) -> Bool
  ) throws(SlowFastError) -> (Answer, Int) {
    var answer = try choices.answer(texts, after: first, on: generator)
    try model.source.checkUnchanged()
    if !answer.probabilities.isEmpty { onTokens(answer.probabilities) }
    if !onText(answer.text) { answer.endReason = .stoppedByCaller }
    return (answer, answer.tokens.count)
  }

  /// The answer, and how many tokens were made for it.
  private func generate(
    after first: UnsafeBufferPointer<Float>, on generator: Generator, options: GenerationOptions, progress: ProgressHandler,
    isCancelled: @escaping @Sendable () -> Bool, onTokens: ([TokenProbability]) -> Void, onText: (String) -> Bool
  ) throws(SlowFastError) -> (Answer, Int) {
    var sampler = Sampler(options, constraint: try model.vocabulary.constraint(options.form, model.tokenizer))
    var text = AnswerText(model.tokenizer, stops: options.stopTexts)
    var answer = Answer()
    let start = generator.position
    let room = min(options.maximumTokens, generator.capacity - start, model.config.maximumPositions - start)
    var told = 0
    /// Tells a piece of the text, after the probabilities of its tokens.
    func tell(_ piece: String) -> Bool {
      answer.text += piece
      if piece.isEmpty { return true }
      let settled = min(text.settledTokens, answer.probabilities.count)
      if settled > told { onTokens(Array(answer.probabilities[told..<settled])) }
      told = max(told, settled)
      return onText(piece)
    }
    /// The next token, and those that must follow it; nil where none is to be read.
    func next(_ logits: UnsafeBufferPointer<Float>) throws(SlowFastError) -> [Int32]? {
      // What came of other weights must not be told.
      try model.source.checkUnchanged()
      let token = sampler.next(logits)
      if options.stopTokens.contains(token) {
        answer.endReason = .stopToken
        return nil
      }
      if let count = options.topLogProbabilities { answer.probabilities.append(TokenProbability(token, in: logits, top: count)) }
      let run = [token] + sampler.forced(atMost: room - answer.tokens.count - 1)
      for token in run {
        answer.tokens.append(token)
        drafts.add(token)
        if !tell(text.append(token)) {
          answer.endReason = .stoppedByCaller
          return nil
        }
        if text.isStopped { return nil }
        progress(.generating(token: answer.tokens.count, of: room))
      }
      if isCancelled() { throw .cancelled }
      if sampler.isFinished {
        answer.endReason = .stopToken
        return nil
      }
      return answer.tokens.count < room ? run : nil
    }
    func guess(after run: [Int32]?) -> [Int32] {
      guard let run, !generator.isAmongOthers else { return [] }
      return drafts.guess(
        atMost: min(options.draftTokens, room - answer.tokens.count - 1, generator.capacity - generator.position - run.count))
    }
    var run = room > 0 ? try next(first) : nil
    var guessed = guess(after: run)
    while let tokens = run {
      run = nil
      if tokens.count + guessed.count == 1 {
        var start = monotonicSeconds()
        try generator.generate(after: tokens[0]) { (logits) throws(SlowFastError) in
          drafts.note(single: monotonicSeconds() - start)
          let found = try next(logits)
          start = monotonicSeconds()
          guessed = guess(after: found)
          if let found, found.count == 1, guessed.isEmpty { return found[0] }
          run = found
          return nil
        }
      } else if tokens.count + guessed.count <= DecoderPasses.chunk {
        // Those without a choice between them, and those that are guessed, are read in one pass.
        let (start, before) = (monotonicSeconds(), generator.position + tokens.count)
        run = try generator.verify(tokens + guessed, sure: tokens.count, next)
        if !guessed.isEmpty {
          drafts.note(guessed: guessed.count, right: generator.position - before, seconds: monotonicSeconds() - start)
        }
        guessed = guess(after: run)
      } else {
        run = try next(generator.step(tokens))
        guessed = guess(after: run)
      }
    }
    let generatedTokens = answer.tokens.count
    _ = tell(text.finish())
    if text.isStopped {
      if answer.endReason != .stoppedByCaller { answer.endReason = .stopText }
      // What was told ends here, and so does what the next question goes on from.
      answer.tokens.removeLast(answer.tokens.count - text.settledTokens)
      answer.probabilities.removeLast(max(0, answer.probabilities.count - answer.tokens.count))
      generator.truncate(to: min(generator.position, start + answer.tokens.count))
    }
    if answer.probabilities.count > told { onTokens(Array(answer.probabilities[told...])) }
    return (answer, generatedTokens)
  }

  /// The tokens that the next question adds: the whole prompt at first, later the last answer's end and the new turn.
  /// `cached` tokens of that answer are in the cache already.
  package func makePrompt(_ question: String, cached: Int) throws(SlowFastError) -> Prompt {
    guard let answer = standing.answer else {
      try context.checkMarks(question, clips: clips.count)
      let halves = promptHalves(question)
      let isSettled = standing.settled > 0
      return Prompt(pieces: isSettled ? halves.after : halves.before + halves.after, followsVisual: isSettled)
    }
    if context.options.takesWholePrompts, case let marks = ChatPrompt(whole: question).imageCount, marks > 0 {
      throw .badPrompt(marks: marks, expected: "none where a conversation goes on")
    }
    let further = context.furtherPrompt(question).pieces(model.tokenizer)
    return Prompt(pieces: [.text(answer.dropFirst(cached) + further.ids)], followsVisual: !clips.isEmpty)
  }

  /// The decoder, loaded when the first question comes.
  package func readyGenerator(capacity: Int, progress: @escaping ProgressHandler) throws(SlowFastError) -> Generator {
    // Read again where the tower had its turn.
    let passes = try context.decoderPasses(&statistics.times, progress)
    if let generator { return generator }
    let slow = try statistics.times.measure(\.crossKeyValues) { () throws(SlowFastError) in
      try context.slowCaches(keys) { () throws(SlowFastError) in
        if let keptPrefix {
          return try classified { () throws(ComputeError) in try keptPrefix.slowCaches(config: model.config, type: context.cacheType) }
        }
        return try passes.readSlow(clips.compactMap { $0.tokens?.slow }, type: context.cacheType) {
          progress(.readingClip(layer: $0, of: $1))
        }
      }
    }
    let generator = try Generator(
      passes, slow: slow, capacity: capacity, cacheType: context.cacheType, slowAttention: slowAttention,
      answerVocabulary: model.answerVocabulary)
    self.generator = generator
    // Their keys and values are all that is read of them.
    let nothing = try classified { () throws(ComputeError) in try StoredRows.none(columns: model.config.hiddenSize, on: context.engine) }
    for index in clips.indices { clips[index].tokens?.slow = nothing }
    return generator
  }

  /// The first question's prompt for the decoder, cut after the last clip; where the clips' tokens are gone, what comes before is not asked
  /// for.
  package func promptHalves(_ question: String) -> (before: [Prompt.Piece], after: [Prompt.Piece]) {
    let pieces = firstPieces(question)
    var visual = zip(clips, places).flatMap { clip, place in clip.tokens.map { place.pieces($0.fast) } ?? [] }.makeIterator()
    func prompt(_ pieces: [ChatPrompt.Piece]) -> [Prompt.Piece] {
      pieces.map { piece in
        switch piece {
        case .tokens(let ids): .text(ids)
        case .image: visual.next() ?? .text([])
        }
      }
    }
    return (prompt(pieces.before), prompt(pieces.after))
  }

  /// The first question's prompt, cut after the last clip. A model that was trained to read the times of a video's frames reads them in the
  /// turn that shows it, before its text.
  private func firstPieces(_ question: String) -> (before: [ChatPrompt.Piece], after: [ChatPrompt.Piece]) {
    let times = model.config.sequence?.tellsTimes.flatMap { rule in
      clips.count == 1 ? clips[0].info.report.sentence(rule, framesPerSecond: clips[0].info.framesPerSecond) : nil
    }
    return context.promptPieces(question, places, opening, times: times)
  }

  /// With a clip store, before the first question: brings the prompt up to the last clip into the decoder's cache, out of the store or by
  /// reading it, and then keeps it. Returns the tokens that were read.
  private func settlePrefix(
    _ question: String, options: GenerationOptions, progress: @escaping ProgressHandler, isCancelled: @escaping @Sendable () -> Bool
  ) throws(SlowFastError) -> Int {
    guard let store = context.store(isLive: isLive), !context.options.takesWholePrompts, !keys.isEmpty, standing.answer == nil,
      standing.settled == 0
    else {
      return 0
    }
    let pieces = firstPieces(question)
    let count = pieces.before.textCount + statistics.fastTokens
    let total = count + pieces.after.textCount
    let config = model.config
    guard total <= config.contextLength else { throw tooLong(total) }
    let room = min(config.maximumPositions, total + options.maximumTokens)
    let generator = try readyGenerator(capacity: room, progress: progress)
    try generator.reserve(room)
    let key = CacheKey.prefix(text: context.openingIDs(places, opening), clips: keys, cacheType: context.cacheType)
    let read = try context.readings.run(key.text) { () throws(SlowFastError) -> Int? in
      // What is not there when the clips are watched may be there when another conversation has read it.
      if keptPrefix == nil, case .found(let entry) = store.lookup(key, pool: context.pool) {
        keptPrefix = CachedPrefix(entry, config: config, type: context.cacheType).flatMap { $0.tokens == count ? $0 : nil }
      }
      guard let keptPrefix else { return nil }
      generator.restore(keptPrefix)
      statistics.cachedPromptTokens = count
      self.keptPrefix = nil
      return 0
    } pause: { (news) throws(SlowFastError) in
      try RunContext.pause(news, progress, isCancelled)
    } make: { (flight) throws(SlowFastError) in
      let prompt = Prompt(pieces: promptHalves(question).before)
      generator.truncate(to: 0)
      generator.isCancelled = { isCancelled() && !flight.isAwaited }
      defer { generator.isCancelled = { false } }
      func tell(_ token: Int) {
        progress(.prefilling(token: token, of: total))
        flight.report(.prefilling(token: token, of: total))
      }
      tell(0)
      _ = try statistics.times.measure(\.prefill) { () throws(SlowFastError) in try generator.prefill(prompt, progress: tell) }
      // What came of other weights is not kept.
      try model.source.checkUnchanged()
      if let problem = CachedPrefix.store(generator.caches, clips: clips.map(\.info), in: store, key, pool: context.pool) {
        statistics.warnings.append(problem)
      }
      return count
    }
    standing.settled = count
    prefixTokens = count
    // Everything that is made of them is in the decoder's cache.
    for index in clips.indices { clips[index].tokens = nil }
    return read
  }
}
