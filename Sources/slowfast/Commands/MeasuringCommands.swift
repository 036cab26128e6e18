import ArgumentParser
import Lab
import SlowFast
import Support

struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "What each bit costs: variants of a model against the unquantized one, on clips and questions.",
    usage: """
      slowfast compare CHECKPOINT [MODEL…]
                --data FILE -o FOLDER [OPTIONS]
      """,
    discussion: """
        slowfast compare checkpoint/ --variants 16,8,4 \\
          --data eval.jsonl -o report/

      The data is a file of JSON objects, one a line, with video (a path relative to the file; null where the question is about none), \
      question, answer and, if wanted, kind. For each variant: size, divergence of the next-token distribution with the right answer \
      given, \
      exact match, error through the layers, seconds and memory; then each part of the model quantized alone. Writes report.json and \
      report.html to the report's folder, and with --json prints the first; what was measured is kept there too, and a repeated run goes \
      on with what is missing.

      A variant is BITS[a|u][:OPTION]…: bits as of convert, a for a minimum in each group, u for uneven levels, and options: PART=BITS \
      or PATTERN=BITS as convert --keep, group=32|64|128, method=rtn|search|gptq, calibrated (with --calibrate; gptq always is), \
      target=BITS as convert --target-bits, input=float (no int8 inputs: the weights' error alone).
      """)

  @Argument(help: "A checkpoint directory: the baseline.", completion: .file())
  var checkpoint: String
  @Argument(help: "Model files or checkpoint directories of the same shape, to be measured too.", completion: .file())
  var models: [String] = []
  @Option(help: "Conversions to measure, with commas between.")
  var variants: String?
  @Option(help: "Questions and answers.", completion: .file())
  var data: String
  @Option(help: "Take the first clips only.")
  var limit: Int?
  private static let partChoices = ConversionOptions.quantizedBitChoices.map(String.init) + ["none"]
  @Option(
    help: "Bits at which each part is quantized alone: \(Self.partChoices.alternatives).", completion: .list(Self.partChoices))
  var parts = "4"
  @Option(name: [.short, .customLong("output")], help: "The report's folder, made if it is not there.", completion: .directory)
  var output: String
  @Option(help: "Frames to take of a clip. Default: the model's own number.")
  var frames: Int?
  @OptionGroup var rule: SamplingRuleArguments
  @Option(help: "The most tokens of an answer that is written in another way than the right one.")
  var maxTokens = 64
  @OptionGroup var calibration: CalibrationArguments
  @OptionGroup var session: SessionArguments
  @OptionGroup var format: JSONArguments
  @OptionGroup var display: ProgressArguments

  func validate() throws {
    if let limit, limit < 1 { throw ValidationError("--limit is \(limit), expected at least 1") }
    if let frames { try SamplingArguments.check(frames) }
    if parts != "none", Int(parts) == nil {
      throw ValidationError("--parts is \(parts.escaped()), expected \(Self.partChoices.alternatives)")
    }
  }

  func run() throws {
    var options = ComparisonOptions()
    options.variants = try variants.map { try ComparisonVariant.list(parsing: $0) } ?? []
    options.files = models
    options.partBits = Int(parts)
    options.calibration = calibration.options
    options.frames = frames
    options.sampling = rule.rule
    options.maximumTokens = maxTokens
    options.slowAttention = session.options.slowAttention
    options.threads = session.options.threads
    let set = try EvaluationSet(jsonLines: data)
    let comparison = try Comparison(checkpoint: checkpoint, data: limit.map(set.prefix) ?? set, dataName: data, options: options)
    let line = ProgressLine(display, isJSON: format.json)
    let report = try comparison.run(
      to: output, onNote: { Display.printError("warning: \($0)") },
      progress: { progress in
        let name = "\(progress.model) (\(progress.index + 1)/\(progress.count))"
        switch progress.work {
        case .converting(let done, let total): line.line("converting \(name)", done, total, "\(formatBytes(done)) of \(formatBytes(total))")
        case .measuring(let done, let total): line.line("measuring \(name)", done, total, "clip \(done + 1) of \(total)")
        case .warning(let text): Display.printError("warning: \(text)")
        }
      }, isCancelled: { Interrupt.isRequested })
    if format.json { return try Display.stream(String(decoding: try report.json(), as: UTF8.self) + "\n") }
    try Display.print(report.text)
    for failure in report.failures {
      Display.printError("warning: \(failure.video.escaped()) left out (\(failure.model.escaped())): \(failure.reason)")
    }
    try Display.print("\n\(output.escaped())\(output.hasSuffix("/") ? "" : "/")report.html and report.json")
  }
}

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
      turn with the tokens, for different pages of one machine may be read at different speeds. Times are medians of wall time; "busy" is \
      the \
      share of the threads' time that they were on a processor. The hash is that of the tokens generated after the first context: the same \
      model and options give the same one.

      Stages are \(BenchmarkStage.allCases.map(\.rawValue).joined(separator: ", ")).
      """)

  @Argument(help: "An .sfq file or a checkpoint directory.", completion: .file())
  var model: String
  @Option(help: "A video to decode; without one that stage is left out.", completion: .file())
  var clip: String?
  @Option(help: "Stages to time, with commas between. Default: all.", completion: .list(BenchCommand.stageNames))
  var stages: CommaList<BenchmarkStage>?
  @Option(name: .customLong("repeat"), help: "Runs of each stage.")
  var repeats = BenchmarkOptions().repeats
  @Option(help: "Frames whose slow tokens the decoder reads. Default: the model's own number.")
  var frames: Int?
  @Option(help: "Lengths of prompts, with commas between.")
  var prompts = CommaList(BenchmarkOptions().prompts)
  @Option(help: "Tokens before the generated ones, with commas between.")
  var contexts = CommaList(BenchmarkOptions().contexts)
  @Option(help: "Conversations that make tokens at the same time, with commas between; such as 4,8.")
  var together: CommaList<Int>?
  @Option(help: "Generated tokens of each run.")
  var tokens = BenchmarkOptions().generatedTokens
  @Option(help: "Whether generated tokens read the slow tokens: all (they do) or prompt. Default: the model's own way.")
  var slowAttention: SlowAttention?
  @Option(help: "Threads. Default: as many as processors.")
  var threads: Int?
  @OptionGroup var cacheBits: CacheBitsArguments
  @OptionGroup var decoding: DecodingArguments
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
    options.together = together?.values ?? []
    options.generatedTokens = tokens
    options.slowAttention = slowAttention
    options.threads = threads
    options.cacheBits = cacheBits.cacheBits
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

struct TraceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace",
    abstract: "Write the tensors of every stage of a run, to compare with another implementation.",
    usage: """
      slowfast trace MODEL -q QUESTION -o OUTPUT [OPTIONS]
        (--frames FILE | --video CLIP | --image FILE)
      """,
    discussion: """
      The output is a safetensors file with pixel_values, vision_features, projected, slow_tokens, fast_tokens (or visual_tokens), \
      prompt_ids (-200 marks the clip), hidden_states (embeddings, after each layer, the last after the final norm), logits \
      and, with --generate, generated.
      """)

  @Argument(help: "An .sfq file or a checkpoint directory.", completion: .file())
  var model: String
  @Option(
    help: "A safetensors file with `frames` [T,H,W,3] u8, all of which are taken; with --video the number of frames to take.",
    completion: .file())
  var frames: String?
  @Option(help: "A video, an image or a directory of images.", completion: .file())
  var video: String?
  @Option(help: "A safetensors file with a picture `image` [H,W,3] u8, or several, `image0`, `image1`, ….", completion: .file())
  var image: String?
  @OptionGroup var range: RangeArguments
  @Option(name: [.short, .long], help: "What to ask.")
  var question: String?
  @Option(help: "A whole prompt as it stands, with <image> or <video> where each clip stands; it may show nothing.")
  var prompt: String?
  @Option(help: "Tokens to generate, always the likeliest, stop tokens included.")
  var generate = 0
  @OptionGroup var session: SessionArguments
  @OptionGroup var modelOptions: ModelArguments
  @Option(name: [.short, .long], help: "Where to write.", completion: .file())
  var output: String
  @Flag(help: "Replace the output if it exists.")
  var force = false
  @OptionGroup var format: JSONArguments
  @OptionGroup var display: ProgressArguments

  func validate() throws {
    // A whole prompt may be about nothing that is shown.
    if frames == nil, video == nil, image == nil, prompt == nil {
      throw ValidationError("Missing --frames FRAMES.safetensors or --video VIDEO.")
    }
    if image != nil, frames != nil || video != nil { throw ValidationError("--image excludes --frames and --video.") }
    if (question == nil) == (prompt == nil) { throw ValidationError("Expected one of -q QUESTION and --prompt PROMPT.") }
    if video != nil, let frames {
      guard let count = Int(frames) else { throw ValidationError("--frames is \(frames.escaped()), expected a number beside --video") }
      try SamplingArguments.check(count)
    }
    if !(0...65536).contains(generate) { throw ValidationError("--generate is \(generate), expected 0 to 65536") }
  }

  func run() throws {
    let written = WrittenFile(output, of: model)
    let question = try QuestionText.read([question ?? prompt ?? ""])[0]
    let inputs = [self.model] + [video, frames, image].compactMap { $0 }
    try Trace.check(output, replacing: force, inputs: inputs)
    let model = try modelOptions.open(model)
    let sources =
      if let video { [try ClipSource(path: video)] } else if let image { try ClipSource.pictures(file: image) } else {
        try frames.map { [try ClipSource(framesFile: $0)] } ?? []
      }
    var options = session.options
    options.takesWholePrompts = prompt != nil
    modelOptions.apply(to: &options)
    let session = try Session(model, options: options)
    let trace = try session.trace(
      sources, sampling: range.request(model, frames: frames.flatMap { Int($0) }), question: question,
      generate: generate, progress: ProgressLine(display, isJSON: format.json).show, isCancelled: { Interrupt.isRequested })
    try trace.write(to: output, replacing: force, inputs: inputs)
    if format.json { try Display.printJSON(written.finished()) }
  }
}
