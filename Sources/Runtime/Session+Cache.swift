import Models
import Support
import Tokenizer
import Video

extension Session {
  /// Makes the clips' keys, and looks for keys and values of the prompt up to the last of them.
  package func findPrefix(_ sources: [ClipSource], _ sampling: SamplingRequest) throws(SlowFastError) {
    guard let cache else { return }
    for source in sources {
      var request = sampling
      request.frames = source.frameCount(sampling)
      // Before they are read: what is written to them from now on is seen afterwards.
      clipStates.append(ClipFiles(source))
      clipKeys.append(
        .features(
          content: try source.contentIdentity(), sampling: request, reuseThreshold: options.reuseStatic, model: model,
          kernels: engine.kernels.name))
    }
    switch cache.lookup(prefixKey, pool: pool) {
    case .none: return
    case .found(let entry):
      let text = Self.textCount(promptPieces("").before)
      guard let prefix = CachedPrefix(entry, config: model.config, type: model.cacheType), prefix.clips.count == sources.count,
        prefix.tokens == prefix.clips.reduce(text, { $0 + $1.fastTokens })
      else {
        statistics.warnings.append(Self.damaged("not the shape of this model's"))
        return
      }
      cachedPrefix = prefix
      clips = prefix.clips.map { WatchedClip(info: $0, tokens: nil) }
      statistics.cachedFrames = clips.reduce(0) { $0 + $1.info.frames }
    case .damaged(let reason): statistics.warnings.append(Self.damaged(reason))
    }
  }

  /// The tokens of a clip out of the cache.
  package func findClip(_ index: Int, frames: ClosedRange<Int>) -> WatchedClip? {
    guard let cache, index < clipKeys.count else { return nil }
    let start = StageTimes.now
    defer { statistics.times.clipCache += StageTimes.now - start }
    switch cache.lookup(clipKeys[index], pool: pool) {
    case .none: return nil
    case .found(let entry):
      let side = VisionTower.outputSide(imageSize: model.config.imageSize, shape: model.source.schema.tower)
      let clip = WatchedClip(
        entry, frames: frames, layout: { SlowFastLayout(config: model.config, towerSide: side, frames: $0) },
        hidden: model.config.hiddenSize)
      guard let clip else {
        statistics.warnings.append(Self.damaged("not the shape of this model's"))
        return nil
      }
      statistics.cachedFrames += clip.info.frames
      return clip
    case .damaged(let reason):
      statistics.warnings.append(Self.damaged(reason))
      return nil
    }
  }

  package static func textCount(_ pieces: [ChatPrompt.Piece]) -> Int {
    pieces.reduce(0) { sum, piece in if case .tokens(let ids) = piece { sum + ids.count } else { sum } }
  }

  private static func damaged(_ reason: String) -> String { "an entry of the clip cache is damaged and is made anew: \(reason)" }

  private var prefixKey: CacheKey {
    let text = promptPieces("").before.flatMap { piece in if case .tokens(let ids) = piece { ids } else { [Prompt.imageToken] } }
    return .prefix(text: text, clips: clipKeys, cacheType: model.cacheType)
  }

  /// The first question's prompt, cut after the last clip: what comes before is the same for every question.
  private func promptPieces(_ question: String) -> (before: [ChatPrompt.Piece], after: [ChatPrompt.Piece]) {
    let images = max(clips.count, clipKeys.count)
    let pieces = ChatPrompt(marksImages: model.config.usesImageStartEnd).adding(user: question, images: images).pieces(model.tokenizer)
    let cut = pieces.lastIndex(of: .image).map { $0 + 1 } ?? 0
    return (Array(pieces[..<cut]), Array(pieces[cut...]))
  }

  /// The same for the decoder; where the clips' tokens are gone, what comes before is not asked for.
  package func promptHalves(_ question: String) -> (before: [Prompt.Piece], after: [Prompt.Piece]) {
    let pieces = promptPieces(question)
    var fast = clips.map { $0.tokens?.fast }.makeIterator()
    func prompt(_ pieces: [ChatPrompt.Piece]) -> [Prompt.Piece] {
      pieces.map { piece in
        switch piece {
        case .tokens(let ids): .text(ids)
        case .image: (fast.next() ?? nil).map(Prompt.Piece.visual) ?? .text([])
        }
      }
    }
    return (prompt(pieces.before), prompt(pieces.after))
  }

  /// With a clip cache, before the first question: brings the prompt up to the last clip into the decoder's cache, out of the clip cache or by
  /// reading it, and then keeps it. Returns the tokens that were read.
  package func settlePrefix(
    _ question: String, options: GenerationOptions, progress: @escaping ProgressHandler, isCancelled: @escaping @Sendable () -> Bool
  ) throws(SlowFastError) -> Int {
    guard let cache, !clipKeys.isEmpty, conversation.answer == nil, conversation.settled == 0 else { return 0 }
    let pieces = promptPieces(question)
    let count = Self.textCount(pieces.before) + statistics.fastTokens
    let total = count + Self.textCount(pieces.after)
    let config = model.config
    guard total <= config.contextLength else { throw .promptTooLong(tokens: total, limit: config.contextLength) }
    let room = min(config.maximumPositions, total + options.maximumTokens)
    let generator = try readyGenerator(capacity: room, progress: progress)
    try generator.reserve(room)
    var read = 0
    if let cachedPrefix {
      try generator.restore(cachedPrefix)
      statistics.cachedPromptTokens = count
      self.cachedPrefix = nil
    } else {
      let prompt = Prompt(pieces: promptHalves(question).before)
      generator.truncate(to: 0)
      generator.isCancelled = isCancelled
      defer { generator.isCancelled = { false } }
      progress(.prefilling(token: 0, of: total))
      _ = try statistics.times.measure(\.prefill) { () throws(SlowFastError) in
        try generator.prefill(prompt) { progress(.prefilling(token: $0, of: total)) }
      }
      read = count
      if let problem = CachedPrefix.store(generator.caches, clips: clips.map(\.info), in: cache, prefixKey, pool: pool) {
        statistics.warnings.append(problem)
      }
    }
    conversation.settled = count
    prefixTokens = count
    // Everything that is made of them is in the decoder's cache.
    for index in clips.indices { clips[index].tokens = nil }
    return read
  }
}
