import ArgumentParser
import SlowFast

struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Print the token ids of a text, or the text of token ids.",
    usage: "slowfast tokenize MODEL [TEXT] [OPTIONS]",
    discussion: """
        slowfast tokenize model.sfq "Which digit flashes?"
        slowfast tokenize model.sfq --decode 291,305,390,30
      """)

  @Argument(help: "An .sfq file or a checkpoint directory.", completion: .file())
  var model: String
  @Argument(help: "A text, or beside --decode further ids; nothing reads a text from standard input.")
  var text: [String] = []
  @Option(
    help: ArgumentHelp("Token ids to turn into text, with commas or spaces between. May be repeated.", valueName: "ids"))
  var decode: [TokenIDs] = []
  @Flag(help: "One token a line, with its text.")
  var pieces = false
  @OptionGroup var format: JSONArguments

  func validate() throws {
    if decode.isEmpty {
      if text.contains(where: \.hasEscapedBytes) { throw ValidationError("the text is not UTF-8") }
      if text.count > 1 { throw ValidationError("\(text.count) texts, expected one: a text with spaces stands in quotes") }
    } else {
      _ = try ids()
      if pieces { throw ValidationError("--decode and --pieces exclude each other") }
    }
  }

  private func ids() throws -> [Int32] {
    let more = try text.map { argument in
      guard let ids = TokenIDs(argument: argument) else { throw ValidationError("\(argument.quoted) beside --decode, expected token ids") }
      return ids
    }
    return (decode + more).flatMap(\.values)
  }

  func run() throws {
    let tokenizer = try Tokenizer(model: model)
    if !decode.isEmpty {
      let decoded = try tokenizer.text(of: try ids())
      if format.json { try Display.printJSON(["text": decoded]) } else { try Display.print(decoded) }
      return
    }
    let ids = tokenizer.encode(try text.first ?? QuestionText.standardInput())
    if format.json {
      try Display.printJSON(["ids": ids])
    } else if pieces {
      for id in ids { try Display.print("\(id)\t\(tokenizer.decode([id]).escaped())") }
    } else {
      try Display.print(ids.map(String.init).joined(separator: " "))
    }
  }
}

/// `9707`, `9707,11` or `9707 11`, as `tokenize` itself prints them.
struct TokenIDs: ExpressibleByArgument {
  var values: [Int32] = []

  init?(argument: String) {
    for part in argument.split(whereSeparator: { ", \n".contains($0) }) {
      guard let value = Int32(part) else { return nil }
      values.append(value)
    }
    if values.isEmpty { return nil }
  }
}
