import ArgumentParser
import Foundation

struct ChatCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "chat",
    abstract: "Several questions about the same clip.",
    usage: "slowfast chat MODEL [CLIP…] [OPTIONS]",
    discussion: """
      The clip is encoded once; keys and values of the conversation are kept. At a terminal, type a question and Enter; /help lists the \
      commands: /clear, /frames, /save FILE, /quit. Ctrl-C stops an answer; Ctrl-D, or Ctrl-C twice, ends. The lines that were entered \
      are kept in $XDG_STATE_HOME/slowfast/history, or ~/.local/state/slowfast/history, for the arrow keys.

      Questions may also be piped in, one a line: each answer is followed by an empty line, blank lines are skipped. What one question \
      fails of is told on the error stream, the next is asked, and the status is 1 in the end.
      """)

  @OptionGroup var clip: ClipArguments
  @Flag(help: "Each question begins a conversation of its own.")
  var fresh = false
  @OptionGroup var format: JSONArguments
  @Flag(help: "The same: an object a line.")
  var jsonl = false
  @OptionGroup var display: ProgressArguments

  func run() throws {
    let isJSON = format.json || jsonl
    let opened = try clip.open()
    try opened.checkMemory(question: "")
    let progress = ProgressLine(display, isJSON: isJSON)
    try opened.watch(progress, printsWarnings: !isJSON)
    let chat = Chat(opened, model: clip.model, clips: clip.inputs, progress: progress, isFresh: fresh, isJSON: isJSON)
    if isatty(STDIN_FILENO) == 1 { try chat.runAtTerminal() } else { try chat.runPiped() }
    if chat.hasFailed { throw ExitCode(1) }
  }
}
