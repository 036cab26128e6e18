import ArgumentParser
import SlowFast

struct FramesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "frames",
    abstract: "The frames that a model would see, as PNG files and as one contact sheet.",
    usage: "slowfast frames CLIP -n FRAMES [OPTIONS]",
    discussion: """
        slowfast frames clip.mp4 -n 16 --sheet sheet.png

      Frames are taken at int(linspace(0, count - 1, N)) of those that decode; with --sampling rate every round(rate / fps)-th, at most N; \
      with \
      --sampling spread at round(seconds · fps) places, at most N.
      """)

  @Argument(help: "A video, an image or a directory of images.", completion: .file())
  var video: String
  @Option(name: [.customShort("n"), .customLong("frames")], help: "Frames to take.")
  var frames: Int
  @OptionGroup var range: RangeArguments
  @Option(
    name: [.short, .customLong("output")], help: "Write the frames to this directory, made if it is not there.", completion: .directory)
  var output: String?
  @Option(help: "Write one picture with all frames, their indices and times: NAME.png or NAME.jpg.", completion: .file())
  var sheet: String?
  @Flag(help: "Replace files that exist; never the clip.")
  var force = false
  @OptionGroup var format: JSONArguments
  @OptionGroup var display: ProgressArguments

  func validate() throws {
    if frames < 1 { throw ValidationError("--frames is \(frames), expected at least 1") }
  }

  func run() throws {
    let progress = ProgressLine(display, isJSON: format.json)
    let report = try FrameExport(directory: output, sheet: sheet, replacing: force).run(
      try MediaInput(opening: video), range.request(frames: frames),
      progress: { progress.line("decoding", $0, $1, "frame \($0) of \($1)") }, isCancelled: { Interrupt.isRequested })
    if format.json { return try Display.printJSON(report) }
    for frame in report.frames {
      try Display.print("\(frame.index)\t\(Printing.fixed(frame.seconds, 3)) s\t\(frame.width)×\(frame.height)")
    }
    for warning in report.warnings { Display.printError("warning: \(warning)") }
  }
}

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
