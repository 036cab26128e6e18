import ArgumentParser
import Foundation
import SlowFast

struct ChatCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "chat",
    abstract: "Several questions about the same clip.",
    discussion: """
      The clip is encoded once; keys and values of the conversation are kept. Type a question and Enter; Ctrl-C stops an answer,
      an empty line or Ctrl-D ends. Questions may also be piped in, one a line.
      """)

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

  func run() throws {
    let model = try VideoLanguageModel(path: model)
    let options = generation.options(defaults: model.generationDefaults)
    try options.validate()
    let sources = try inputs.map { try ClipSource(path: $0) }
    let request = sampling.request(defaultFrames: model.defaultFrameCount)
    let session = try Session(model, options: session.options)
    try session.checkMemory(session.plan(sources, sampling: request, question: "", maximumTokens: options.maximumTokens))
    let progress = ProgressLine()
    try session.watch(sources, sampling: request, progress: progress.show, isCancelled: { Interrupt.isRequested })
    Display.clearLine()
    for warning in session.statistics.warnings { Display.printError("warning: \(warning)") }

    let isInteractive = isatty(STDIN_FILENO) == 1
    while true {
      if isInteractive { Display.stream("> ") }
      guard let question = readLine(), !question.isEmpty else { break }
      do {
        _ = try session.ask(
          question, options: options, progress: progress.show, isCancelled: { Interrupt.isRequested }, onText: AnswerPrinter().print)
        Display.stream("\n")
      } catch {
        try goOn(after: error, isInteractive: isInteractive)
      }
    }
    if isInteractive { print() }
  }

  /// At a terminal an answer that was stopped, or a question that is too long, does not end the conversation.
  private func goOn(after error: SlowFastError, isInteractive: Bool) throws {
    guard isInteractive else { throw error }
    switch error {
    case .cancelled:
      Interrupt.clear()
      Display.printError("\n(stopped; the question is forgotten)")
    case .promptTooLong: Display.printError("error: \(error)")
    default: throw error
    }
  }
}
