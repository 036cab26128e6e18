import ArgumentParser
import SlowFast
import Support

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "What is in an .sfq file: measures, sizes, bits per weight, how it was made.",
    usage: "slowfast inspect MODEL.sfq [OPTIONS]")

  @Argument(help: "An .sfq file.", completion: .file())
  var model: String
  @Flag(help: "List every tensor, as JSON always does.")
  var tensors = false
  @OptionGroup var format: JSONArguments

  func run() throws {
    var summary = try ModelSummary(path: model)
    if format.json {
      summary.path = summary.path.fileNameText
      return try Display.printJSON(summary)
    }
    try Display.print(Printing.summary(summary))
    if tensors { try Display.print("\n" + Printing.tensors(summary)) }
  }
}

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check every checksum of an .sfq file.",
    usage: "slowfast verify MODEL.sfq [OPTIONS]",
    discussion: "Names each damaged tensor and its range of bytes in the file. Exit status 1 when there is damage.")

  @Argument(help: "An .sfq file.", completion: .file())
  var model: String
  @OptionGroup var format: JSONArguments
  @OptionGroup var display: ProgressArguments

  func run() throws {
    let progress = ProgressLine(display, isJSON: format.json)
    let damage = try ModelFiles.verify(model) { done, total in
      progress.line("verifying", done, total, "\(formatBytes(done)) of \(formatBytes(total))")
      return !Interrupt.isRequested
    }
    if format.json {
      try Display.printJSON(damage)
    } else if damage.isEmpty {
      try Display.print("\(model.escaped()): every checksum is right")
    } else {
      for item in damage { try Display.print(item.description) }
    }
    guard !damage.isEmpty else { return }
    let parts = Set(damage.map(\.part))
    Display.printError(
      "error: \(model.escaped()): damaged in \(counted(damage.count, "place")): \(parts.sorted().prefix(4).joined(separator: ", "))"
        + (parts.count > 4 ? " and \(parts.count - 4) more" : ""))
    throw ExitCode(1)
  }
}

struct UnpackCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unpack",
    abstract: "Rewrite an .sfq file without compression: all of it is mapped, nothing decompressed, at each start.",
    usage: "slowfast unpack MODEL.sfq OUTPUT.sfq [OPTIONS]")
  @OptionGroup var arguments: RewriteArguments

  func run() throws { try arguments.run(compressed: false) }
}

struct PackCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pack", abstract: "Rewrite an .sfq file as small as zstd makes it; its codes too are then decompressed at each start.",
    usage: "slowfast pack MODEL.sfq OUTPUT.sfq [OPTIONS]")
  @OptionGroup var arguments: RewriteArguments

  func run() throws { try arguments.run(compressed: true) }
}

struct RewriteArguments: ParsableArguments {
  @Argument(help: "An .sfq file.", completion: .file())
  var model: String
  @Argument(help: "The file to write.", completion: .file())
  var output: String
  @Flag(help: "Replace the output if it exists.")
  var force = false
  @OptionGroup var format: JSONArguments
  @OptionGroup var display: ProgressArguments

  func run(compressed: Bool) throws {
    let progress = ProgressLine(display, isJSON: format.json)
    let written = WrittenFile(output, of: model)
    try ModelFiles.rewrite(model, to: output, compressed: compressed, force: force) { done, total in
      progress.line("rewriting", done, total, "\(formatBytes(done)) of \(formatBytes(total))")
      return !Interrupt.isRequested
    }
    if format.json { try Display.printJSON(written.finished()) }
  }
}
