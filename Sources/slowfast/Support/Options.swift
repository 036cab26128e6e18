import ArgumentParser
import Foundation
import Lab
import SlowFast
import Support

/// What every command takes that asks a model, about clips or without.
struct ClipArguments: ParsableArguments {
  @Argument(help: "An .sfq file or a checkpoint directory.", completion: .file())
  var model: String
  @Argument(help: "Videos, images, directories of images; without any, the question is about none.", completion: .file())
  var inputs: [String] = []
  @Option(
    name: .customLong("as"),
    help: ArgumentHelp(
      "What several pictures are: a clip's frames, or pictures of their own. Default: pictures where the model knows them, else a clip.",
      valueName: "clip|images"))
  var pictures: PictureUse?
  @OptionGroup var fastFrames: FastFramesArguments
  @OptionGroup var cacheBits: CacheBitsArguments
  @OptionGroup var sampling: SamplingArguments
  @OptionGroup var generation: GenerationArguments
  @OptionGroup var session: SessionArguments
  @OptionGroup var modelOptions: ModelArguments
  @OptionGroup var reuse: ReuseArguments
  @Flag(help: "Run although memory is short: slowly, for the system drops weights and reads them from the file again.")
  var force = false

  /// `takesWholePrompts`: questions say themselves where clips stand.
  func open(takesWholePrompts: Bool = false) throws -> OpenedClips {
    // It starts while the model is opened.
    DecoderProcesses.standard?.prepare()
    let model = try modelOptions.open(model)
    var sessionOptions = session.options
    reuse.apply(to: &sessionOptions)
    modelOptions.apply(to: &sessionOptions)
    sessionOptions.fastFrames = fastFrames.fastFrames
    sessionOptions.cacheBits = cacheBits.cacheBits
    sessionOptions.takesWholePrompts = takesWholePrompts
    let sources = try sources(model)
    // Of pictures that are one clip each is a frame.
    let isOneClip = sources.count == 1 && inputs.count > 1
    let options = try generation.options(defaults: model.generationDefaults)
    try options.validate()
    return OpenedClips(
      sources: sources, request: sampling.request(model, frames: isOneClip ? inputs.count : nil),
      options: options, session: try Session(model, options: sessionOptions), isForced: force)
  }
}

/// How a clip of many frames fits into a prompt.
struct FastFramesArguments: ParsableArguments {
  @Option(help: "Of how many frames fast tokens stand in the prompt, at most: for clips of many frames. Default: the model's own way.")
  var fastFrames: Int?
}

/// What several pictures are.
enum PictureUse: String, ExpressibleByArgument, CaseIterable {
  case clip, images
}

extension ClipArguments {
  private func sources(_ model: VideoLanguageModel) throws -> [ClipSource] {
    let sources = try inputs.map { try ClipSource(path: $0) }
    let use = pictures ?? (model.knowsPictures || inputs.count < 2 ? .images : .clip)
    guard use == .clip, !sources.isEmpty, sources.allSatisfy(\.isPicture) else { return sources }
    return [try ClipSource(pictures: inputs)]
  }
}

/// What is taken again of a frame before.
struct FrameReuseArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Compute of a frame only where it has changed: blocks of a ConvNeXt tower take again what they made where their input differs by "
        + "less than this from the one it was made of, 0 to 1. For cameras that stand and for screens: 0.05 to 0.1. With 0 nothing "
        + "changes but the time.",
      valueName: "difference"))
  var reuse = 0.0

  func validate() throws { try Self.check(reuse) }

  static func check(_ reuse: Double) throws {
    if !(0...1).contains(reuse) { throw ValidationError("--reuse is \(reuse), expected 0 to 1") }
  }
}

/// What need not be computed again.
struct ReuseArguments: ParsableArguments {
  @OptionGroup var frames: FrameReuseArguments
  @Option(
    help: ArgumentHelp(
      "Keep what clips become in this directory; another question about the same clip, frames and model then starts at once.",
      valueName: "directory"),
    completion: .directory)
  var cache: String?
  @Option(
    help: ArgumentHelp(
      "Bytes that the directory may take, such as 500M or 8G; what was not used for longest goes first.", valueName: "bytes"))
  var cacheSize = ByteCount(bytes: ClipCacheOptions.defaultLimit)

  func apply(to options: inout SessionOptions) {
    options.reuse = frames.reuse
    options.clipCache = cache.map { ClipCacheOptions(directory: $0, limit: cacheSize.bytes) }
  }
}

/// Where frames of streams are kept.
struct StreamCacheArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Keep what the newest frames of a stream become in this directory, which is emptied first, and not in memory. It is written to with "
        + "every frame that changes.", valueName: "directory"), completion: .directory)
  var streamCache: String?
}

/// A session before its clips are watched.
struct OpenedClips {
  let sources: [ClipSource]
  let request: SamplingRequest
  let options: GenerationOptions
  let session: Session
  private let isForced: Bool
  private let warnings = WarningPrinter()

  init(sources: [ClipSource], request: SamplingRequest, options: GenerationOptions, session: Session, isForced: Bool) {
    (self.sources, self.request, self.options, self.session, self.isForced) = (sources, request, options, session, isForced)
  }

  /// Refuses what does not fit into memory, or warns where it is forced.
  func checkMemory(question: String) throws {
    do {
      try session.checkMemory(sources, sampling: request, question: question, maximumTokens: options.maximumTokens)
    } catch {
      guard isForced, error.kind == .notEnoughMemory else { throw error }
      Display.printError("warning: \(error): it will be slow, for weights are read from the file again and again")
    }
  }

  /// What is known to be wrong with a first question before the clips are encoded.
  func refusal(question: String) -> SlowFastError? {
    do throws(SlowFastError) {
      try session.checkPrompt(question, about: sources, sampling: request)
      return nil
    } catch { return error }
  }

  func plan(question: String) -> MemoryPlan {
    session.plan(sources, sampling: request, question: question, maximumTokens: options.maximumTokens)
  }

  func watch(_ progress: ProgressLine, printsWarnings: Bool = true) throws {
    try session.watch(sources, sampling: request, progress: progress.show, isCancelled: { Interrupt.isRequested })
    if printsWarnings { printWarnings() }
  }

  /// Those that came since the last time.
  func printWarnings() { warnings.print(session.statistics.warnings) }
}

private final class WarningPrinter {
  private var printed = 0

  func print(_ warnings: [String]) {
    for warning in warnings.dropFirst(printed) { Display.printError("warning: \(warning)") }
    printed = warnings.count
  }
}

/// What every command takes that prints something for programs.
struct JSONArguments: ParsableArguments {
  @Flag(help: "Print JSON instead of text; errors are an object too.")
  var json = false
}

struct SamplingArguments: ParsableArguments {
  @Option(help: "Frames to take from a video, or with --sampling rate or spread the most to take. Default: the model's own number.")
  var frames: Int?
  @OptionGroup var range: RangeArguments

  func validate() throws {
    if let frames { try Self.check(frames) }
  }

  static func check(_ frames: Int) throws {
    if frames < 1 { throw ValidationError("--frames is \(frames), expected at least 1") }
    if frames > Limits.frames { throw ValidationError("--frames is \(frames), expected at most \(Limits.frames)") }
  }

  /// `frames` where no number is given, else the model's own.
  func request(_ model: VideoLanguageModel, frames most: Int?) -> SamplingRequest { range.request(model, frames: frames ?? most) }
}

/// Where clips are decoded.
struct DecodingArguments: ParsableArguments {
  @Flag(help: "Decode clips in this process, not in one of their own that has no network and no other file.")
  var inProcess = false

  /// Of all that is opened from now on.
  func validate() { if inProcess { DecoderProcesses.standard = nil } }
}

struct RangeArguments: ParsableArguments {
  @Option(help: "Start at this many seconds.")
  var start: Double?
  @Option(help: "End at this many seconds.")
  var end: Double?
  @Option(help: "The video stream to take. Default: the best one.")
  var stream: Int?
  @OptionGroup var rule: SamplingRuleArguments
  @OptionGroup var decoding: DecodingArguments

  func validate() throws {
    if let start, !(start >= 0 && start.isFinite) { throw ValidationError("--start is \(start), expected 0 or more seconds") }
    if let end, !(end > start ?? 0 && end.isFinite) {
      throw ValidationError("--end is \(end), expected more than \(start.map { "--start, \($0)" } ?? "0 seconds")")
    }
  }

  func request(frames: Int) -> SamplingRequest {
    SamplingRequest(frames: frames, rule: rule.rule ?? .uniform, start: start, end: end, stream: stream)
  }

  /// As the model samples, where nothing else is said.
  func request(_ model: VideoLanguageModel, frames: Int?) -> SamplingRequest {
    var request = request(frames: frames ?? model.defaultFrameCount)
    request.rule = rule.rule ?? model.defaultSampling.rule
    return request
  }
}

struct SamplingRuleArguments: ParsableArguments {
  enum Name: String, ExpressibleByArgument, CaseIterable { case uniform, rate, spread }

  @Option(
    help: ArgumentHelp(
      "Which frames: uniform, evenly from the first to the last, as the published demonstration; rate, --fps a second and fewer "
        + "where a clip is "
        + "short, as the published evaluation; spread, --fps a second but evenly, without the first and last second of a long clip, as "
        + "SmolVLM2. Default: the model's own way."))
  var sampling: Name?
  @Option(help: "Frames a second of --sampling rate, or spread. Default: 2, or 1.")
  var fps: Double?

  func validate() throws {
    guard let fps else { return }
    if sampling != .rate, sampling != .spread { throw ValidationError("--fps needs --sampling rate or spread.") }
    if !(fps > 0 && fps.isFinite) { throw ValidationError("--fps is \(fps), expected more than 0") }
  }

  /// nil: the model's own.
  var rule: SamplingRule? {
    switch sampling {
    case .uniform: .uniform
    case .rate: .rate(fps ?? 2)
    case .spread: .spread(fps ?? 1)
    case nil: nil
    }
  }
}

struct GenerationArguments: ParsableArguments {
  @Option(help: "The most tokens of an answer. Default: the model's own number.")
  var maxTokens: Int?
  @Option(help: "0 takes the likeliest token always. Default of this and the next three: the model's own, which inspect shows.")
  var temperature: Float?
  @Option(name: .customLong("top-p"), help: "Draw among the likeliest tokens that together have this probability.")
  var topP: Float?
  @Option(name: .customLong("top-k"), help: "Draw among this many likeliest tokens; 0 for all.")
  var topK: Int?
  @Option(help: "Divides the logits of tokens that the answer has already; 1 for none.")
  var repetitionPenalty: Float?
  @Option(name: .customLong("min-p"), help: "Draw among tokens at least this many times as likely as the likeliest; 0 for all.")
  var minP: Float?
  @Option(help: "Taken off the logits of tokens that the answer has already, -2 to 2.")
  var presencePenalty: Float?
  @Option(help: "The same for each time that the answer has the token.")
  var frequencyPenalty: Float?
  @Option(help: ArgumentHelp("A text that ends the answer, which ends before it. May be repeated.", valueName: "text"))
  var stop: [String] = []
  @Option(
    help: ArgumentHelp(
      "With --json: the natural logarithm of each token's probability, and of so many of the likeliest ones.", valueName: "count"))
  var logprobs: Int?
  @Option(
    help: ArgumentHelp("The answer is JSON that meets the schema in this file, or on standard input with -.", valueName: "file"),
    completion: .file())
  var jsonSchema: String?
  @Option(
    help: ArgumentHelp(
      "The answer is one of these texts, with commas between: the likeliest, and with --json the probability of each.",
      valueName: "text,text"))
  var choices: CommaList<String>?
  @Option(help: "Makes a drawn answer repeatable. Default: another one each time.")
  var seed: UInt64?
  @Option(
    help: ArgumentHelp(
      "Tokens at most that are guessed from what was said before and checked in one pass: the same answer, sooner where it repeats.",
      valueName: "0-\(GenerationOptions().draftTokens)"))
  var draftTokens = GenerationOptions().draftTokens
  @Flag(help: "The likeliest token always, no penalty: the same as --temperature 0 --repetition-penalty 1.")
  var greedy = false

  func validate() throws {
    if jsonSchema != nil, choices != nil { throw ValidationError("--json-schema and --choices exclude each other") }
    if greedy, let temperature, temperature != 0 { throw ValidationError("--greedy and --temperature \(temperature) exclude each other") }
  }

  /// Throws where nothing would show what is asked for.
  func check(isJSON: Bool) throws {
    if logprobs != nil, !isJSON { throw ValidationError("--logprobs needs --json or --jsonl.") }
  }

  func options(defaults: GenerationOptions) throws -> GenerationOptions {
    var options = defaults
    options.seed = seed ?? UInt64.random(in: 0...UInt64(UInt32.max))
    if greedy { options.makeGreedy() }
    if let maxTokens { options.maximumTokens = maxTokens }
    if let temperature { options.temperature = temperature }
    if let topP { options.topP = topP }
    if let topK { options.topK = topK }
    if let repetitionPenalty { options.repetitionPenalty = repetitionPenalty }
    if let minP { options.minP = minP }
    if let presencePenalty { options.presencePenalty = presencePenalty }
    if let frequencyPenalty { options.frequencyPenalty = frequencyPenalty }
    options.draftTokens = draftTokens
    options.stopTexts = stop
    options.topLogProbabilities = logprobs
    if let choices { options.form = .choices(choices.values) }
    if let jsonSchema {
      let text = try QuestionText.schema(jsonSchema)
      do { options.form = .json(try AnswerSchema(text)) } catch {
        throw SlowFastError(error, path: jsonSchema == "-" ? "standard input" : jsonSchema)
      }
    }
    return options
  }
}

struct SessionArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What reads the slow tokens while answering: the prompt only, as the published code, or all, as in training. "
        + "Default: the model's own way.")
  )
  var slowAttention: SlowAttention?
  @Option(help: "Threads. Default: as many as processors.")
  var threads: Int?

  func validate() throws { try Self.check(threads: threads) }

  static func check(threads: Int?) throws {
    if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads is \(threads), expected 1 to 1024") }
  }

  var options: SessionOptions {
    var options = SessionOptions()
    options.threads = threads
    options.slowAttention = slowAttention
    return options
  }
}

extension SlowAttention: ExpressibleByArgument {}

struct CacheBitsArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Bits of keys, values and slow tokens. Default: 16 beside quantized weights, else 32; 8 takes half the memory.",
      valueName: "8|16|32"),
    completion: .list(["8", "16", "32"]))
  var cacheBits: Int?
}

/// What a model is opened with, and what it is told.
struct ModelArguments: ParsableArguments {
  @Option(help: "What the system says first, in place of the model's own words; empty: nothing.")
  var system: String?
  @Option(
    help: ArgumentHelp(
      "Of a checkpoint: the directory of its vision transformer, where it is not inside under the configuration's name.",
      valueName: "directory"),
    completion: .directory)
  var tower: String?

  /// The model, with the tower if one is named.
  func open(_ path: String) throws(SlowFastError) -> VideoLanguageModel { try VideoLanguageModel(path: path, tower: tower) }

  func apply(to options: inout SessionOptions) { options.system = system }
}

struct CalibrationArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Run the model over these clips and questions to see what its layers take: a file of JSON lines with video, question and answer, "
        + "or a video. May be repeated.",
      valueName: "data"),
    completion: .file())
  var calibrate: [String] = []
  @Option(help: "Take only the first so many clips of --calibrate.")
  var calibrationClips: Int?
  @Option(help: "Frames of a clip of --calibrate. Default: the model's own number.")
  var calibrationFrames: Int?
  @Flag(inversion: .prefixedNo, help: "Fold scales of loud inputs into the layer before, where that is exact and helps.")
  var fold = true
  @Option(help: "gptq: what is added to each input's mean square, in parts of their mean.")
  var damping: Float = 0.01
  @Flag(help: "gptq: round the loudest inputs first.")
  var actOrder = false
  @Flag(help: "Layers see what the unquantized layers before them make, instead of the quantized.")
  var calibrateUnquantized = false
  @OptionGroup var decoding: DecodingArguments

  /// nil without `--calibrate`.
  var options: CalibrationOptions? {
    guard !calibrate.isEmpty else { return nil }
    var options = CalibrationOptions(paths: calibrate)
    options.clipLimit = calibrationClips
    options.frames = calibrationFrames
    options.folds = fold
    options.damping = damping
    options.ordersByActivation = actOrder
    options.followsQuantized = !calibrateUnquantized
    return options
  }

  func validate() throws {
    if let calibrationClips, calibrationClips < 1 {
      throw ValidationError("--calibration-clips is \(calibrationClips), expected at least 1")
    }
    if let calibrationFrames { try SamplingArguments.check(calibrationFrames) }
    if !(damping > 0 && damping <= 1) { throw ValidationError("--damping is \(damping), expected more than 0 and at most 1") }
    guard calibrate.isEmpty else { return }
    if calibrationClips != nil || calibrationFrames != nil || damping != 0.01 || actOrder || calibrateUnquantized || !fold {
      throw ValidationError("Options of calibration need --calibrate.")
    }
  }
}

/// Values with commas between.
struct CommaList<Value: CommaListItem & Sendable>: ExpressibleByArgument, Sendable {
  var values: [Value]

  init(_ values: [Value]) { self.values = values }

  init?(argument: String) {
    values = []
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard let value = Value(part: String(part)) else { return nil }
      values.append(value)
    }
  }

  var defaultValueDescription: String { values.map { "\($0)" }.joined(separator: ",") }
}

/// What may stand between commas.
protocol CommaListItem {
  init?(part: String)
}

extension Int: CommaListItem {
  init?(part: String) { self.init(part) }
}

extension String: CommaListItem {
  init?(part: String) { self = part }
}

extension BenchmarkStage: CommaListItem {
  init?(part: String) { self.init(rawValue: part) }
}

/// `1000`, `500M`, `8G`: bytes, in powers of 1024.
struct ByteCount: ExpressibleByArgument {
  var bytes: Int

  init(bytes: Int) { self.bytes = bytes }

  init?(argument: String) {
    let shifts: [Character: Int] = ["K": 10, "M": 20, "G": 30, "T": 40]
    let shift = argument.last.flatMap { shifts[Character($0.uppercased())] }
    guard let number = Int(shift == nil ? Substring(argument) : argument.dropLast()), number > 0 else { return nil }
    let (bytes, overflow) = number.multipliedReportingOverflow(by: 1 << (shift ?? 0))
    guard !overflow else { return nil }
    self.bytes = bytes
  }

  var defaultValueDescription: String { "\(bytes >> 30)G" }
}
