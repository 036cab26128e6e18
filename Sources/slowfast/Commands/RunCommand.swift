import ArgumentParser
import SlowFast

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Ask about a video, an image or a directory of images.",
    discussion: """
      Decodes the clip, encodes its frames, reads the prompt and streams the answer. MODEL is an .sfq file, or a checkpoint directory,
      whose weights are used as they are. Several clips follow each other in the prompt.
        slowfast run model.sfq clip.mp4 -q "What happens?" --frames 32 --start 10 --end 40
      """)

  @Argument(help: "An .sfq file or a checkpoint directory.")
  var model: String
  @Argument(help: "Videos, images, directories of images.")
  var inputs: [String]
  @Option(name: [.short, .long], help: "What to ask.")
  var question: String
  @OptionGroup var sampling: SamplingArguments
  @OptionGroup var generation: GenerationArguments
  @OptionGroup var session: SessionArguments
  @Flag(help: "Print frames, tokens and bytes of memory, and stop.")
  var plan = false
  @Flag(help: "Print what each stage took.")
  var stats = false
  @Flag(help: "Print one JSON object instead of text.")
  var json = false

  func validate() throws {
    if inputs.isEmpty { throw ValidationError("Missing a video or an image.") }
  }

  func run() throws {
    let model = try VideoLanguageModel(path: model)
    let options = generation.options(defaults: model.generationDefaults)
    try options.validate()
    let sources = try inputs.map { try ClipSource(path: $0) }
    let request = sampling.request(defaultFrames: model.defaultFrameCount)
    let session = try Session(model, options: session.options)
    let plan = session.plan(sources, sampling: request, question: question, maximumTokens: options.maximumTokens)
    if self.plan {
      if json { try Display.printJSON(plan) } else { print(Report.plan(plan)) }
      return
    }
    try session.checkMemory(plan)

    let progress = ProgressLine()
    try session.watch(sources, sampling: request, progress: progress.show, isCancelled: { Interrupt.isRequested })
    for warning in session.statistics.warnings where !json { Display.printError("warning: \(warning)") }
    let printer = AnswerPrinter(isSilent: json)
    let answer = try session.ask(question, options: options, progress: progress.show, isCancelled: { Interrupt.isRequested }, onText: printer.print)
    Display.clearLine()
    if json {
      try Display.printJSON(RunOutput(answer: answer, seed: options.seed, plan: plan, statistics: session.statistics))
    } else {
      print()
      if stats { print(Report.statistics(session.statistics, answer: answer, seed: options.seed)) }
    }
  }
}

/// What `run --json` prints.
private struct RunOutput: Encodable {
  var answer: String
  var tokens: [Int32]
  var endReason: String
  var seed: UInt64
  var plan: MemoryPlan
  var statistics: RunStatistics
  var peakResidentBytes: Int?

  init(answer: Answer, seed: UInt64, plan: MemoryPlan, statistics: RunStatistics) {
    self.answer = answer.text
    tokens = answer.tokens
    endReason = answer.endReason.rawValue
    self.seed = seed
    self.plan = plan
    self.statistics = statistics
    peakResidentBytes = RunStatistics.peakResidentBytes
  }
}
