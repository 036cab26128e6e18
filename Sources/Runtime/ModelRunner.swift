import Dispatch
import Models
import Support
import Synchronization
import Tokenizer
import Video

/// What happens while a question is answered.
public enum AnswerEvent: Sendable {
  /// Where the work is.
  case progress(SessionProgress)
  /// How likely the tokens of the next piece were, where `GenerationOptions.topLogProbabilities` asks.
  case tokens([TokenProbability])
  /// The next piece of the answer, in whole characters.
  case text(String)
  /// The last one: the whole answer, and what it took.
  case finished(Answer, RunStatistics)
}

/// What happens while clips are prepared.
public enum PreparationEvent: Sendable {
  /// Where the work is.
  case progress(SessionProgress)
  /// The last one: what it took.
  case finished(RunStatistics)
}

/// What somebody says in a conversation, and what a user shows.
public struct ChatMessage: Sendable {
  /// A piece of a message.
  public enum Part: Sendable {
    /// What is said.
    case text(String)
    /// What is shown, and which frames of it are taken; nil: as the conversation takes them.
    case clip(ClipSource, SamplingRequest?)
  }
  /// Who speaks.
  public enum Role: String, Sendable {
    /// Says how the model is to answer.
    case system
    /// Shows and asks.
    case user
    /// The model.
    case assistant

    fileprivate var turn: ChatPrompt.Turn.Role {
      switch self {
      case .system: .system
      case .user: .user
      case .assistant: .assistant
      }
    }
  }
  /// Who says it.
  public var role: Role
  /// What is said and shown. Where a model's published template keeps the order, it is kept; else what is shown stands before what is said.
  public var parts: [Part]

  /// A message of these parts.
  public init(_ role: Role, _ parts: [Part]) { (self.role, self.parts) = (role, parts) }

  /// A message, with what it shows before its text.
  public init(_ role: Role, _ text: String, clips: [ClipSource] = []) {
    self.init(role, clips.map { .clip($0, nil) } + [.text(text)])
  }
}

extension [ChatMessage.Part] {
  fileprivate var turnParts: [ChatPrompt.Turn.Part] {
    map { part in
      switch part {
      case .text(let text): .text(text)
      case .clip: .image
      }
    }
  }

  fileprivate func clips(_ sampling: SamplingRequest) -> [SampledClip] {
    compactMap { part in if case .clip(let source, let own) = part { SampledClip(source, own ?? sampling) } else { nil } }
  }
}

/// One model that holds several conversations at once, from any task. They share its weights and take turns at computing, a token of an
/// answer or a layer of a prompt each, so that none waits for another's end; what each says is the same as if it were alone.
public final class ModelRunner: Sendable {
  /// What answers.
  public let model: VideoLanguageModel
  /// As they were when the runner was made.
  public var options: SessionOptions { context.options }
  package let context: RunContext

  /// No weight is read yet. Threads, kernels, the clip cache and `keepsWeights` are the whole runner's.
  public convenience init(_ model: VideoLanguageModel, options: SessionOptions = SessionOptions()) throws(SlowFastError) {
    try self.init(model, options: options, available: MemoryPlan.availableBytes())
  }

  /// `available`: bytes of memory that there are for all of it.
  package init(_ model: VideoLanguageModel, options: SessionOptions, available: Int?) throws(SlowFastError) {
    self.model = model
    context = try RunContext(model, options: options, available: available)
  }

  /// With `keepsWeights`: tower and decoder are in memory one at a time, for there was no room for both when the runner was made.
  public var weightsTakeTurns: Bool { context.turns != nil }
  /// Bytes for which tower and decoder are in memory together: theirs, of a question about a clip, and `SessionOptions.clipMemory`.
  public var bytesOfBoth: Int { context.bytesOfBoth }

  /// A conversation about clips, or about none. They are watched when the first question comes, as the model's own number of frames unless
  /// `sampling` says otherwise. Its keys and values go when nobody holds it any more.
  public func conversation(about sources: [ClipSource] = [], sampling: SamplingRequest? = nil) -> ClipConversation {
    ClipConversation(context, ConversationStart(sources.map { SampledClip($0, sampling ?? model.defaultSampling) }))
  }

  /// A conversation in which `messages` were said before, for who keeps conversations himself, as OpenAI's clients do; its first question
  /// shows `sources`. Throws `badOption` where another than a user shows something.
  public func conversation(
    after messages: [ChatMessage], about sources: [ClipSource] = [], sampling: SamplingRequest? = nil
  ) throws(SlowFastError) -> ClipConversation {
    try conversation(after: messages, showing: sources.map { .clip($0, nil) }, sampling: sampling)
  }

  /// The same with a first question that shows and says more than it asks in the end: `shown` stands before what is asked.
  ///
  /// - Parameters:
  ///   - sampling: Of clips that say none of their own; nil: the model's own.
  ///   - slowAttention: Which tokens read the slow tokens; nil: as the runner's options say.
  public func conversation(
    after messages: [ChatMessage], showing shown: [ChatMessage.Part], sampling: SamplingRequest? = nil, slowAttention: SlowAttention? = nil
  ) throws(SlowFastError) -> ClipConversation {
    ClipConversation(context, try start(messages, shown, sampling), slowAttention)
  }

  private func start(
    _ messages: [ChatMessage], _ shown: [ChatMessage.Part], _ sampling: SamplingRequest?
  ) throws(SlowFastError) -> ConversationStart {
    let sampling = sampling ?? model.defaultSampling
    for message in messages where message.role != .user && !message.parts.clips(sampling).isEmpty {
      throw .badOption(name: "a message that shows something", found: message.role.rawValue, expected: "a user's")
    }
    return ConversationStart(
      messages.flatMap { $0.parts.clips(sampling) } + shown.clips(sampling),
      PromptOpening(history: messages.map { ChatPrompt.Turn($0.role.turn, $0.parts.turnParts) }, shown: shown.turnParts))
  }

  /// Does ahead of the first question what a conversation about these clips begins with, and keeps it: encodes them, and reads the prompt
  /// up to the last. Answers that are made meanwhile go first; a question about the same clips waits for it, and then it is done as that
  /// question is. Throws `badOption` where the runner keeps clips nowhere.
  ///
  /// The stream ends after `finished`, or throws a `SlowFastError`. When the task that reads it is cancelled, or nobody reads it any more,
  /// the work stops, and frames that are encoded are kept.
  public func prepare(
    _ sources: [ClipSource], sampling: SamplingRequest? = nil
  ) throws(SlowFastError) -> AsyncThrowingStream<PreparationEvent, any Error> {
    guard context.store != nil else {
      throw .badOption(name: "where clips are kept", found: "nowhere", expected: "clipCache or clipMemory")
    }
    let (context, sampling) = (context, sampling ?? model.defaultSampling)
    return AsyncThrowingStream { continuation in
      let stop = StopMark()
      continuation.onTermination = { _ in stop.set() }
      DispatchQueue(label: "slowfast.preparation").async {
        do throws(SlowFastError) {
          let progress: ProgressHandler = { continuation.yield(.progress($0)) }
          if !context.options.takesWholePrompts { try context.checkPrompt("", about: sources.map { SampledClip($0, sampling) }) }
          let watched = try context.watch(
            sources.map { SampledClip($0, sampling) }, PromptOpening(), isAhead: true, progress: progress, isCancelled: { stop.isSet },
            observer: nil)
          let conversation = Conversation(watched, in: context)
          // What is kept already need not be read.
          if watched.prefix == nil { try conversation.readClips(progress: progress, isCancelled: { stop.isSet }) }
          continuation.yield(.finished(conversation.statistics))
          continuation.finish()
        } catch { continuation.finish(throwing: error) }
      }
    }
  }

  /// What one of the conversations will need, as if it were alone. Clips are opened for it, to know how large their pictures are.
  public func plan(
    _ sources: [ClipSource], sampling: SamplingRequest, question: String, maximumTokens: Int
  ) -> MemoryPlan {
    context.plan(sources, sampling: sampling, question: question, maximumTokens: maximumTokens)
  }

  /// The same of a question about a clip that is not there yet, of so many frames; nil: the model's own number.
  public func plan(frames: Int? = nil, maximumTokens: Int? = nil) -> MemoryPlan {
    let frame = RGBImage(checkedWidth: 1, height: 1, pixels: [0, 0, 0])
    return context.plan(
      [.frames(Array(repeating: frame, count: max(1, frames ?? model.defaultFrameCount)))], sampling: model.defaultSampling, question: "",
      maximumTokens: maximumTokens ?? model.generationDefaults.maximumTokens)
  }

  /// What a conversation will need that begins after `messages`, as if it were alone.
  public func plan(
    after messages: [ChatMessage], showing shown: [ChatMessage.Part], sampling: SamplingRequest? = nil, question: String, maximumTokens: Int
  ) throws(SlowFastError) -> MemoryPlan {
    let start = try start(messages, shown, sampling)
    return context.plan(start.clips, start.opening, question: question, maximumTokens: maximumTokens)
  }
}

/// What a conversation is about.
struct ConversationStart: Sendable {
  var clips: [SampledClip]
  var opening: PromptOpening

  init(_ clips: [SampledClip], _ opening: PromptOpening = PromptOpening()) { (self.clips, self.opening) = (clips, opening) }
}

/// Questions and answers about clips, beside others on the same model. Questions that are asked at the same time are answered one after the
/// other, each as a continuation of the one before.
public final class ClipConversation: @unchecked Sendable {
  private let context: RunContext
  private let start: ConversationStart
  private let slowAttention: SlowAttention?
  private let queue = DispatchQueue(label: "slowfast.conversation")
  /// On the queue. nil until the clips are watched.
  private var conversation: Conversation?

  init(_ context: RunContext, _ start: ConversationStart, _ slowAttention: SlowAttention? = nil) {
    (self.context, self.start, self.slowAttention) = (context, start, slowAttention)
  }

  /// Asks, with the model's own settings unless `options` says otherwise. The stream ends after `finished`, or throws a `SlowFastError`.
  ///
  /// When the task that reads the stream is cancelled, or nobody reads it any more, the computation stops within a layer's time, the
  /// conversation is as it was before the question, and the stream ends without `finished`. Events wait for a slow reader.
  public func answer(_ question: String, options: GenerationOptions? = nil) -> AsyncThrowingStream<AnswerEvent, any Error> {
    AsyncThrowingStream { continuation in
      let stop = StopMark()
      continuation.onTermination = { _ in stop.set() }
      context.answering.add(1, ordering: .relaxed)
      queue.async { [self] in
        defer { context.answering.subtract(1, ordering: .relaxed) }
        do throws(SlowFastError) {
          if stop.isSet { throw .cancelled }
          let progress: ProgressHandler = { continuation.yield(.progress($0)) }
          let conversation = try begun(question, progress, isCancelled: { stop.isSet })
          let answer = try conversation.ask(
            question, options: options ?? context.model.generationDefaults, progress: progress, isCancelled: { stop.isSet },
            onTokens: { continuation.yield(.tokens($0)) },
            onText: { piece in
              continuation.yield(.text(piece))
              return true
            })
          continuation.yield(.finished(answer, conversation.statistics))
          continuation.finish()
        } catch { continuation.finish(throwing: error) }
      }
    }
  }

  /// Forgets the questions asked so far and keeps the clips: the next one is answered as the first.
  public func startOver() { queue.async { [self] in conversation?.startOver() } }

  private func begun(
    _ question: String, _ progress: @escaping ProgressHandler, isCancelled: @escaping @Sendable () -> Bool
  ) throws(SlowFastError) -> Conversation {
    if let conversation { return conversation }
    try context.checkPrompt(question, about: start.clips, start.opening)
    let watched = try context.watch(
      start.clips, start.opening, progress: progress, isCancelled: isCancelled, observer: nil)
    let made = Conversation(watched, in: context, slowAttention: slowAttention)
    conversation = made
    return made
  }
}

/// Set once, seen by all threads.
private final class StopMark: Sendable {
  private let mark = Atomic(false)
  var isSet: Bool { mark.load(ordering: .relaxed) }
  func set() { mark.store(true, ordering: .relaxed) }
}
