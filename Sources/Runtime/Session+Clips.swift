import Support
import Video

extension Session {
  /// Encodes clips; forgets what was there before. The tower is loaded for it and given back at the end. With a clip cache, what it has of
  /// the clips is not computed again.
  public func watch(
    _ sources: [ClipSource], sampling: SamplingRequest, progress: @escaping ProgressHandler = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) throws(SlowFastError) {
    try watch(sources, sampling: sampling, progress: progress, isCancelled: isCancelled, observer: nil)
  }

  /// An observer wants to see everything, so nothing of it comes from a cache.
  package func watch(
    _ sources: [ClipSource], sampling: SamplingRequest, progress: @escaping ProgressHandler = { _ in },
    isCancelled: @escaping @Sendable () -> Bool,
    observer: (any ClipObserver)?
  ) throws(SlowFastError) {
    clips = []
    (clipKeys, clipStates) = ([], [])
    cachedPrefix = nil
    generator = nil
    conversation = Conversation()
    prefixTokens = 0
    statistics = RunStatistics()
    (statistics.kernels, statistics.threads) = (engine.kernels.name, pool.threadCount)
    guard !sources.isEmpty else { return }
    if observer == nil {
      let start = StageTimes.now
      try findPrefix(sources, sampling)
      statistics.times.clipCache += StageTimes.now - start
    }
    if cachedPrefix == nil { try encode(sources, sampling, progress, isCancelled, observer) }
    for clip in clips {
      statistics.frames += clip.info.frames
      statistics.fastTokens += clip.info.fastTokens
      statistics.slowTokens += clip.info.slowTokens
      statistics.reusedFrames += clip.info.reusedFrames
      statistics.decodedFrames += clip.info.report.decodedFrames
      statistics.warnings += clip.info.report.warnings
    }
  }

  private func encode(
    _ sources: [ClipSource], _ sampling: SamplingRequest, _ progress: @escaping ProgressHandler,
    _ isCancelled: @escaping @Sendable () -> Bool, _ observer: (any ClipObserver)?
  ) throws(SlowFastError) {
    // At most; where a clip has fewer, that is known when it has been sampled.
    var total = sources.reduce(0) { $0 + $1.frameCount(sampling) }
    var loaded: VisionModel?
    var done = 0
    for (index, source) in sources.enumerated() {
      let most = source.frameCount(sampling)
      if let clip = findClip(index, frames: sampling.rule == .uniform ? most...most : 1...max(1, most)) {
        clips.append(clip)
        done += clip.info.frames
        total += clip.info.frames - most
        progress(.encoding(frame: done, of: total))
        continue
      }
      let vision = if let loaded { loaded } else { try loadVision(progress) }
      loaded = vision
      let clip = try encode(source, sampling, vision, done..<total, progress, isCancelled, observer)
      if index < clipStates.count, !clipStates[index].isUntouched {
        // Its key speaks of other bytes than those that were decoded.
        clipKeys = []
        statistics.warnings.append("\(source.name.escaped()): changed while it was read, so it is not kept in the clip cache")
      }
      clips.append(clip)
      done += clip.info.frames
      total += clip.info.frames - most
      if let cache, index < clipKeys.count, let problem = clip.store(in: cache, clipKeys[index], pool: pool) {
        statistics.warnings.append(problem)
      }
    }
  }

  private func loadVision(_ progress: @escaping ProgressHandler) throws(SlowFastError) -> VisionModel {
    if let keptVision { return keptVision }
    let weights = model.source
    let vision = try statistics.times.measure(\.loadVision) { () throws(SlowFastError) in
      try weights.preload(weights.schema.visionNames, pool: pool) { progress(.loading($0, of: $1)) }
      return try VisionModel(weights)
    }
    if options.keepsWeights { keptVision = vision }
    return vision
  }

  /// One clip; `range` says how many frames came before it and how many there are in all.
  private func encode(
    _ source: ClipSource, _ sampling: SamplingRequest, _ vision: VisionModel, _ range: Range<Int>, _ progress: @escaping ProgressHandler,
    _ isCancelled: @escaping @Sendable () -> Bool, _ observer: (any ClipObserver)?
  ) throws(SlowFastError) -> WatchedClip {
    let preprocessing = try Preprocessing(model.preprocessing)
    var clip: ClipEncoder?
    var last = range.upperBound
    let feed = FrameFeed(source: source, sampling: sampling, preprocessing: preprocessing, threads: pool.threadCount, memory: decodingLimit)
    let report = try feed.forEach(times: &statistics.times, isCancelled: isCancelled) {
      (event: FrameEvent<RGBImage>, times: inout StageTimes) throws(SlowFastError) in
      switch event {
      case .restart:
        clip = nil
        observer?.see(.restart)
        return
      case .begin(let frames):
        let encoder = try ClipEncoder(
          vision, frames: frames, preprocessing: preprocessing, reuseThreshold: observer == nil ? options.reuseStatic : nil, engine: engine)
        encoder.observer = observer
        clip = encoder
        last = range.upperBound - source.frameCount(sampling) + frames
        observer?.see(.begin(frames: frames))
        return
      case .frame(let image):
        guard let encoder = clip else { return }
        progress(.decoding(frame: range.lowerBound + encoder.encodedFrames + 1, of: last))
        try encoder.encode(image, times: &times, isCancelled: isCancelled)
      case .repeated: clip?.repeatFrame()
      }
      guard let encoder = clip else { return }
      progress(.encoding(frame: range.lowerBound + encoder.encodedFrames, of: last))
    }
    guard let encoder = clip else { throw SlowFastError(VideoError.noFrames(path: "", reason: "nothing was sampled")) }
    statistics.encodedFrames += encoder.towerFrames
    let tokens = try encoder.finish()
    try model.source.checkUnchanged()
    observer?.finishClip(tokens)
    let info = WatchedClip.Info(
      report: report, frames: tokens.frames, slowTokens: tokens.slow.rows, fastTokens: tokens.fast.rows, reusedFrames: encoder.reusedFrames)
    return WatchedClip(info: info, tokens: tokens)
  }
}
