import ArgumentParser
import Foundation
import SlowFast

struct ChatCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "chat",
    abstract: "Several questions about the same clip.",
    usage: "slowfast chat MODEL [CLIP…] [OPTIONS]",
    discussion: """
      The clip is encoded once; keys and values of the conversation are kept. Type a question and Enter; Ctrl-C stops an answer, \
      an empty line or Ctrl-D ends. Questions may also be piped in, one a line.
      """)

  @OptionGroup var clip: ClipArguments

  func run() throws {
    let opened = try clip.open()
    let session = opened.session
    try opened.checkMemory(question: "")
    let progress = ProgressLine()
    try opened.watch(progress)

    let isInteractive = isatty(STDIN_FILENO) == 1
    while true {
      if isInteractive { Display.stream("> ") }
      guard let question = readLine(), !question.isEmpty else { break }
      do {
        _ = try session.ask(
          question, options: opened.options, progress: progress.show, isCancelled: { Interrupt.isRequested }, onText: AnswerPrinter().print)
        Display.stream("\n")
        opened.printWarnings()
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
