import SlowFast
import Synchronization

/// How requests come to the model: the one place where what is asked over HTTP becomes calls of the library.
final class Answering: Sendable {
  let model: VideoLanguageModel
  let name: String
  let options: ServerOptions
  let uploads: Uploads
  let metrics: Metrics
  let streams: Streams
  let runner: ModelRunner
  private let admission: Admission
  /// Files that are fetched at a time.
  let fetches: Admission
  /// Pictures of what was uploaded or is watched that are made at a time.
  let sheets: Admission
  let bodies: BodyMemory
  private let held: HeldConversations
  /// Bits of a weight in memory, in the mean; nil: of a checkpoint.
  fileprivate let bits: Double?

  init(_ model: VideoLanguageModel, _ options: ServerOptions) throws(SlowFastError) {
    self.model = model
    self.options = options
    let file = model.path.split(separator: "/").last.map(String.init) ?? model.path
    name = options.name ?? (file.hasSuffix(".sfq") ? String(file.dropLast(4)) : file)
    runner = try ModelRunner(model, options: options.session)
    streams = try Streams(runner, options)
    admission = Admission(parallel: options.parallel, queue: options.queue)
    fetches = Admission(parallel: 4, queue: options.queue)
    sheets = Admission(parallel: 2, queue: options.queue)
    bodies = BodyMemory(limit: 2 * options.maximumBody)
    held = HeldConversations(limit: 2 * options.parallel)
    uploads = Uploads()
    metrics = Metrics()
    bits = file.hasSuffix(".sfq") ? try ModelSummary(path: model.path).total.bitsPerWeight : nil
  }

  /// Requests that are answered, and those that wait.
  var load: (running: Int, waiting: Int) { admission.counts }

  // MARK: Questions

  /// A question that can be asked: its clips are open.
  struct Prepared: Sendable {
    /// What was said before the question.
    fileprivate var said: [ChatMessage] = []
    /// What the question shows, and says before its last text.
    fileprivate var shown: [ChatMessage.Part] = []
    fileprivate var question = ""
    fileprivate var options: GenerationOptions
    fileprivate var slowAttention: SlowAttention?
    /// Answers that are to be made.
    private(set) var count = 1
    /// Which of them this is.
    fileprivate var index = 0
    /// The clips' files, for as long as they are needed.
    fileprivate var files: [HeldFile] = []
    /// Of the streams that are asked about.
    fileprivate(set) var windows: [NamedWindow] = []
    /// Where each clip stands in the request.
    fileprivate var places: [String] = []
    /// Those that may still be worked on.
    fileprivate var uploads: [String] = []
    /// What is said before the answer, with the question.
    fileprivate var transcript: Transcript?
    /// The question shows nothing new, and is not the first: a conversation that is held may go on with it.
    fileprivate var goesOn = false
    /// Nobody waits for it.
    fileprivate var isPatient = false

    /// One of its answers, with a seed of its own. Who waits for one waits for all.
    fileprivate func answer(_ index: Int) -> Prepared {
      var one = self
      one.index = index
      one.options.seed = options.seed &+ UInt64(index)
      one.isPatient = isPatient || index > 0
      return one
    }
  }

  /// Opens what the request shows. Reads the heads of files, no more.
  ///
  /// - Parameter fetched: What the addresses of the web in it are.
  func prepare(_ request: ChatRequest, fetched: [String: HeldFile] = [:]) throws(APIError) -> Prepared {
    var prepared = Prepared(options: try generation(request.generation), slowAttention: request.slowAttention, count: request.count)
    for message in request.messages {
      var parts: [ChatMessage.Part] = []
      for piece in try pieces(of: message, apart: request.hasSeveralImages) {
        switch piece {
        case .text(let text): parts.append(.text(text))
        case .clip(let clip) where clip.stream != nil:
          let name = clip.stream ?? ""
          var asked = clip.sampling
          if clip.isPictures { asked.frames = 1 }
          let window = try streams.window(name, asked, clip.path)
          prepared.windows.append(NamedWindow(name: name, window: window))
          parts.append(.clip(.live(window), nil))
        case .clip(let clip):
          var files: [HeldFile] = []
          for media in clip.files {
            files.append(try file(media.address, media.path, fetched))
            if case .upload(let id) = media.address { prepared.uploads.append(id) }
          }
          prepared.files += files
          prepared.places.append(clip.path)
          let source = try open(files, clip, message, request)
          parts.append(.clip(source, sampling(clip.sampling, pictures: files.count > 1 ? files.count : nil)))
        }
      }
      prepared.said.append(ChatMessage(message.role, parts))
    }
    prepared.shown = prepared.said.popLast()?.parts ?? []
    let texts = prepared.shown.compactMap { part in if case .text(let text) = part { text } else { nil } }
    if texts.allSatisfy({ $0.allSatisfy(\.isWhitespace) }) {
      throw APIError(400, "The message asks nothing: it has no text.", "messages[\(request.messages.count - 1)].content")
    }
    if case .text(let last) = prepared.shown.last {
      prepared.shown.removeLast()
      prepared.question = last
    }
    let attention = (request.slowAttention ?? runner.options.slowAttention)?.rawValue ?? ""
    prepared.transcript = Transcript(prepared.files, prepared.windows, attention, request.messages)
    prepared.goesOn = !prepared.said.isEmpty && prepared.shown.isEmpty
    try checkMemory(prepared)
    return prepared
  }

  /// A clip as the request shows it: one file, or the pictures that are its frames.
  private struct Clip {
    var files: [(address: ChatRequest.Address, path: String)]
    var sampling: ChatRequest.Sampling
    var isPictures: Bool
    var path: String

    /// Of a source that is watched, its name; there is nothing else then.
    var stream: String? { if case .stream(let name)? = files.first?.address { name } else { nil } }
  }

  private enum Piece {
    case text(String)
    case clip(Clip)
  }

  /// What a message says and shows, in order. Pictures that follow each other are one clip, unless they are to stay apart.
  private func pieces(of message: ChatRequest.Message, apart: Bool) throws(APIError) -> [Piece] {
    var pieces: [Piece] = []
    var isRun = false
    for part in message.parts {
      switch part {
      case .text(let text):
        pieces.append(.text(text))
        isRun = false
      case .media(let media):
        let files = media.addresses.map { ($0, media.path) }
        let isStream = media.addresses.contains { if case .stream = $0 { true } else { false } }
        if isStream, media.addresses.count > 1 {
          throw APIError(400, "A stream is a video of its own, expected one address.", media.path)
        }
        if media.kind == .image, isRun, !apart, !isStream, case .clip(var clip)? = pieces.popLast() {
          clip.files += files
          pieces.append(.clip(clip))
        } else {
          let isPictures = media.kind == .image || files.count > 1
          pieces.append(.clip(Clip(files: files, sampling: media.sampling, isPictures: isPictures, path: media.path)))
        }
        isRun = media.kind == .image && !isStream
      }
    }
    return pieces
  }

  private func file(
    _ address: ChatRequest.Address, _ path: String, _ fetched: [String: HeldFile]
  ) throws(APIError) -> HeldFile {
    do throws(APIError) {
      switch address {
      case .data(_, let base64):
        let file = try HeldFile.make()
        try file.write(base64: base64, path)
        if file.byteCount == 0 { throw APIError(400, "There is no data.", path) }
        return file
      case .path(let name):
        if options.media.isEmpty {
          throw APIError(400, "No directory is named here whose files may be asked about: upload the file with POST /v1/files.", path)
        }
        return try HeldFile.open(name, under: options.media)
      case .upload(let id): return try uploads.file(id)
      case .web(let address):
        if let file = fetched[address] { return file }
        throw APIError(
          400, "This server fetches nothing: upload it with POST /v1/files, or send it as a data: address.", path, code: "url_not_allowed")
      case .stream: throw APIError(400, "A stream is no file.", path)
      }
    } catch {
      var error = error
      error.parameter = error.parameter ?? path
      throw error
    }
  }

  private func open(
    _ files: [HeldFile], _ clip: Clip, _ message: ChatRequest.Message, _ request: ChatRequest
  ) throws(APIError) -> ClipSource {
    if request.hasSeveralImages, clip.isPictures, !model.knowsPictures, message.media.count(where: { $0.kind == .image }) > 1 {
      throw APIError(400, "This model knows no pictures of their own beside each other, only the frames of a clip.", "modalities")
    }
    do throws(SlowFastError) {
      return files.count > 1 ? try ClipSource(pictures: files.map(\.path)) : try ClipSource(path: files[0].path)
    } catch { throw Self.error(error, about: files, at: clip.path) }
  }

  /// `pictures`: so many are one clip.
  func sampling(_ asked: ChatRequest.Sampling, pictures: Int?) -> SamplingRequest {
    let most = asked.maximumFrames ?? Int.max
    let frames = min(asked.frames ?? pictures ?? options.frames ?? model.defaultFrameCount, most)
    guard let rate = asked.rate else {
      return SamplingRequest(frames: frames, rule: model.defaultSampling.rule, start: asked.start, end: asked.end)
    }
    // So many a second, and no more than were asked for.
    let limit = asked.frames ?? asked.maximumFrames ?? frames
    return SamplingRequest(frames: min(limit, most), rule: .rate(rate), start: asked.start, end: asked.end)
  }

  private func generation(_ asked: ChatRequest.Generation) throws(APIError) -> GenerationOptions {
    var options = model.generationDefaults
    if let tokens = asked.maximumTokens { options.maximumTokens = min(tokens, 1 << 20) }
    if let temperature = asked.temperature { options.temperature = Float(temperature) }
    // 0 leaves the likeliest token alone, as with other servers.
    if let topP = asked.topP { options.topP = max(Float(topP), Float.leastNormalMagnitude) }
    if let topK = asked.topK { options.topK = max(0, topK) }
    if let penalty = asked.repetitionPenalty { options.repetitionPenalty = Float(penalty) }
    if let minP = asked.minP { options.minP = Float(minP) }
    if let penalty = asked.presencePenalty { options.presencePenalty = Float(penalty) }
    if let penalty = asked.frequencyPenalty { options.frequencyPenalty = Float(penalty) }
    options.logitBias = asked.logitBias
    if let token = asked.logitBias.keys.max(), token >= model.config.vocabularySize {
      throw APIError(400, "It is about \(token), expected tokens up to \(model.config.vocabularySize - 1).", "logit_bias")
    }
    options.stopTexts = asked.stopTexts
    options.form = asked.form
    options.topLogProbabilities = asked.topLogProbabilities
    options.seed = asked.seed.map { UInt64(bitPattern: Int64($0)) } ?? UInt64.random(in: 0...UInt64(UInt32.max))
    do throws(SlowFastError) { try options.validate() } catch { throw APIError(error, error.option.flatMap { Self.parameters[$0] }) }
    return options
  }

  private static let parameters = [
    "maximumTokens": "max_tokens", "temperature": "temperature", "topP": "top_p", "topK": "top_k",
    "repetitionPenalty": "repetition_penalty",
    "minP": "min_p", "presencePenalty": "presence_penalty", "frequencyPenalty": "frequency_penalty", "stopTexts": "stop",
    "choices": "choices", "logitBias": "logit_bias",
    "topLogProbabilities": "top_logprobs",
  ]

  /// What is resident already need not be free as well.
  private func checkMemory(_ prepared: Prepared) throws(APIError) {
    guard let available = MemoryPlan.availableBytes() else { return }
    let plan: MemoryPlan
    do throws(SlowFastError) {
      plan = try runner.plan(
        after: prepared.said, showing: prepared.shown, question: prepared.question, maximumTokens: prepared.options.maximumTokens)
    } catch { throw APIError(error) }
    let room = available + (ProcessMemory.residentBytes ?? 0)
    guard plan.peakBytes > room else { return }
    throw APIError(
      503,
      "The question needs \(plan.peakBytes >> 20) MiB of memory, \(room >> 20) are there (\(plan.summary)): "
        + "take fewer frames or a shorter answer.",
      code: "not_enough_memory", retryAfter: 30)
  }

  /// An error about a clip, which the client knows by its place in the request only.
  static func error(_ error: any Error, about files: [HeldFile], at place: String?) -> APIError {
    var result = APIError(any: error, place)
    result.message = withoutPaths(result.message, files)
    return result
  }

  private static func withoutPaths(_ text: String, _ files: [HeldFile]) -> String {
    var text = text
    for file in files { text = text.replacing(file.path + ": ", with: "").replacing(file.path, with: "the clip") }
    return text.prefix(1).uppercased() + text.dropFirst()
  }

  // MARK: Uploads

  /// Encodes an upload ahead of the first question about it, which then finds it done.
  func encode(_ file: HeldFile, _ tell: @Sendable (Uploads.State) -> Void) async {
    do {
      let place = try await admission.enter(patient: true)
      defer { withExtendedLifetime((place, file)) {} }
      let clips = [try ClipSource(path: file.path)]
      var isReady = false
      for try await event in try runner.prepare(clips, sampling: sampling(ChatRequest.Sampling(), pictures: nil)) {
        switch event {
        case .progress(.encoding(let frame, let total)): tell(.encoding(frame: frame, of: total))
        case .progress: break
        case .finished: isReady = true
        }
      }
      if !isReady { throw CancellationError() }
      tell(.ready)
    } catch {
      tell(.failed(Self.error(error, about: [file], at: nil)))
    }
  }

  // MARK: Answers

  /// A place among those that are answered, for who asks without a request.
  func enter() async throws -> Admission.Place { try await admission.enter(patient: true) }

  func conversation(about window: LiveWindow) -> ClipConversation { runner.conversation(about: [.live(window)]) }

  /// What happens on the way to an answer.
  enum Event: Sendable {
    /// The request waits for its turn.
    case waiting
    case progress(SessionProgress)
    /// How likely the tokens of the next text were, where that was asked for.
    case tokens([TokenProbability])
    case text(String)
    case finished(Answer, RunStatistics)
  }

  /// Makes all answers that a request is to have, at the same time, and tells which of them each event is about. Ends as `answer` does.
  func answers(_ prepared: Prepared, _ tell: @escaping @Sendable (Int, Event) -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<prepared.count {
        // A request waits with no more than could be answered.
        if index >= options.parallel { try await group.next() }
        group.addTask { [self] in try await answer(prepared.answer(index)) { tell(index, $0) } }
      }
      try await group.waitForAll()
    }
  }

  /// Asks when it is this question's turn. Ends when the last event is told, throws an `APIError`, or ends where the task is cancelled: the
  /// work then stops with it.
  func answer(_ prepared: Prepared, _ tell: (Event) async throws -> Void) async throws {
    for id in prepared.uploads { await uploads.settle(id) }
    let place = try await admission.enter()
    defer { withExtendedLifetime((place, prepared.files)) {} }
    // One that is held has read what was said already.
    let held = prepared.goesOn && prepared.index == 0 ? self.held.take(prepared.transcript?.beforeQuestion) : nil
    var hasFinished = false
    // What was not answered is as if it had not been asked.
    defer { if !hasFinished, let held { self.held.keep(held, as: prepared.transcript?.beforeQuestion) } }
    do {
      let conversation =
        try held
        ?? runner.conversation(after: prepared.said, showing: prepared.shown, slowAttention: prepared.slowAttention)
      for try await event in conversation.answer(prepared.question, options: prepared.options) {
        switch event {
        case .progress(let progress): try await tell(.progress(progress))
        case .tokens(let tokens): try await tell(.tokens(tokens))
        case .text(let text): try await tell(.text(text))
        case .finished(let answer, let statistics):
          hasFinished = true
          metrics.count(statistics)
          // One whose tokens are not those of its text would go on otherwise than a conversation that is read anew.
          if prepared.index == 0, model.tokenizer.encode(answer.text, allowSpecial: false) == answer.tokens {
            self.held.keep(conversation, as: prepared.transcript?.with(answer: answer.text))
          }
          var told = statistics
          told.warnings = statistics.warnings.map { Self.withoutPaths($0, prepared.files) }
          try await tell(.finished(answer, told))
        }
      }
    } catch let error as SlowFastError {
      throw Self.error(error, about: prepared.files, at: error.kind == .invalidClip ? prepared.places.first : nil)
    }
    if !hasFinished { throw CancellationError() }
  }
}

/// The frames of a stream that a question is about.
struct NamedWindow: Sendable {
  var name: String
  var window: LiveWindow
}

extension Answering {
  /// OpenAI's object of a model, with what is particular to this one.
  var description: JSON {
    let frames = options.frames ?? model.defaultFrameCount
    let tokens = model.tokenCounts(frames: frames)
    return [
      "id": .string(name), "object": "model", "created": 0, "owned_by": "slowfast",
      "slowfast": [
        "family": .string(model.config.family), "frames": .integer(frames),
        "fast_tokens": .integer(tokens.fast), "slow_tokens": .integer(tokens.slow),
        "bits": bits.map { .number(($0 * 100).rounded() / 100) } ?? .null,
        "context_length": .integer(model.config.contextLength), "knows_pictures": .bool(model.knowsPictures),
      ],
    ]
  }
}
