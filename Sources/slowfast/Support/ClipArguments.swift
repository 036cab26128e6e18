import ArgumentParser
import SlowFast

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
  @OptionGroup var sampling: SamplingArguments
  @OptionGroup var generation: GenerationArguments
  @OptionGroup var session: SessionArguments
  @OptionGroup var voice: ModelArguments
  @OptionGroup var reuse: ReuseArguments
  @Flag(help: "Run although memory is short: slowly, for the system drops weights and reads them from the file again.")
  var force = false

  /// `takesWholePrompts`: questions say themselves where clips stand.
  func open(takesWholePrompts: Bool = false) throws -> OpenedClips {
    let model = try voice.open(model)
    var sessionOptions = session.options
    reuse.apply(to: &sessionOptions)
    voice.apply(to: &sessionOptions)
    sessionOptions.takesWholePrompts = takesWholePrompts
    let sources = try sources(model)
    // Of pictures that are one clip each is a frame.
    let isOneClip = sources.count == 1 && inputs.count > 1
    let options = generation.options(defaults: model.generationDefaults)
    try options.validate()
    return OpenedClips(
      sources: sources, request: sampling.request(defaultFrames: isOneClip ? inputs.count : model.defaultFrameCount),
      options: options, session: try Session(model, options: sessionOptions), isForced: force)
  }
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

/// What need not be computed again.
struct ReuseArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Let a frame take over the features of the last encoded one where their bytes differ by less than this in the mean, 0 to 255. Default: never.",
      valueName: "difference"))
  var reuseStatic: Double?
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

  func validate() throws {
    if let reuseStatic, !(reuseStatic > 0 && reuseStatic <= 255) {
      throw ValidationError("--reuse-static is \(reuseStatic), expected more than 0 and at most 255")
    }
  }

  func apply(to options: inout SessionOptions) {
    options.reuseStatic = reuseStatic
    options.clipCache = cache.map { ClipCacheOptions(directory: $0, limit: cacheSize.bytes) }
  }
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
