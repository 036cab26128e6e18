import Compute
import Models
import Parallel
import Support
import Tokenizer
import Video

/// How a session computes.
public struct SessionOptions: Sendable {
  /// nil: as many threads as processors.
  public var threads: Int?
  /// The instruction set by name, `portable`, `avx2`, …; nil takes the best, or what `SLOWFAST_KERNELS` names.
  public var kernels: String?
  /// Which tokens read the slow tokens; nil: as the model says.
  public var slowAttention: SlowAttention?
  /// A frame takes over the features of the last one that went through the tower where the bytes of the two, as the model sees them, differ by
  /// less than this in the mean (0 to 255); nil: never.
  public var reuseStatic: Double?
  /// Where to keep what clips become; nil: nowhere.
  public var clipCache: ClipCacheOptions?
  /// Keep the tower's and the decoder's weights between clips instead of giving each back when the other is needed: faster for many
  /// clips, and takes the memory of both.
  public var keepsWeights = false

  /// All threads, the best kernels, the model's slow attention, no cache.
  public init() {}

  /// Throws `badOption` for a value out of range.
  public func validate() throws(SlowFastError) {
    if let reuseStatic, !(reuseStatic > 0 && reuseStatic <= 255) {
      throw .badOption(name: "--reuse-static", found: "\(reuseStatic)", expected: "more than 0 and at most 255")
    }
  }
}

/// What a session is doing, for progress displays.
public enum SessionProgress: Sendable, Equatable {
  /// Reading weights: bytes done and bytes in all.
  case loading(Int, of: Int)
  /// A frame has been decoded.
  case decoding(frame: Int, of: Int)
  /// A frame has been through the tower.
  case encoding(frame: Int, of: Int)
  /// The decoder's hybrid layers make keys and values of the slow tokens: layers done and in all.
  case readingClip(layer: Int, of: Int)
  /// Tokens of the prompt that are read.
  case prefilling(token: Int, of: Int)
  /// Tokens of the answer that are made, and the most that there may be.
  case generating(token: Int, of: Int)
}

/// Told where a session is, on the thread that works: it should return soon.
public typealias ProgressHandler = @Sendable (SessionProgress) -> Void

/// One clip, or several, and a conversation about them. Not for two threads at once.
public final class Session {
  /// What answers.
  public let model: VideoLanguageModel
  /// As they were when the session was made.
  public let options: SessionOptions
  /// Of the clips that are watched, and of the last question.
  public package(set) var statistics = RunStatistics()
  /// What decoding reported, one for each clip.
  public var samplingReports: [SamplingReport] { clips.map(\.info.report) }

  /// Which tokens read the slow tokens.
  public var slowAttention: SlowAttention { options.slowAttention ?? model.generation.slowAttention }

  package let engine: Engine
  package let pool: ThreadPool
  /// Bytes that a decoder's threads may take: a quarter of what there is when the session begins.
  package let decodingLimit: Int?
  package let cache: ClipCache?
  package var clips: [WatchedClip] = []
  /// Of `clips`, where there is a cache.
  package var clipKeys: [CacheKey] = []
  /// Of the clips' files when their keys were made.
  package var clipStates: [ClipFiles] = []
  /// What the cache has of these clips, until the decoder takes it over.
  package var cachedPrefix: CachedPrefix?
  package var generator: Generator?
  /// Where weights are kept between clips.
  package var keptVision: VisionModel?
  private var keptDecoder: HybridDecoder?
  package var conversation = Conversation()

  /// Where the conversation stands: what the decoder's cache must hold before the next question.
  package struct Conversation {
    /// The cache holds this many tokens of prompts that are final.
    package var settled = 0
    /// The last answer, without its stop token.
    package var answer: [Int32]?
  }

  /// Tokens up to the last clip that every conversation begins with and that are in the decoder's cache only.
  package var prefixTokens = 0

  /// A session on a model; no weight is read yet.
  public init(_ model: VideoLanguageModel, options: SessionOptions = SessionOptions()) throws(SlowFastError) {
    try options.validate()
    self.model = model
    self.options = options
    cache = try options.clipCache.map { options throws(SlowFastError) in try ClipCache(options) }
    decodingLimit = MemoryPlan.availableBytes().map { $0 / 4 }
    let pool = ThreadPool(threadCount: options.threads)
    self.pool = pool
    engine = try classified { () throws(ComputeError) in
      try Engine(pool: pool, kernels: try options.kernels.map { name throws(ComputeError) in try KernelChoice.kernels(named: name) })
    }
    statistics.kernels = engine.kernels.name
    statistics.threads = pool.threadCount
  }

  // MARK: Questions

  /// Asks about the clips; a further question continues the conversation. `onText` gets the answer piece by piece, in whole characters,
  /// and says whether to go on. When this throws, the conversation is as it was before.
  public func ask(
    _ question: String, options: GenerationOptions, progress: @escaping ProgressHandler = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }, onText: (String) -> Bool = { _ in true }
  ) throws(SlowFastError) -> Answer {
    try options.validate()
    // Statistics are the last question's.
    (statistics.times.prefill, statistics.times.generate) = (0, 0)
    statistics.cachedPromptTokens = 0
    let read = try settlePrefix(question, options: options, progress: progress, isCancelled: isCancelled)
    // With `prompt` attention the published code would read the whole conversation anew, earlier answers as text that reads the slow
    // tokens: so the answer goes out of the cache and into the prompt. With `all` the cache already holds what that would compute.
    let limit = slowAttention == .prompt ? conversation.settled : generator?.position ?? 0
    let prompt = try makePrompt(question, cached: limit - conversation.settled)
    let config = model.config
    let total = limit + prompt.tokenCount
    guard total <= config.contextLength else { throw .promptTooLong(tokens: total, limit: config.contextLength) }
    let room = min(config.maximumPositions, total + options.maximumTokens)
    let generator = try readyGenerator(capacity: room, progress: progress)
    try generator.reserve(room)
    generator.truncate(to: limit)
    generator.isCancelled = isCancelled
    defer { generator.isCancelled = { false } }

    statistics.promptTokens = prompt.tokenCount + read
    progress(.prefilling(token: 0, of: prompt.tokenCount))
    let first = try statistics.times.measure(\.prefill) { () throws(SlowFastError) in
      try generator.prefill(prompt) { progress(.prefilling(token: $0, of: prompt.tokenCount)) }
    }
    let answer: Answer
    do throws(SlowFastError) {
      answer = try statistics.times.measure(\.generate) { () throws(SlowFastError) in
        try generate(after: first, on: generator, options: options, progress: progress, isCancelled: isCancelled, onText: onText)
      }
    } catch {
      generator.truncate(to: limit)
      throw error
    }
    conversation.settled = total
    conversation.answer = answer.tokens
    statistics.generatedTokens = answer.tokens.count
    return answer
  }

  /// Forgets the conversation and keeps the clips: the next question is answered as the first.
  public func startOver() {
    conversation = Conversation()
    conversation.settled = prefixTokens
    generator?.truncate(to: prefixTokens)
  }

  private func generate(
    after first: UnsafeBufferPointer<Float>, on generator: Generator, options: GenerationOptions, progress: ProgressHandler,
    isCancelled: @escaping @Sendable () -> Bool, onText: (String) -> Bool
  ) throws(SlowFastError) -> Answer {
    var sampler = Sampler(options)
    var decoder = StreamDecoder(model.tokenizer, skipSpecial: true)
    var trimmer = StreamTrimmer()
    var answer = Answer()
    var logits = first
    let room = min(options.maximumTokens, generator.capacity - generator.position, model.config.maximumPositions - generator.position)
    while answer.tokens.count < room {
      // What came of other weights must not be told.
      try model.source.checkUnchanged()
      let token = sampler.next(logits)
      if options.stopTokens.contains(token) {
        answer.endReason = .stopToken
        break
      }
      answer.tokens.append(token)
      let text = trimmer.append(decoder.append(token))
      answer.text += text
      if !text.isEmpty, !onText(text) {
        answer.endReason = .stoppedByCaller
        break
      }
      progress(.generating(token: answer.tokens.count, of: room))
      if isCancelled() { throw .cancelled }
      if answer.tokens.count < room { logits = try generator.step(token) }
    }
    let rest = trimmer.append(decoder.finish())
    answer.text += rest
    if !rest.isEmpty { _ = onText(rest) }
    return answer
  }

  /// The tokens that the next question adds: the whole prompt at first, later the last answer's end and the new turn.
  /// `cached` tokens of that answer are in the cache already.
  package func makePrompt(_ question: String, cached: Int) throws(SlowFastError) -> Prompt {
    let chat = ChatPrompt(marksImages: model.config.usesImageStartEnd)
    guard let answer = conversation.answer else {
      let halves = promptHalves(question)
      let isSettled = conversation.settled > 0
      return Prompt(pieces: isSettled ? halves.after : halves.before + halves.after, followsVisual: isSettled)
    }
    var ids = Array(answer.dropFirst(cached))
    for case .tokens(let further) in chat.piecesForFurtherQuestion(question, model.tokenizer) { ids += further }
    return Prompt(pieces: [.text(ids)], followsVisual: !clips.isEmpty)
  }

  /// The decoder, loaded when the first question comes.
  package func readyGenerator(capacity: Int, progress: @escaping ProgressHandler) throws(SlowFastError) -> Generator {
    if let generator { return generator }
    let source = model.source
    let decoder = try readyDecoder(progress)
    let slow = try joinedSlowTokens()
    let generator = try statistics.times.measure(\.crossKeyValues) { () throws(SlowFastError) in
      try Generator(
        decoder: decoder, embedding: try source.makeEmbeddingTable(), slow: slow, capacity: capacity,
        cacheType: model.cacheType, slowAttention: slowAttention, answerVocabulary: model.answerVocabulary,
        engine: engine, progress: { progress(.readingClip(layer: $0, of: $1)) })
    }
    self.generator = generator
    return generator
  }

  private func readyDecoder(_ progress: @escaping ProgressHandler) throws(SlowFastError) -> HybridDecoder {
    if let keptDecoder { return keptDecoder }
    let source = model.source
    let decoder = try statistics.times.measure(\.loadDecoder) { () throws(SlowFastError) in
      try source.preload(source.schema.decoderNames, pool: pool) { progress(.loading($0, of: $1)) }
      return try HybridDecoder(source)
    }
    if options.keepsWeights { keptDecoder = decoder }
    return decoder
  }

  /// Several clips' slow tokens follow each other.
  private func joinedSlowTokens() throws(SlowFastError) -> Matrix? {
    let slow = clips.compactMap { $0.tokens?.slow }
    guard slow.count > 1 else { return slow.first }
    let rows = slow.reduce(0) { $0 + $1.rows }
    let joined = try classified { () throws(ComputeError) in try Matrix(rows: rows, columns: model.config.hiddenSize) }
    var start = 0
    for part in slow {
      joined[rows: start..<start + part.rows].copy(from: part)
      start += part.rows
    }
    return joined
  }
}

/// What the model said.
public struct Answer: Sendable, Equatable {
  /// Why an answer ends.
  public enum EndReason: String, Sendable, Codable {
    /// The model ended it.
    case stopToken
    /// It may not be longer.
    case maximumTokens
    /// `onText` said so.
    case stoppedByCaller

    /// In words, for people and for output that programs read.
    public var words: String {
      switch self {
      case .stopToken: "stop token"
      case .maximumTokens: "token limit"
      case .stoppedByCaller: "stopped"
      }
    }
  }
  /// Without white space at its ends, as the published code prints it.
  public var text = ""
  /// Without the stop token.
  public var tokens: [Int32] = []
  /// Why it ends.
  public var endReason = EndReason.maximumTokens
}
