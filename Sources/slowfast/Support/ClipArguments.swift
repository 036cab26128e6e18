import ArgumentParser
import SlowFast

/// What every command takes that asks a model about clips.
struct ClipArguments: ParsableArguments {
  @Argument(help: "An .sfq file or a checkpoint directory.")
  var model: String
  @Argument(help: "Videos, images, directories of images.")
  var inputs: [String]
  @OptionGroup var sampling: SamplingArguments
  @OptionGroup var generation: GenerationArguments
  @OptionGroup var session: SessionArguments

  func validate() throws {
    if inputs.isEmpty { throw ValidationError("Missing a video or an image.") }
  }

  func open() throws -> OpenedClips {
    let model = try VideoLanguageModel(path: model)
    let options = generation.options(defaults: model.generationDefaults)
    try options.validate()
    return OpenedClips(
      sources: try inputs.map { try ClipSource(path: $0) }, request: sampling.request(defaultFrames: model.defaultFrameCount),
      options: options, session: try Session(model, options: session.options))
  }
}

/// A session before its clips are watched.
struct OpenedClips {
  let sources: [ClipSource]
  let request: SamplingRequest
  let options: GenerationOptions
  let session: Session

  func plan(question: String) -> MemoryPlan {
    session.plan(sources, sampling: request, question: question, maximumTokens: options.maximumTokens)
  }

  func watch(_ progress: ProgressLine, printsWarnings: Bool = true) throws {
    try session.watch(sources, sampling: request, progress: progress.show, isCancelled: { Interrupt.isRequested })
    Display.clearLine()
    if printsWarnings {
      for warning in session.statistics.warnings { Display.printError("warning: \(warning)") }
    }
  }
}
