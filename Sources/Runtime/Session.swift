import Compute
import Models
import Support
import Video

/// One clip, or several, and a conversation about them. Not for two threads at once.
public final class Session {
  /// What answers.
  public let model: VideoLanguageModel
  /// As they were when the session was made.
  public let options: SessionOptions
  package let context: RunContext
  package private(set) var conversation: Conversation

  /// Of the clips that are watched, and of the last question.
  public package(set) var statistics: RunStatistics {
    get { conversation.statistics }
    set { conversation.statistics = newValue }
  }
  /// What decoding reported, one for each clip.
  public var samplingReports: [SamplingReport] { conversation.clips.map(\.info.report) }
  /// Which tokens read the slow tokens.
  public var slowAttention: SlowAttention { context.slowAttention }

  /// A session on a model; no weight is read yet.
  public init(_ model: VideoLanguageModel, options: SessionOptions = SessionOptions()) throws(SlowFastError) {
    self.model = model
    self.options = options
    context = try RunContext(model, options: options)
    conversation = Conversation(context.nothingWatched, in: context)
  }

  /// Encodes clips; forgets what was there before. The tower is loaded for it and given back at the end. With a clip cache, what it has of
  /// the clips is not computed again.
  public func watch(
    _ sources: [ClipSource], sampling: SamplingRequest, progress: @escaping ProgressHandler = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) throws(SlowFastError) {
    try watch(sources.map { SampledClip($0, sampling) }, progress: progress, isCancelled: isCancelled, observer: nil)
  }

  /// An observer wants to see everything, so nothing of it comes from a cache.
  package func watch(
    _ clips: [SampledClip], progress: @escaping ProgressHandler = { _ in }, isCancelled: @escaping @Sendable () -> Bool,
    observer: (any ClipObserver)?
  ) throws(SlowFastError) {
    // What was there gives its memory back first.
    conversation = Conversation(context.nothingWatched, in: context)
    let watched = try context.watch(clips, PromptOpening(), progress: progress, isCancelled: isCancelled, observer: observer)
    conversation = Conversation(watched, in: context)
  }

  /// Asks about the clips; a further question continues the conversation. `onText` gets the answer piece by piece, in whole characters,
  /// and says whether to go on; before it `onTokens` gets the probabilities of the tokens that the piece is of, where they are asked for.
  /// When this throws, the conversation is as it was before.
  public func ask(
    _ question: String, options: GenerationOptions, progress: @escaping ProgressHandler = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }, onTokens: ([TokenProbability]) -> Void = { _ in },
    onText: (String) -> Bool = { _ in true }
  ) throws(SlowFastError) -> Answer {
    try conversation.ask(question, options: options, progress: progress, isCancelled: isCancelled, onTokens: onTokens, onText: onText)
  }

  /// Forgets the conversation and keeps the clips: the next question is answered as the first.
  public func startOver() { conversation.startOver() }

  /// What a run of these clips and this question will need. Clips are opened for it, to know how large their pictures are.
  public func plan(
    _ sources: [ClipSource], sampling: SamplingRequest, question: String, maximumTokens: Int
  ) -> MemoryPlan {
    context.plan(sources, sampling: sampling, question: question, maximumTokens: maximumTokens)
  }

  /// Throws when a run exceeds the memory there is; the error tells what would help, and by how much.
  public func checkMemory(
    _ sources: [ClipSource], sampling: SamplingRequest, question: String, maximumTokens: Int, available: Int? = MemoryPlan.availableBytes()
  ) throws(SlowFastError) {
    try context.checkMemory(sources, sampling: sampling, question: question, maximumTokens: maximumTokens, available: available)
  }
}

extension Session {
  /// Throws what is known of a first question before its clips are encoded: `promptTooLong` where the number of frames does not depend on
  /// the clips, `invalidPrompt` where a whole prompt shows more or fewer than there are.
  public func checkPrompt(_ question: String, about sources: [ClipSource], sampling: SamplingRequest) throws(SlowFastError) {
    try context.checkPrompt(question, about: sources.map { SampledClip($0, sampling) })
  }
}

/// How a session computes.
public struct SessionOptions: Sendable {
  /// nil: as many threads as processors.
  public var threads: Int?
  /// The instruction set by name, `portable`, `avx2`, …; nil takes the best, or what `SLOWFAST_KERNELS` names.
  public var kernels: String?
  /// Which tokens read the slow tokens; nil: as the model says.
  public var slowAttention: SlowAttention?
  /// Of towers that are convolutions (ConvNeXt): where the input of a block has changed by less than this since the block was last computed
  /// there, what it made is taken again. The change is the root mean square over the channels, each in units of its own spread. 0, the
  /// default, takes again what would be the same to the bit. Others are for cameras that stand and for screens: 0.05 to 0.1.
  public var reuse = 0.0
  /// Where to keep what clips become; nil: nowhere.
  public var clipCache: ClipCacheOptions?
  /// Where clips are kept nowhere else: bytes of this process's memory to keep them in, those not used for longest go first; nil: none.
  public var clipMemory: Int?
  /// A directory for what the newest frames of sources that go on become; nil: that is in memory. It is this process's alone, has room for
  /// the frames of windows, and is empty when nothing is watched. A disk is written to with every frame that changes.
  public var streamCache: String?
  /// Keep the tower's and the decoder's weights between clips instead of giving each back when the other is needed: faster for many
  /// clips, and takes the memory of both. Where that is not there each stays until the other is needed.
  public var keepsWeights = false

  /// The most frames whose fast tokens stand in the prompt, for clips of many frames: more are averaged together than the model's own way
  /// has it; nil: its own way. Of no meaning where all tokens stand in the prompt.
  public var fastFrames: Int?
  /// Bits of keys, values and slow tokens: 8, 16 or 32; nil: 16 beside quantized weights, else 32.
  public var cacheBits: Int?
  /// Questions are whole prompts, turns and marks of the model's own included, that say `<image>` or `<video>` where each clip stands.
  public var takesWholePrompts = false
  /// Special tokens that somebody writes in what is said are the characters that they are written with, so that no question can end its
  /// turn or speak for the system; else they are special tokens, as with the published code.
  public var marksAreText = false
  /// What the system says first, in place of the model's own; empty: nothing.
  public var system: String?

  /// All threads, the best kernels, the model's slow attention, no cache.
  public init() {}

  /// Throws `badOption` for a value out of range.
  public func validate() throws(SlowFastError) {
    if !(0...1).contains(reuse) { throw .badOption("reuse", found: "\(reuse)", expected: "0 to 1") }
    if let fastFrames, !(1...Limits.frames).contains(fastFrames) {
      throw .badOption("fastFrames", found: "\(fastFrames)", expected: "1 to \(Limits.frames)")
    }
    if let cacheBits, KeyValueType(bits: cacheBits) == nil {
      throw .badOption("cacheBits", found: "\(cacheBits)", expected: "8, 16 or 32")
    }
    if let clipMemory, clipMemory < 1 { throw .badOption(name: "the memory for clips", found: "\(clipMemory)", expected: "more than 0") }
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
