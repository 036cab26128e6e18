import ArgumentParser
import Lab
import SlowFast

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Time every stage of a model on this machine, beside the machine's own limits.",
    usage: "slowfast bench MODEL [--clip CLIP] [OPTIONS]",
    discussion: """
        slowfast bench model.sfq --clip clip.mp4
        slowfast bench model.sfq --stages tower,prefill --json

      The limits are measured in the same minute: int8 multiply-adds in registers, float ones in the first-level cache, reading memory. \
      GMAC/s and GB/s stand beside them as shares; those of generation beside the speed at which a plain loop reads the same weights, in \
      turn with the tokens, for different pages of one machine may be read at different speeds. Times are medians of wall time; "busy" is the \
      share of the threads' time that they were on a processor. The hash is that of the tokens generated after the first context: the same \
      model and options give the same one.

      Stages are \(BenchmarkStage.allCases.map(\.rawValue).joined(separator: ", ")).
      """)

  @Argument(help: "An .sfq file or a checkpoint directory.", completion: .file())
  var model: String
  @Option(help: "A video to decode; without one that stage is left out.", completion: .file())
  var clip: String?
  @Option(help: "Stages to time, with commas between. Default: all.", completion: .list(BenchCommand.stageNames))
  var stages: Names<BenchmarkStage>?
  @Option(name: .customLong("repeat"), help: "Runs of each stage.")
  var repeats = BenchmarkOptions().repeats
  @Option(help: "Frames whose slow tokens the decoder reads. Default: the model's own number.")
  var frames: Int?
  @Option(help: "Lengths of prompts, with commas between.")
  var prompts = Names(BenchmarkOptions().prompts)
  @Option(help: "Tokens before the generated ones, with commas between.")
  var contexts = Names(BenchmarkOptions().contexts)
  @Option(help: "Generated tokens of each run.")
  var tokens = BenchmarkOptions().generatedTokens
  @Option(help: "Whether generated tokens read the slow tokens: all (they do) or prompt. Default: the model's own way.")
  var slowAttention: SlowAttention?
  @Option(help: "Threads. Default: as many as processors.")
  var threads: Int?
  @OptionGroup var format: JSONArguments
  @OptionGroup var display: ProgressArguments

  private static let stageNames = BenchmarkStage.allCases.map(\.rawValue)

  func validate() throws {
    try SessionArguments.check(threads: threads)
  }

  func run() throws {
    var options = BenchmarkOptions()
    if let stages { options.stages = Set(stages.values) }
    options.repeats = repeats
    options.frames = frames
    options.prompts = prompts.values
    options.contexts = contexts.values
    options.generatedTokens = tokens
    options.slowAttention = slowAttention
    options.threads = threads
    try options.validate()
    options.clip = try clip.map { try MediaInput(opening: $0) }
    let line = ProgressLine(display, isJSON: format.json)
    var report = try Benchmark.run(
      try VideoLanguageModel(path: model), options: options, progress: { line.show("timing \($0)") },
      isCancelled: { Interrupt.isRequested })
    guard format.json else { return try Display.print(Printing.benchmark(report)) }
    report.model = report.model.fileNameText
    try Display.printJSON(report)
  }
}
