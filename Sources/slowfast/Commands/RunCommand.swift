import ArgumentParser
import SlowFast
import Support

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Ask about a video, an image or a directory of images, or about none.",
    usage: """
      slowfast run MODEL [CLIP…] -q QUESTION… [OPTIONS]
      slowfast run MODEL [CLIP…] --prompt PROMPT [OPTIONS]
      """,
    discussion: """
        slowfast run model.sfq clip.mp4 -q "What happens?" \\
          --frames 32 --start 10 --end 40
        slowfast run model.sfq clip.mp4 -q "And how does it end?" \\
          --cache ~/.cache/slowfast

      Decodes the clip, encodes its frames, reads the prompt and streams the answer. The model is an .sfq file, or a checkpoint directory, \
      whose weights are used as they are. Several clips follow each other in the prompt.

      Several -q are asked independently, each as in a run of its own, of a clip that is encoded once; each answer then stands below its \
      question. With --json they give a line of JSON each. A question that fails is told, the others are answered, and the status is 1.
      """)

  @OptionGroup var clip: ClipArguments
  @Option(
    name: [.short, .long],
    help: "What to ask; @FILE is read from a file, - from standard input, and @@ stands for an @ at the beginning. May be repeated.")
  var question: [String] = []
  @Option(
    help: "A whole prompt as it stands, turns and marks included, with <image> or <video> where each clip stands; @FILE and - as above.")
  var prompt: String?
  @Flag(help: "Print frames, tokens and bytes of memory, and stop.")
  var plan = false
  @Flag(help: "Print what each stage took.")
  var stats = false
  @OptionGroup var format: JSONArguments
  @Flag(help: "Print JSON objects one a line, as --json does of several questions.")
  var jsonl = false
  @OptionGroup var display: ProgressArguments

  func run() throws {
    // Not in `validate`, which comes before a misspelt option is found.
    if question.isEmpty, prompt == nil { throw ValidationError("Missing -q QUESTION.") }
    if !question.isEmpty, prompt != nil { throw ValidationError("--prompt excludes -q.") }
    let isJSON = format.json || jsonl
    try clip.generation.check(isJSON: isJSON)
    let questions = try QuestionText.read(prompt.map { [$0] } ?? question)
    let opened = try clip.open(takesWholePrompts: prompt != nil)
    let plans = questions.map { opened.plan(question: $0) }
    guard let largest = plans.indices.max(by: { plans[$0].peakBytes < plans[$1].peakBytes }) else { return }
    let onOneLine = jsonl || questions.count > 1
    if plan {
      if isJSON { try Display.printJSON(plans[largest], onOneLine: jsonl) } else { try Display.print(Printing.plan(plans[largest])) }
      return
    }
    // One that fits is answered, whatever the others are.
    let refusals = questions.compactMap(opened.refusal)
    if refusals.count == questions.count, let first = refusals.first { throw first }
    try opened.checkMemory(question: questions[largest])
    let progress = ProgressLine(display, isJSON: isJSON)
    try opened.watch(progress, printsWarnings: !isJSON)

    var hasFailed = false
    for (index, question) in questions.enumerated() {
      if !isJSON, questions.count > 1 { try Display.print((index > 0 ? "\n" : "") + question.quotedLines) }
      opened.session.startOver()
      let printer = AnswerPrinter(isSilent: isJSON)
      let answer: Answer
      do throws(SlowFastError) {
        answer = try opened.session.ask(
          question, options: opened.options, progress: progress.show, isCancelled: { Interrupt.isRequested }, onText: printer.print)
      } catch {
        guard questions.count > 1, error.kind == .promptTooLong else { throw error }
        hasFailed = true
        try QuestionFailure.tell(error.text, question: question, isJSON: isJSON)
        continue
      }
      try show(answer, to: question, opened, plans[index], printer, onOneLine: onOneLine)
    }
    if hasFailed { throw ExitCode(1) }
  }

  private func show(
    _ answer: Answer, to question: String, _ opened: OpenedClips, _ plan: MemoryPlan, _ printer: AnswerPrinter, onOneLine: Bool
  ) throws {
    let statistics = opened.session.statistics
    if format.json || jsonl {
      let record = AnswerRecord(
        answer, to: question, about: clip.inputs, options: opened.options, tokenizer: opened.session.model.tokenizer, plan: plan,
        statistics: statistics)
      return try Display.printJSON(record, onOneLine: onOneLine)
    }
    try printer.finish()
    opened.printWarnings()
    if stats { try Display.print(Printing.statistics(statistics, answer: answer, options: opened.options)) }
  }
}
