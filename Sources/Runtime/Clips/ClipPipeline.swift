import Compute
import Models
import Support
import Tokenizer
import Video

/// Clips on which conversations can be begun, any number of them.
package struct WatchedClips {
  package var clips: [WatchedClip] = []
  /// Of each, whether it is a picture of its own.
  package var isPicture: [Bool] = []
  /// One of them is of a source that goes on.
  package var isLive = false
  /// Of `clips`, where they are kept. Empty without a store, and where nothing that is made of these clips may be kept.
  package var keys: [CacheKey] = []
  /// What is said before the first question, and where the clips are shown.
  package var opening = PromptOpening()
  /// What the store has of a prompt up to the last of these clips, in place of their tokens.
  package var prefix: CachedPrefix?
  /// Of watching, with the clips' warnings.
  package var statistics: RunStatistics
}

/// A clip, and which of its frames are taken.
package struct SampledClip: Sendable {
  package var source: ClipSource
  package var sampling: SamplingRequest
  /// Where its frames are kept for other models, and under which number.
  package var kept: (frames: KeptFrames, number: Int)?

  package init(_ source: ClipSource, _ sampling: SamplingRequest) { (self.source, self.sampling) = (source, sampling) }

  /// Frames that are taken at most.
  package var mostFrames: Int { source.frameCount(sampling) }
}

/// Sees a clip on its way through the tower, frame by frame. Matrices are good for the length of the call.
package protocol ClipObserver: AnyObject {
  func see(_ event: FrameEvent<EncodedFrame>)
  func finishClip(_ tokens: VisualTokens)
}

/// What the tower made of a frame.
package struct EncodedFrame {
  /// `[S², 3]`, normalised, channels last.
  package let pixels: Matrix
  /// Of the tower, `[n, C]`.
  package let features: Matrix
  /// Of the projector, `[n, hidden]`.
  package let projected: Matrix
}

extension RunContext {
  /// Encodes clips. The tower is loaded for it and given back at the end. What the store has of the clips is not computed again; but an
  /// observer wants to see everything, so for one nothing comes from there. `isAhead`: nobody waits for it, so answers go first.
  package func watch(
    _ clips: [SampledClip], _ opening: PromptOpening, isAhead: Bool = false, progress: @escaping ProgressHandler,
    isCancelled: @escaping @Sendable () -> Bool, observer: (any ClipObserver)?
  ) throws(SlowFastError) -> WatchedClips {
    var nothing = nothingWatched
    nothing.opening = opening
    guard !clips.isEmpty else { return nothing }
    var pipeline = ClipPipeline(
      context: self, clips: clips, watched: nothing, isAhead: isAhead, progress: progress, isCancelled: isCancelled,
      observer: observer)
    return try pipeline.run()
  }

  /// No clip.
  package var nothingWatched: WatchedClips {
    var statistics = RunStatistics()
    (statistics.kernels, statistics.threads, statistics.cacheBits) = (engine.kernels.name, engine.pool.threadCount, cacheType.bits)
    return WatchedClips(statistics: statistics)
  }
}

/// From sources to encoded clips: looked up, or decoded and sent through tower and projector.
private struct ClipPipeline {
  let context: RunContext
  let clips: [SampledClip]
  let isAhead: Bool
  let progress: ProgressHandler
  let isCancelled: @Sendable () -> Bool
  let observer: (any ClipObserver)?
  private var watched: WatchedClips
  /// Of the clips' files when their keys were made.
  private var states: [ClipFiles] = []

  init(
    context: RunContext, clips: [SampledClip], watched: WatchedClips, isAhead: Bool, progress: @escaping ProgressHandler,
    isCancelled: @escaping @Sendable () -> Bool, observer: (any ClipObserver)?
  ) {
    (self.context, self.clips, self.watched, self.isAhead) = (context, clips, watched, isAhead)
    (self.progress, self.isCancelled, self.observer) = (progress, isCancelled, observer)
  }

  mutating func run() throws(SlowFastError) -> WatchedClips {
    watched.isPicture = clips.map { $0.source.isPicture && context.model.knowsPictures }
    watched.isLive = clips.contains(where: \.source.isLive)
    if observer == nil, let store = context.store(isLive: watched.isLive) {
      let start = StageTimes.now
      try findPrefix(store)
      watched.statistics.times.clipCache += StageTimes.now - start
    }
    if watched.prefix == nil { try encode() }
    for clip in watched.clips {
      watched.statistics.frames += clip.info.frames
      watched.statistics.fastTokens += clip.info.fastTokens
      watched.statistics.slowTokens += clip.info.slowTokens
      watched.statistics.reusedFrames += clip.info.reusedFrames
      watched.statistics.decodedFrames += clip.info.report.decodedFrames
      watched.statistics.warnings += clip.info.report.warnings
    }
    return watched
  }

  private var isAlone: Bool { clips.map(\.source).haveOnePicture }

  // MARK: What is kept

  /// Makes the clips' keys, and looks for keys and values of the prompt up to the last of them.
  private mutating func findPrefix(_ store: any ClipStore) throws(SlowFastError) {
    let model = context.model
    for clip in clips {
      let source = clip.source
      var request = clip.sampling
      request.frames = clip.mostFrames
      // Before they are read: what is written to them from now on is seen afterwards.
      states.append(ClipFiles(source))
      watched.keys.append(
        .features(
          content: try source.contentIdentity(), sampling: request, reuse: context.options.reuse, model: model,
          kernels: context.engine.kernels.name, isAlone: model.config.sequence == nil || !source.isPicture || isAlone,
          fastFrames: context.options.fastFrames, slowTokens: model.config.sequence == nil ? context.cacheType : .float32))
    }
    // What comes before the last clip is the same for every question, but not in whole prompts.
    guard !context.options.takesWholePrompts else { return }
    let opening = context.openingIDs(watched.isPicture.map { PromptPlace(isPicture: $0) }, watched.opening)
    switch store.lookup(.prefix(text: opening, clips: watched.keys, cacheType: context.cacheType), pool: context.pool) {
    case .none: return
    case .found(let entry):
      guard let prefix = CachedPrefix(entry, config: model.config, type: context.cacheType), prefix.clips.count == clips.count,
        prefix.tokens
          == prefix.clips.reduce(
            context.promptPieces("", context.places(prefix.clips, isPicture: watched.isPicture), watched.opening).before.textCount,
            { $0 + $1.fastTokens })
      else {
        warnOfDamage("not the shape of this model's")
        return
      }
      watched.prefix = prefix
      watched.clips = prefix.clips.map { WatchedClip(info: $0, tokens: nil) }
      watched.statistics.cachedFrames = watched.clips.reduce(0) { $0 + $1.info.frames }
    case .damaged(let reason): warnOfDamage(reason)
    }
  }

  /// The tokens of a clip, as they were kept: all of its frames must be there still.
  private mutating func findClip(_ index: Int, frames: ClosedRange<Int>) throws(SlowFastError) -> WatchedClip? {
    // Of the newest frames of a stream the frames are all that is kept.
    guard !clips[index].source.isLive, let store = context.store, index < watched.keys.count else { return nil }
    let start = StageTimes.now
    defer { watched.statistics.times.clipCache += StageTimes.now - start }
    switch store.lookup(watched.keys[index], pool: context.pool) {
    case .none: return nil
    case .found(let entry):
      guard let kept = KeptClip(entry, frames: frames), let layout = layout(kept.info, clips[index].source),
        layout.views == kept.views.count,
        layout.slowCount == kept.info.slowTokens, layout.fastCount == kept.info.fastTokens,
        // One that has not the memory fails again, and tells it, where it is encoded.
        let encoder = try? encoder(layout, clips[index].source, isPicture: layout is PictureLayout, reuse: nil, key: watched.keys[index]),
        let keeper = encoder.keeper
      else {
        warnOfDamage("not the shape of this model's")
        return nil
      }
      let isWhole = kept.views.allSatisfy { encoder.takeKnown($0, from: keeper) }
      for reason in keeper.damage { warnOfDamage(reason) }
      guard isWhole else { return nil }
      watched.statistics.cachedFrames += kept.info.frames
      return WatchedClip(info: kept.info, tokens: try encoder.finish(newline: context.model.source.newline()))
    case .damaged(let reason):
      warnOfDamage(reason)
      return nil
    }
  }

  private func layout(_ info: WatchedClip.Info, _ source: ClipSource) -> (any VisualLayout)? {
    let side = context.model.source.schema.tower.outputSide
    guard source.isPicture else { return context.config.layout(.clip(frames: info.frames), towerSide: side) }
    guard let first = info.report.frames.first, first.width > 0, first.height > 0 else { return nil }
    return context.config.layout(
      .picture(PictureSize(height: first.height, width: first.width), isAlone: isAlone), towerSide: side)
  }

  /// With a store, one that knows what it has; but an observer wants to see everything.
  private func encoder(
    _ layout: any VisualLayout, _ source: ClipSource, isPicture: Bool, reuse: FrameReuse?, key: CacheKey?
  ) throws(SlowFastError) -> ClipEncoder {
    let context = context
    return try ClipEncoder(
      layout, hidden: context.model.config.hiddenSize, preprocessing: Preprocessing(context.model.config.pixels),
      reuse: reuse, slowTokens: context.cacheType, engine: context.engine
    ) { type in
      guard observer == nil, let store = context.frameStore(isLive: source.isLive) else { return nil }
      // With a threshold a frame becomes what it does after those before it: in this clip, or, of a stream, once.
      let threshold = context.options.reuse
      guard threshold == 0 || source.isLive || key != nil else { return nil }
      let kind = CacheKey.frames(
        rows: layout.rowsOfView, isPicture: isPicture, reuse: threshold, within: threshold > 0 && !source.isLive ? key : nil, type: type,
        model: context.model, kernels: context.engine.kernels.name)
      return FrameKeeper(store, kind, pool: context.pool)
    }
  }

  private func sums(_ a: [Double], _ b: [Double]) -> [Double] { a.isEmpty ? b : b.isEmpty ? a : zip(a, b).map(+) }

  private mutating func warnOfDamage(_ reason: String) {
    watched.statistics.warnings.append("an entry of the clip cache is damaged and is made anew: \(reason)")
  }

  // MARK: What is computed

  private mutating func encode() throws(SlowFastError) {
    // At most; where a clip has fewer, that is known when it has been sampled.
    var total = clips.reduce(0) { $0 + $1.mostFrames }
    var vision: VisionModel?
    defer { context.giveBack(&vision) }
    var done = 0
    for index in clips.indices {
      let most = clips[index].mostFrames
      let clip = try clip(index, done..<total, &vision)
      watched.clips.append(clip)
      done += clip.info.frames
      total += clip.info.frames - most
    }
  }

  /// One clip, as it was kept or encoded now; where another conversation is encoding it, that is waited for.
  private mutating func clip(_ index: Int, _ range: Range<Int>, _ vision: inout VisionModel?) throws(SlowFastError) -> WatchedClip {
    guard observer == nil, index < watched.keys.count else { return try encode(index, range, &vision, for: nil) }
    let (most, rule) = (clips[index].mostFrames, clips[index].sampling.rule)
    let (progress, isCancelled) = (progress, isCancelled)
    return try context.encodings.run(
      watched.keys[index].text,
      lookup: { () throws(SlowFastError) in
        guard let clip = try findClip(index, frames: rule == .uniform ? most...most : 1...max(1, most)) else { return nil }
        progress(.encoding(frame: range.lowerBound + clip.info.frames, of: range.upperBound + clip.info.frames - most))
        return clip
      },
      pause: { (news) throws(SlowFastError) in try RunContext.pause(news, progress, isCancelled) },
      make: { (flight) throws(SlowFastError) in try encode(index, range, &vision, for: flight) })
  }

  /// Encodes a clip and keeps it; those who wait for it want it too.
  private mutating func encode(
    _ index: Int, _ range: Range<Int>, _ vision: inout VisionModel?, for flight: RunContext.Flights.Flight?
  ) throws(SlowFastError) -> WatchedClip {
    let source = clips[index].source
    // Where no frame can be known, the tower is read before the first one is there.
    if observer != nil || context.frameStore(isLive: source.isLive) == nil, vision == nil {
      vision = try context.takeVision(&watched.statistics.times, progress, isCancelled: isCancelled)
    }
    // Who waits for a clip of others does not keep them from their turn.
    defer { if context.turns != nil { context.giveBack(&vision) } }
    let (own, isCancelled) = (progress, isCancelled)
    let isAhead = isAhead
    let (clip, views) = try encode(
      clips[index], index < watched.keys.count ? watched.keys[index] : nil, &vision, range,
      turns: { [context] in isAhead && flight?.isAwaited != true && context.isAnswering ? Self.turnsOfOthers : 1 },
      progress: {
        own($0)
        flight?.report($0)
      }, isCancelled: { isCancelled() && flight?.isAwaited != true })
    if index < states.count, !states[index].isUntouched {
      // Its key speaks of other bytes than those that were decoded.
      watched.keys = []
      watched.statistics.warnings.append("\(source.name.escaped()): changed while it was read, so it is not kept in the clip cache")
    }
    if !source.isLive, let store = context.store, index < watched.keys.count, let views,
      let problem = KeptClip(info: clip.info, views: views).store(in: store, watched.keys[index], pool: context.pool)
    {
      watched.statistics.warnings.append(problem)
    }
    if isCancelled() { throw .cancelled }
    return clip
  }

  /// So many passes may others make between two blocks of a tower that nobody waits for.
  private static let turnsOfOthers = 8

  /// One clip, and the names of its views where all of them are kept; `range` says how many frames came before it and how many there are in
  /// all. The tower is read when a frame must go through it. `turns`: how often others come first between its blocks.
  private mutating func encode(
    _ sampled: SampledClip, _ key: CacheKey?, _ vision: inout VisionModel?, _ range: Range<Int>, turns: @escaping () -> Int,
    progress: @escaping ProgressHandler,
    isCancelled: @escaping @Sendable () -> Bool
  ) throws(SlowFastError) -> (clip: WatchedClip, views: [String]?) {
    let (context, engine, observer, modelSource) = (context, context.engine, observer, context.model.source)
    let feed = ViewFeed(
      sampled.source, context.config, towerSide: modelSource.schema.tower.outputSide, isAlone: isAlone, sampling: sampled.sampling,
      preprocessing: try Preprocessing(context.model.config.pixels), threads: context.pool.threadCount, memory: context.decodingLimit,
      kept: sampled.kept)
    // Tiles of a picture are none of each other.
    let reuse =
      observer == nil && !feed.isPicture
      ? FrameReuse(
        threshold: Float(context.options.reuse), remembersEqual: context.remembersEqualBranches, goesOn: sampled.source.isLive) : nil
    let before = range.upperBound - sampled.mostFrames
    var clip: ClipEncoder?
    var last = range.upperBound
    /// Frames that are encoded; a picture is one, whatever its views.
    func done(_ encoder: ClipEncoder) -> Int {
      feed.isPicture ? encoder.takenViews / encoder.layout.views : encoder.takenViews
    }
    func encode(_ image: RGBImage, _ encoder: ClipEncoder, _ times: inout StageTimes) throws(SlowFastError) {
      if encoder.takeKnown(image) { return }
      if turns() > 1, context.turns?.isWanted(.decoder) == true {
        encoder.vision = nil
        context.giveBack(&vision)
      }
      let tower = if let vision { vision } else { try context.takeVision(&times, progress, isCancelled: isCancelled) }
      (vision, encoder.vision) = (tower, tower)
      try engine.turns.withLock { () throws(SlowFastError) in
        try encoder.encode(
          image, times: &times,
          isCancelled: {
            // Between blocks of the tower.
            for _ in 0..<turns() { engine.turns.yield() }
            return isCancelled()
          })
      }
      if encoder.keeper?.isFull == true { try save(encoder) }
    }
    /// What came of other weights is not kept.
    func save(_ encoder: ClipEncoder) throws(SlowFastError) {
      try modelSource.checkUnchanged()
      encoder.save()
    }
    let report: SamplingReport
    var times = watched.statistics.times
    do throws(SlowFastError) {
      report = try feed.forEach(times: &times, isCancelled: isCancelled) { (event, times) throws(SlowFastError) in
        switch event {
        case .restart:
          if let clip { try save(clip) }
          clip = nil
          observer?.see(.restart)
          return
        case .begin(let layout):
          last = before + (feed.isPicture ? 1 : layout.views)
          let encoder = try self.encoder(layout, sampled.source, isPicture: feed.isPicture, reuse: reuse, key: key)
          (encoder.vision, encoder.observer) = (vision, observer)
          clip = encoder
          observer?.see(.begin(frames: layout.views))
          return
        case .view(let image):
          guard let encoder = clip else { return }
          progress(.decoding(frame: range.lowerBound + done(encoder) + 1, of: last))
          try encode(image, encoder, &times)
        case .repeated: clip?.repeatFrame()
        }
        guard let encoder = clip else { return }
        progress(.encoding(frame: range.lowerBound + done(encoder), of: last))
      }
    } catch {
      // What was encoded so far need not be again.
      if let clip { try? save(clip) }
      throw error
    }
    guard let encoder = clip else { throw SlowFastError(VideoError.noFrames(path: "", reason: "nothing was sampled")) }
    watched.statistics.times = times
    watched.statistics.encodedFrames += encoder.encodedFrames
    watched.statistics.computedFrames = sums(watched.statistics.computedFrames, encoder.computedFrames)
    watched.statistics.cachedFrames +=
      feed.isPicture ? encoder.knownViews / encoder.layout.views : encoder.knownViews
    let tokens = try encoder.finish(newline: vision == nil ? modelSource.newline() : nil)
    try save(encoder)
    for reason in encoder.keeper?.damage ?? [] { warnOfDamage(reason) }
    if let problem = encoder.keeper?.problem { watched.statistics.warnings.append(problem) }
    observer?.finishClip(tokens)
    let info = WatchedClip.Info(
      report: report, frames: feed.isPicture ? 1 : encoder.layout.views, slowTokens: tokens.slow.rows, fastTokens: tokens.fast.rows,
      reusedFrames: encoder.reusedFrames, framesPerSecond: report.framesPerSecond)
    let isKept = encoder.keeper.map { $0.problem == nil } ?? false
    return (WatchedClip(info: info, tokens: tokens), isKept ? encoder.keeper?.names : nil)
  }
}
