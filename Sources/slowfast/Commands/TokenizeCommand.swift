import ArgumentParser
import Support
import SlowFast

struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Print the token ids of a text, or the text of token ids.",
    discussion: """
        slowfast tokenize model.sfq "Hello, world!"
        slowfast tokenize model.sfq --decode 9707 11 1879 0
      """)

  @Argument(help: "An .sfq file or a checkpoint directory.")
  var model: String
  @Argument(help: "A text; nothing reads one from standard input.")
  var text: String?
  @Option(name: .customLong("decode"), parsing: .upToNextOption, help: "Token ids to turn into text.")
  var ids: [Int32] = []
  @Flag(help: "One token a line, with its text.")
  var pieces = false
  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let tokenizer = try Tokenizer(model: model)
    if !ids.isEmpty {
      let decoded = try tokenizer.text(of: ids)
      if json { try Display.printJSON(["text": decoded]) } else { print(decoded) }
      return
    }
    let input: String
    if let text {
      input = text
    } else {
      var all = ""
      while let line = readLine(strippingNewline: false) { all += line }
      input = all
    }
    let ids = tokenizer.encode(input)
    if json {
      try Display.printJSON(["ids": ids])
    } else if pieces {
      for id in ids { print("\(id)\t\(tokenizer.decode([id]).escaped())") }
    } else {
      print(ids.map(String.init).joined(separator: " "))
    }
  }
}
