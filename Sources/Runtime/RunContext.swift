import Compute
import Foundation
import Models
import Parallel
import Support
import Synchronization
import Tokenizer
import Video

/// What conversations that run side by side have in common: the model and how it computes, where clips are kept, and which weights stay.
package final class RunContext: @unchecked Sendable {
  package let model: VideoLanguageModel
  package let options: SessionOptions
  /// Which tokens read the slow tokens.
  package var slowAttention: SlowAttention { options.slowAttention ?? model.generation.slowAttention }

  /// What keys, values and slow tokens are kept as.
  package var cacheType: KeyValueType { options.cacheBits.flatMap { KeyValueType(bits: $0) } ?? model.cacheType }

  /// The model's configuration, with what the options change of it.
  package let config: ModelConfig

  package let engine: Engine
  package var pool: ThreadPool { engine.pool }
  /// Where clips are kept; nil: nowhere.
  package let store: (any ClipStore)?
  /// Where the newest frames of sources that go on are kept, and prompts about them: in memory, for a disk would be written to without end,
  /// and what else is kept would give way. It has room for what is watched.
  package let liveStore = MemoryClipStore(limit: 0)
  /// Where those frames are kept instead, prompts apart, with room for what is watched; nil: nowhere.
  package let liveFrames: ClipCache?
  /// Questions that are being answered.
  package let answering = Atomic(0)
  package var isAnswering: Bool { answering.load(ordering: .relaxed) > 0 }
  /// Bytes that a decoder's threads may take: a quarter of what there is when this is made.
  package let decodingLimit: Int?
  /// Without a threshold (`SessionOptions.reuse`) branches of a tower are remembered where that needs no more memory than the answer does.
  package let remembersEqualBranches: Bool

  /// What a question about a clip takes where both parts of the model are in memory, and clips that are kept there.
  package let bytesOfBoth: Int
  /// With `keepsWeights`, where there is no room for both parts of the model; nil: each stays as it may.
  package let turns: WeightTurns?

  private let lock = Mutex(())
  // Under the lock, and with `keepsWeights` only.
  private var spareVision: VisionModel?
  private var keptDecoder: DecoderWeights?
  // Under the lock: those of the decoder that is in memory.
  private weak var passes: DecoderPasses?
  package typealias Flights = SingleFlight<String, SessionProgress>
  /// Clips that are being encoded, and prompts up to the last clip that are being read, by what they are kept under.
  package let (encodings, readings) = (Flights(), Flights())
  /// By the clips' keys. Held while they are made: who needs the same ones waits for them.
  private let slowCaches = Mutex<[String: Weak<SlowCaches>]>([:])

  /// No weight is read yet. `available`: bytes of memory that there are for all of it.
  package init(
    _ model: VideoLanguageModel, options: SessionOptions, available: Int? = MemoryPlan.availableBytes()
  ) throws(SlowFastError) {
    try options.validate()
    self.model = model
    self.options = options
    var config = model.config
    config.fastTokens.frameLimit = options.fastFrames
    self.config = config
    if let cache = options.clipCache {
      store = try ClipCache(cache)
    } else {
      store = options.clipMemory.map { MemoryClipStore(limit: $0) }
    }
    if let clips = options.clipCache?.directory, let frames = options.streamCache, let status = FileStatus(path: clips),
      FileStatus(path: frames)?.isSameFile(as: status) == true
    {
      // Each would make room at the other's cost.
      throw .badOption("streamCache", found: frames.escaped(), expected: "another directory than that of the clips")
    }
    liveFrames = try options.streamCache.map { (directory) throws(SlowFastError) in try ClipCache(emptying: directory) }
    decodingLimit = MemoryPlan.availableBytes().map { $0 / 4 }
    let (schema, source) = (model.source.schema, model.source)
    remembersEqualBranches =
      !options.keepsWeights
      && source.residentBytes(schema.visionNames) + TowerBranches.byteCount(schema.tower, threshold: 0)
        + (schema.tower.mapFloats + schema.tower.scratchFloats) * MemoryLayout<Float>.stride <= source.residentBytes(schema.decoderNames)
    if options.reuse > 0, schema.tower.branchValues == 0 {
      throw .badOption(
        "reuse", found: "\(options.reuse)", expected: "0: this model's tower is no ConvNeXt, and has no branches to take again")
    }
    let pool = ThreadPool(threadCount: options.threads)
    engine = try classified { () throws(ComputeError) in
      try Engine(pool: pool, kernels: try options.kernels.map { name throws(ComputeError) in try KernelChoice.kernels(named: name) })
    }
    // Of one question about one clip, with a text of some length.
    let plan = MemoryPlan(
      source: source, config: config, clips: [.clip(frames: model.defaultFrameCount)], decoding: [], decodingLimit: nil, textTokens: 256,
      maximumAnswerTokens: model.generationDefaults.maximumTokens,
      cacheType: options.cacheBits.flatMap { KeyValueType(bits: $0) } ?? model.cacheType, reuse: options.reuse, kernels: engine.kernels,
      threads: pool.threadCount)
    bytesOfBoth = plan.bytesOfBoth + (options.clipMemory ?? 0)
    turns = options.keepsWeights && bytesOfBoth > available ?? .max ? WeightTurns() : nil
  }

  /// Where clips, and prompts up to the last of them, are kept; nil: nowhere.
  package func store(isLive: Bool) -> (any ClipStore)? { isLive ? liveStore : store }

  /// Where frames are kept that serve more than one clip; nil: nowhere.
  package func frameStore(isLive: Bool) -> (any ClipStore)? { isLive ? liveFrames ?? liveStore : store }

  /// Tower and projector with memory to work in, for one user at a time: to be given back.
  package func takeVision(
    _ times: inout StageTimes, _ progress: @escaping ProgressHandler, isCancelled: () -> Bool
  ) throws(SlowFastError) -> VisionModel {
    try enter(.vision, isCancelled: isCancelled)
    if let spare = exchangeSpareVision(nil) { return spare }
    do throws(SlowFastError) {
      return try times.measure(\.loadVision) { () throws(SlowFastError) in
        try VisionModel(model.residency.visionWeights(pool: pool, progress))
      }
    } catch {
      turns?.leave()
      throw error
    }
  }

  /// Takes what `takeVision` gave, if it has.
  package func giveBack(_ vision: inout VisionModel?) {
    if vision == nil { return }
    if options.keepsWeights { _ = exchangeSpareVision(vision) }
    // Before the others' turn comes.
    vision = nil
    turns?.leave()
  }

  /// While `body` runs the decoder may be in memory.
  package func withDecoder<T>(
    isCancelled: () -> Bool, _ body: () throws(SlowFastError) -> T
  ) throws(SlowFastError) -> T {
    try enter(.decoder, isCancelled: isCancelled)
    defer { turns?.leave() }
    return try body()
  }

  private func enter(_ part: WeightTurns.Part, isCancelled: () -> Bool) throws(SlowFastError) {
    try turns?.enter(part, isCancelled: isCancelled) { other in
      switch other {
      case .vision: _ = exchangeSpareVision(nil)
      case .decoder:
        let passes = lock.withLock { _ in
          keptDecoder = nil
          return self.passes
        }
        passes?.letGo()
      }
    }
  }

  private func exchangeSpareVision(_ vision: VisionModel?) -> VisionModel? {
    var spare: VisionModel?
    lock.withLock { _ in (spare, spareVision) = (spareVision, vision) }
    return spare
  }

  /// Passes through the decoder, the same for all that hold them at one time. It is in memory for as long as somebody does, or this with
  /// `keepsWeights`.
  package func decoderPasses(_ times: inout StageTimes, _ progress: @escaping ProgressHandler) throws(SlowFastError) -> DecoderPasses {
    let weights = try times.measure(\.loadDecoder) { () throws(SlowFastError) in
      try model.residency.decoderWeights(pool: pool, progress)
    }
    return try lock.withLock { _ throws(SlowFastError) in
      if options.keepsWeights { keptDecoder = weights }
      if let passes, passes.adopts(weights) { return passes }
      let made = DecoderPasses(weights, embedding: try model.source.makeEmbeddingTable(), engine: engine)
      passes = made
      return made
    }
  }

  /// Keys and values of the clips' slow tokens: those that another conversation about the same clips has, or new ones. Where clips are kept
  /// nowhere they have no keys, and nothing is shared.
  package func slowCaches(
    _ keys: [CacheKey], make: () throws(SlowFastError) -> SlowCaches?
  ) throws(SlowFastError) -> SlowCaches? {
    guard !keys.isEmpty else { return try make() }
    let name = keys.map(\.text).joined(separator: "\n")
    return try slowCaches.withLock { known throws(SlowFastError) in
      if let caches = known[name]?.value { return caches }
      let made = try make()
      known = known.filter { $0.value.value != nil }
      known[name] = made.map { Weak(value: $0) }
      return made
    }
  }
}

extension RunContext {
  /// A moment of waiting for what another conversation does, with the news of it.
  static func pause(
    _ news: SessionProgress?, _ progress: ProgressHandler, _ isCancelled: () -> Bool
  ) throws(SlowFastError) {
    if isCancelled() { throw .cancelled }
    if let news { progress(news) }
    usleep(20_000)
  }
}

private struct Weak<Value: AnyObject> {
  weak var value: Value?
}

// MARK: Memory

extension RunContext {
  /// What a run of these clips and this question will need. Clips are opened for it, to know how large their pictures are.
  package func plan(
    _ sources: [ClipSource], sampling: SamplingRequest, question: String, maximumTokens: Int
  ) -> MemoryPlan {
    planned(sources.map { SampledClip($0, sampling) }, question: question, maximumTokens: maximumTokens).plan
  }

  /// The same of clips that take their frames in different ways, after what a conversation begins with.
  package func plan(_ clips: [SampledClip], _ opening: PromptOpening, question: String, maximumTokens: Int) -> MemoryPlan {
    planned(clips, opening, question: question, maximumTokens: maximumTokens).plan
  }

  /// Throws when a run exceeds the memory there is; the error tells what would help, and by how much.
  package func checkMemory(
    _ sources: [ClipSource], sampling: SamplingRequest, question: String, maximumTokens: Int, available: Int?
  ) throws(SlowFastError) {
    let wish = planned(sources.map { SampledClip($0, sampling) }, question: question, maximumTokens: maximumTokens)
    guard let available, wish.plan.peakBytes > available else { return }
    throw .notEnoughMemory(
      needed: wish.plan.peakBytes, available: available, plan: wish.plan.summary, help: help(wish, sampling, maximumTokens, available))
  }

  /// A plan, and the same for other frames, answers and threads.
  private struct Planned {
    var plan: MemoryPlan
    var remade: (_ frames: Int, _ tokens: Int, _ threads: Int) -> MemoryPlan
  }

  private func planned(
    _ sampled: [SampledClip], _ opening: PromptOpening = PromptOpening(), question: String, maximumTokens: Int
  ) -> Planned {
    // What cannot be opened is told when it is decoded.
    let decoding = sampled.compactMap { clip -> DecodingMemory? in
      guard case .visual(let visual) = clip.source else { return nil }
      return try? visual.decodingMemory()
    }
    let (alone, side) = (sampled.map(\.source).haveOnePicture, model.source.schema.tower.outputSide)
    let shown = sampled.map { config.shown($0.source, $0.sampling, isAlone: alone, towerSide: side) }
    // Texts between views are more for more of them.
    let isFixed = config.promptTemplate.views == nil
    let fixed = firstPrompt(question, shown.map { config.place($0, towerSide: side) }, opening).pieces(model.tokenizer).textCount
    let remade = { [self] (frames: Int, tokens: Int, threads: Int) -> MemoryPlan in
      let clips = zip(sampled, shown).map { clip, shown in
        guard case .clip = shown else { return shown }
        var clip = clip
        clip.sampling.frames = min(clip.sampling.frames, frames)
        return Shown.clip(frames: clip.mostFrames)
      }
      let text =
        isFixed ? fixed : firstPrompt(question, clips.map { config.place($0, towerSide: side) }, opening).pieces(model.tokenizer).textCount
      return MemoryPlan(
        source: model.source, config: config, clips: clips, decoding: decoding, decodingLimit: decodingLimit, textTokens: text,
        maximumAnswerTokens: min(tokens, model.config.maximumPositions), cacheType: cacheType, reuse: options.reuse,
        kernels: engine.kernels, threads: threads)
    }
    return Planned(plan: remade(Int.max, maximumTokens, pool.threadCount), remade: remade)
  }

  /// Each change that makes the run smaller, with what it then takes: as little of it as fits, or the most that can be had of it.
  private func help(_ wish: Planned, _ sampling: SamplingRequest, _ tokens: Int, _ available: Int) -> [String] {
    let (frames, threads) = (sampling.frames, pool.threadCount)
    let choices: [(most: Int, plan: (Int) -> MemoryPlan, words: (Int) -> String)] = [
      (frames, { wish.remade($0, tokens, threads) }, { "\($0) frame\($0 == 1 ? "" : "s") of a clip" }),
      (threads, { wish.remade(frames, tokens, $0) }, { "\($0) thread\($0 == 1 ? "" : "s")" }),
      (tokens, { wish.remade(frames, $0, threads) }, { "answers of at most \($0) token\($0 == 1 ? "" : "s")" }),
    ]
    var help: [String] = []
    for choice in choices where choice.most > 1 {
      var (low, high) = (1, choice.most - 1)
      while low < high {
        let middle = (low + high + 1) / 2
        if choice.plan(middle).peakBytes <= available { low = middle } else { high = middle - 1 }
      }
      let bytes = choice.plan(low).peakBytes
      // Less than a hundredth is no help.
      if bytes < wish.plan.peakBytes / 100 * 99 { help.append("\(formatBytes(bytes)) with \(choice.words(low))") }
    }
    let schema = model.source.schema
    let weights = schema.requirements.filter { schema.decoderNames.contains($0.name) }.reduce(0) { $0 + $1.shape.reduce(1, *) }
    var small = wish.plan
    for bits in [4, 3] {
      // Codes, and a scale for each group.
      small.decoderWeightBytes = weights * bits / 8 + weights / 32
      guard small.peakBytes <= available || bits == 3 else { continue }
      let bytes = small.peakBytes
      if bytes < wish.plan.peakBytes / 10 * 9 { help.append("about \(formatBytes(bytes)) with weights of \(bits) bits") }
      break
    }
    return help
  }
}
