import Architecture
import Compute
import Kernels
import Parallel
import Tokenizer
import Video

/// How a session computes.
public struct SessionOptions: Sendable {
  /// nil: as many threads as processors.
  public var threads: Int?
  /// The instruction set by name, `portable`, `avx2`, …; nil takes the best, or what `SLOWFAST_KERNELS` names.
  public var kernels: String?
  public var slowAttention: SlowAttention = .prompt

  public init() {}
}

/// What a session is doing, for progress displays.
public enum SessionProgress: Sendable, Equatable {
  /// Reading weights: bytes done and bytes in all.
  case loading(Int, of: Int)
  /// A frame has been decoded.
  case decoding(frame: Int, of: Int)
  /// A frame has been through the tower.
  case encoding(frame: Int, of: Int)
  case prefilling(token: Int, of: Int)
}

public typealias ProgressHandler = @Sendable (SessionProgress) -> Void

/// One clip, or several, and a conversation about them. Not for two threads at once.
public final class Session {
  public let model: VideoLanguageModel
  public let options: SessionOptions
  public private(set) var statistics = RunStatistics()
  /// What decoding reported, one for each clip.
  public private(set) var samplingReports: [SamplingReport] = []

  let engine: Engine
  let pool: ThreadPool
  private var clips: [SlowFastTokens] = []
  private var generator: Generator?
  private var conversation = Conversation()

  /// Where the conversation stands: what the cache must hold before the next question.
  private struct Conversation {
    /// The cache holds this many tokens of prompts that are final.
    var settled = 0
    /// The last answer, without its stop token.
    var answer: [Int32]?
  }

  public init(_ model: VideoLanguageModel, options: SessionOptions = SessionOptions()) throws(SlowFastError) {
    self.model = model
    self.options = options
    let pool = ThreadPool(threadCount: options.threads)
    self.pool = pool
    engine = try compute { () throws(ComputeError) in
      try Engine(pool: pool, kernels: try options.kernels.map { name throws(ComputeError) in try KernelChoice.kernels(named: name) })
    }
    statistics.kernels = engine.kernels.name
    statistics.threads = pool.threadCount
  }

  // MARK: Clips

  /// Encodes clips; forgets what was there before. The tower is loaded for it and given back at the end.
  public func watch(
    _ sources: [ClipSource], sampling: SamplingRequest, progress: @escaping ProgressHandler = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) throws(SlowFastError) {
    try watch(sources, sampling: sampling, progress: progress, isCancelled: isCancelled, recorder: nil)
  }

  func watch(
    _ sources: [ClipSource], sampling: SamplingRequest, progress: @escaping ProgressHandler = { _ in }, isCancelled: @escaping @Sendable () -> Bool,
    recorder: TraceRecorder?
  ) throws(SlowFastError) {
    clips = []
    samplingReports = []
    generator = nil
    conversation = Conversation()
    guard !sources.isEmpty else { return }
    let weights = model.source
    try statistics.times.measure(\.loadVision) { () throws(SlowFastError) in
      try weights.preload(weights.schema.visionNames, pool: pool) { progress(.loading($0, of: $1)) }
    }
    let vision = try VisionModel(weights)
    let total = sources.reduce(0) { $0 + $1.frameCount(sampling) }
    var done = 0
    for source in sources {
      let encoder = try ClipEncoder(vision, frames: source.frameCount(sampling), engine: engine)
      if let recorder { encoder.observer = recorder.add(features:projected:) }
      let feed = FrameFeed(source: source, sampling: sampling, preprocessing: model.preprocessing, threads: pool.threadCount)
      let report = try feed.forEach(times: &statistics.times, isCancelled: isCancelled) { (frame: FrameFeed.Event, times: inout StageTimes) throws(SlowFastError) in
        switch frame {
        case .pixels(let pixels):
          progress(.decoding(frame: done + 1, of: total))
          recorder?.add(pixels: pixels)
          try encoder.encode(pixels, times: &times, isCancelled: isCancelled)
        case .repeated:
          recorder?.repeatFrame()
          encoder.repeatFrame()
        case .restart:
          recorder?.restart()
          done -= encoder.encodedFrames
          encoder.restart()
          return
        }
        done += 1
        progress(.encoding(frame: done, of: total))
      }
      samplingReports.append(report)
      statistics.decodedFrames += report.decodedFrames
      statistics.warnings += report.warnings
      let tokens = try encoder.finish()
      recorder?.finishClip(tokens)
      clips.append(tokens)
    }
    statistics.frames = total
    statistics.fastTokens = clips.reduce(0) { $0 + $1.fast.rows }
    statistics.slowTokens = clips.reduce(0) { $0 + $1.slow.rows }
  }

  // MARK: Questions

  /// Asks about the clips; a further question continues the conversation. `onText` gets the answer piece by piece, in whole characters,
  /// and says whether to go on. When this throws, the conversation is as it was before.
  public func ask(
    _ question: String, options: GenerationOptions, progress: @escaping ProgressHandler = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }, onText: (String) -> Bool = { _ in true }
  ) throws(SlowFastError) -> Answer {
    try options.validate()
    // With `prompt` attention the published code would read the whole conversation anew, earlier answers as text that reads the slow
    // tokens: so the answer goes out of the cache and into the prompt. With `all` the cache already holds what that would compute.
    let limit = self.options.slowAttention == .prompt ? conversation.settled : generator?.position ?? 0
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

    // Statistics are the last question's.
    statistics.promptTokens = prompt.tokenCount
    (statistics.times.prefill, statistics.times.generate) = (0, 0)
    let first = try statistics.times.measure(\.prefill) { () throws(SlowFastError) in
      try generator.prefill(prompt) { progress(.prefilling(token: $0, of: prompt.tokenCount)) }
    }
    let answer: Answer
    do throws(SlowFastError) {
      answer = try statistics.times.measure(\.generate) { () throws(SlowFastError) in
        try generate(after: first, on: generator, options: options, isCancelled: isCancelled, onText: onText)
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

  private func generate(
    after first: UnsafeBufferPointer<Float>, on generator: Generator, options: GenerationOptions, isCancelled: @escaping @Sendable () -> Bool,
    onText: (String) -> Bool
  ) throws(SlowFastError) -> Answer {
    var sampler = Sampler(options)
    var decoder = StreamDecoder(model.tokenizer, skipSpecial: true)
    var answer = Answer()
    var logits = first
    let room = min(options.maximumTokens, generator.capacity - generator.position, model.config.maximumPositions - generator.position)
    while answer.tokens.count < room {
      let token = sampler.next(logits)
      if options.stopTokens.contains(token) {
        answer.endReason = .stopToken
        break
      }
      answer.tokens.append(token)
      let text = decoder.append(token)
      answer.text += text
      if !text.isEmpty, !onText(text) {
        answer.endReason = .stoppedByCaller
        break
      }
      if isCancelled() { throw .cancelled }
      if answer.tokens.count < room { logits = try generator.step(token) }
    }
    let rest = decoder.finish()
    answer.text += rest
    if !rest.isEmpty { _ = onText(rest) }
    return answer
  }

  /// The tokens that the next question adds: the whole prompt at first, later the last answer's end and the new turn.
  /// `cached` tokens of that answer are in the cache already.
  func makePrompt(_ question: String, cached: Int) throws(SlowFastError) -> Prompt {
    let chat = ChatPrompt(marksImages: model.config.usesImageStartEnd)
    guard let answer = conversation.answer else {
      var fast = clips.map(\.fast).makeIterator()
      let pieces = chat.adding(user: question, images: clips.count).pieces(model.tokenizer).map { piece in
        switch piece {
        case .tokens(let ids): Prompt.Piece.text(ids)
        case .image: fast.next().map(Prompt.Piece.visual) ?? .text([])
        }
      }
      return Prompt(pieces: pieces)
    }
    var ids = Array(answer.dropFirst(cached))
    for case .tokens(let further) in chat.piecesForFurtherQuestion(question, model.tokenizer) { ids += further }
    return Prompt(pieces: [.text(ids)], followsVisual: !clips.isEmpty)
  }

  /// The decoder, loaded when the first question comes.
  func readyGenerator(capacity: Int, progress: @escaping ProgressHandler) throws(SlowFastError) -> Generator {
    if let generator { return generator }
    let source = model.source
    let decoder = try statistics.times.measure(\.loadDecoder) { () throws(SlowFastError) in
      try source.preload(source.schema.decoderNames, pool: pool) { progress(.loading($0, of: $1)) }
      return try HybridDecoder(source)
    }
    let slow = try joinedSlowTokens()
    let generator = try statistics.times.measure(\.crossKeyValues) { () throws(SlowFastError) in
      try Generator(
        decoder: decoder, embedding: try source.makeEmbeddingTable(), slow: slow, capacity: capacity,
        cacheType: model.cacheType, slowAttention: options.slowAttention, engine: engine)
    }
    self.generator = generator
    return generator
  }

  /// Several clips' slow tokens follow each other.
  private func joinedSlowTokens() throws(SlowFastError) -> Matrix? {
    guard clips.count > 1, let first = clips.first else { return clips.first?.slow }
    let rows = clips.reduce(0) { $0 + $1.slow.rows }
    let joined = try compute { () throws(ComputeError) in try Matrix(rows: rows, columns: first.slow.columns) }
    var start = 0
    for clip in clips {
      joined[rows: start..<start + clip.slow.rows].copy(from: clip.slow)
      start += clip.slow.rows
    }
    return joined
  }
}

/// What the model said.
public struct Answer: Sendable, Equatable {
  public enum EndReason: String, Sendable, Codable {
    case stopToken, maximumTokens, stoppedByCaller
  }
  public var text = ""
  /// Without the stop token.
  public var tokens: [Int32] = []
  public var endReason = EndReason.maximumTokens
}
