import SlowFast

/// What a line of a conversation asks for.
enum ChatLine: Equatable {
  case blank
  case question(String)
  case help, clear, frames, quit
  case save(String)
  /// Begins as a command does, and is none.
  case unknown(String)

  static let helpText = """
    /clear       forget the conversation, keep the clip
    /frames      the frames that the model saw
    /save FILE   write the conversation, as JSON where FILE ends in .json
    /quit        end, as Ctrl-D does
    Ctrl-C stops an answer. A question that begins as a command does is written after a space.
    """

  /// A command is a slash and letters only, so that a path may begin a question.
  init(_ line: String) {
    let trimmed = line.trimmed
    guard !trimmed.isEmpty else {
      self = .blank
      return
    }
    let word = line.prefix { !$0.isWhitespace }
    guard word.first == "/", word.dropFirst().allSatisfy(\.isLetter) else {
      self = .question(trimmed)
      return
    }
    let rest = String(line.dropFirst(word.count)).trimmed
    switch (word, rest.isEmpty) {
    case ("/help", true): self = .help
    case ("/clear", true): self = .clear
    case ("/frames", true): self = .frames
    case ("/quit", true), ("/exit", true): self = .quit
    case ("/save", false): self = .save(rest)
    default: self = .unknown(trimmed)
    }
  }

  /// A line as it was read: only the name of a file may be no UTF-8. nil where something else is not.
  init?(bytes: [UInt8]) {
    let command = ChatLine(String(fileName: bytes))
    if case .save = command {
      self = command
    } else if let text = String(validating: bytes, as: UTF8.self) {
      self.init(text)
    } else {
      return nil
    }
  }

  /// What to do about a line that is no command.
  static func hint(_ line: String) -> String {
    if line == "/save" { return "/save needs a file's name: /save FILE" }
    return
      "no command \(line.quoted), expected /help, /clear, /frames, /save FILE or /quit; a question that begins so is written after a space"
  }
}

extension String {
  fileprivate var trimmed: String {
    let start = drop(while: \.isWhitespace)
    return start.lastIndex { !$0.isWhitespace }.map { String(start[...$0]) } ?? ""
  }
}
