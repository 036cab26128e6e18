import ArgumentParser
import Foundation
import SlowFast
import Support

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
    try clip.generation.check(isJSON: isJSON)
    let opened = try clip.open()
    if let refusal = opened.refusal(question: "") { throw refusal }
    try opened.checkMemory(question: "")
    let progress = ProgressLine(display, isJSON: isJSON)
    try opened.watch(progress, printsWarnings: !isJSON)
    let chat = Chat(opened, model: clip.model, clips: clip.inputs, progress: progress, isFresh: fresh, isJSON: isJSON)
    if isatty(STDIN_FILENO) == 1 { try chat.runAtTerminal() } else { try chat.runPiped() }
    if chat.hasFailed { throw ExitCode(1) }
  }
}

/// A conversation: lines in, answers out.
final class Chat {
  private let opened: OpenedClips
  private let clips: [String]
  private let progress: ProgressLine
  private let isFresh: Bool
  private let isJSON: Bool
  private var transcript: Transcript
  /// Whether a piped question has no answer.
  private(set) var hasFailed = false

  init(_ opened: OpenedClips, model: String, clips: [String], progress: ProgressLine, isFresh: Bool, isJSON: Bool) {
    (self.opened, self.clips, self.progress, self.isFresh, self.isJSON) = (opened, clips, progress, isFresh, isJSON)
    transcript = Transcript(model: model.fileNameText, clip: ClipNames(names: clips))
  }

  // MARK: Piped

  func runPiped() throws {
    var reader = LineReader()
    var isFirst = true
    while true {
      let bytes: [UInt8]
      switch reader.next(isInterrupted: { Interrupt.isRequested }) {
      case .line(let line): bytes = isFirst ? line.withoutMark : line
      case .interrupted: throw SlowFastError.cancelled
      case .failed(let error): throw QuestionText.unreadable(error)
      case .end:
        if Interrupt.isRequested { throw SlowFastError.cancelled }
        return
      }
      isFirst = false
      guard let line = ChatLine(bytes: bytes) else {
        try fail("a question is not UTF-8", question: nil)
        continue
      }
      switch line {
      case .quit: return
      case .question(let question):
        let printer = AnswerPrinter(isSilent: isJSON)
        let answer: Answer
        do throws(SlowFastError) {
          answer = try ask(question, printer, isCancelled: { Interrupt.isRequested })
        } catch {
          if error.kind == .cancelled { throw error }
          try fail(error.text, question: question)
          continue
        }
        try show(answer, to: question, printer)
      case .unknown(let text): try fail(ChatLine.hint(text), question: nil)
      case let command: try obey(command) { try fail($0, question: nil) }
      }
    }
  }

  private func fail(_ message: String, question: String?) throws {
    hasFailed = true
    try QuestionFailure.tell(message, question: question, isJSON: isJSON)
  }

  // MARK: At a terminal

  func runAtTerminal() throws {
    // Where answers go elsewhere, the prompt is not among them.
    let isEdited = isatty(STDOUT_FILENO) == 1 && !isJSON
    let editor = isEdited ? LineEditor() : nil
    var keptHistory = ChatHistory()
    for line in keptHistory?.lines() ?? [] { editor?.remember(line) }
    var reader = LineReader()
    var last = ""
    var wasInterrupted = false
    ChatInterrupt.install()
    Suspension.watch(deferring: false)
    Display.printError("A question and Enter; /help lists the commands; Ctrl-D or /quit ends.")
    while true {
      let event: LineReader.Event
      if let editor {
        Display.clearLine()
        event = editor.next(prompt: "> ", isInterrupted: { ChatInterrupt.isPressed })
      } else {
        if isEdited { try Display.stream("> ") } else { Output.writeError("> ") }
        event = reader.next(isInterrupted: { ChatInterrupt.isPressed }, onReturn: { Output.writeError("> ") })
      }
      switch event {
      case .end, .failed:
        return Output.writeError("\n")
      case .interrupted:
        let presses = ChatInterrupt.take()
        Output.writeError("\n")
        Display.lineWasEntered()
        if wasInterrupted || presses > 1 { return }
        wasInterrupted = true
        Display.printError("(Ctrl-C again, Ctrl-D or /quit ends)")
        continue
      case .line(let bytes):
        Display.lineWasEntered()
        wasInterrupted = false
        let bytes = bytes.withoutMark
        guard let command = ChatLine(bytes: bytes) else {
          Display.printError("error: the line is not UTF-8")
          continue
        }
        if let line = String(validating: bytes, as: UTF8.self), !line.isBlank, line != last {
          last = line
          editor?.remember(line)
          if let history = keptHistory {
            do throws(SystemError) { try history.append(line) } catch {
              keptHistory = nil
              Display.printError("warning: \(history.path.escaped()): the history is not kept: \(error.message)")
            }
          }
        }
        if command == .quit { return }
        try answer(command)
      }
    }
  }

  /// An answer that was stopped, or a question that fails, does not end the conversation.
  private func answer(_ line: ChatLine) throws {
    guard case .question(let question) = line else { return try obey(line) { Display.printError("error: \($0)") } }
    ChatInterrupt.begin(answering: true)
    defer { ChatInterrupt.begin(answering: false) }
    let printer = AnswerPrinter(isSilent: isJSON)
    let answer: Answer
    do throws(SlowFastError) {
      answer = try ask(question, printer, isCancelled: { ChatInterrupt.isPressed })
    } catch {
      if error.kind == .cancelled { return Display.printError("(stopped; the question is forgotten)") }
      return try QuestionFailure.tell(error.text, question: question, isJSON: isJSON)
    }
    try show(answer, to: question, printer)
  }

  // MARK: Both

  private func ask(_ question: String, _ printer: AnswerPrinter, isCancelled: @escaping @Sendable () -> Bool) throws(SlowFastError)
    -> Answer
  {
    if isFresh { opened.session.startOver() }
    return try opened.session.ask(
      question, options: opened.options, progress: progress.show, isCancelled: isCancelled, onText: printer.print)
  }

  private func show(_ answer: Answer, to question: String, _ printer: AnswerPrinter) throws {
    transcript.add(question, answer)
    if isJSON {
      let record = AnswerRecord(
        answer, to: question, about: clips, options: opened.options, tokenizer: opened.session.model.tokenizer,
        statistics: opened.session.statistics)
      return try Display.printJSON(record, onOneLine: true)
    }
    try printer.finish()
    if isatty(STDIN_FILENO) == 0 { try Display.print() }
    opened.printWarnings()
  }

  /// What a command says goes to the error stream: standard output has answers only.
  private func obey(_ line: ChatLine, fail: (String) throws -> Void) throws {
    switch line {
    case .blank, .question, .quit: break
    case .help: Display.printError(ChatLine.helpText)
    case .clear:
      opened.session.startOver()
      transcript.turns = []
      Display.printError("(a fresh conversation about the same \(clips.isEmpty ? "model" : "clip"))")
    case .frames: Display.printError(framesText)
    case .save(let name): try save(name, fail)
    case .unknown(let text): try fail(ChatLine.hint(text))
    }
  }

  private func save(_ name: String, _ fail: (String) throws -> Void) throws {
    let home = ProcessInfo.processInfo.environment["HOME"]
    let path = name.hasPrefix("~/") && home != nil ? (home ?? "") + name.dropFirst() : name
    do {
      try transcript.save(to: path)
      Display.printError("(\(counted(transcript.turns.count, "question")) in \(path.escaped()))")
    } catch { try fail("\(error)") }
  }

  /// Which frames of each clip the model saw.
  private var framesText: String {
    if clips.isEmpty { return "no clip" }
    return zip(clips, opened.session.samplingReports).map { name, report in
      var lines = ["\(name.escaped()): \(report.frames.count) of \(counted(report.decodedFrames, "frame"))"]
      var line = ""
      for frame in report.frames {
        let text = "\(frame.index) (\(Printing.fixed(frame.seconds, 2)) s)"
        if line.count + text.count > 74 {
          lines.append("  " + line)
          line = ""
        }
        line += (line.isEmpty ? "" : "  ") + text
      }
      if !line.isEmpty { lines.append("  " + line) }
      return lines.joined(separator: "\n")
    }.joined(separator: "\n")
  }
}

/// A conversation as it is saved.
struct Transcript: Encodable {
  struct Turn: Encodable {
    var question: String
    var answer: String
    var endReason: String
  }
  var model: String
  var clip: ClipNames
  var turns: [Turn] = []

  mutating func add(_ question: String, _ answer: Answer) {
    turns.append(Turn(question: question, answer: answer.text, endReason: answer.endReason.words))
  }

  /// JSON where the name ends so, text otherwise; not over anything.
  func save(to path: String) throws {
    let bytes: [UInt8]
    if path.lowercased().hasSuffix(".json") {
      bytes = Array((try Printing.json(self) + "\n").utf8)
    } else {
      bytes = Array(text.utf8)
    }
    let file = try OutputFile(path, replacing: false)
    try file.write(bytes)
    try file.publish()
  }

  private var text: String {
    let heading = clip.names.isEmpty ? "" : clip.names.map { $0.escaped() }.joined(separator: ", ") + "\n\n"
    return heading + turns.map { "\($0.question.quotedLines)\n\($0.answer)\n" }.joined(separator: "\n")
  }
}
