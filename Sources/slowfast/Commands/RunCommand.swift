import ArgumentParser
import SlowFast

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Ask about a video, an image or a directory of images, or about none.",
    usage: "slowfast run MODEL [CLIP…] -q QUESTION [OPTIONS]",
    discussion: """
        slowfast run model.sfq clip.mp4 -q "What happens?" \\
          --frames 32 --start 10 --end 40
        slowfast run model.sfq clip.mp4 -q "And how does it end?" \\
          --cache ~/.cache/slowfast

      Decodes the clip, encodes its frames, reads the prompt and streams the answer. The model is an .sfq file, or a checkpoint directory, \
      whose weights are used as they are. Several clips follow each other in the prompt.
      """)

  @OptionGroup var clip: ClipArguments
  @Option(name: [.short, .long], help: "What to ask.")
  var question: String
  @Flag(help: "Print frames, tokens and bytes of memory, and stop.")
  var plan = false
  @Flag(help: "Print what each stage took.")
  var stats = false
  @Flag(help: "Print one JSON object instead of text.")
  var json = false

  func run() throws {
    let opened = try clip.open()
    let (session, options) = (opened.session, opened.options)
    let plan = opened.plan(question: question)
    if self.plan {
      if json { try Display.printJSON(plan) } else { print(Report.plan(plan)) }
      return
    }
    try opened.checkMemory(question: question)

    let progress = ProgressLine()
    try opened.watch(progress, printsWarnings: !json)
    let printer = AnswerPrinter(isSilent: json)
    let answer = try session.ask(question, options: options, progress: progress.show, isCancelled: { Interrupt.isRequested }, onText: printer.print)
    Display.clearLine()
    if json {
      try Display.printJSON(RunOutput(answer: answer, seed: options.seed, plan: plan, statistics: session.statistics))
    } else {
      print()
      opened.printWarnings()
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
