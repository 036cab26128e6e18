import ArgumentParser
import Foundation
import SlowFast
import Support

/// One line and a status for whatever happens: 0 done, 1 bad input, 2 wrong usage, 130 interrupted.
@main
struct Main {
  static func main() {
    AddressSpace.spare()
    // A process that another of this program has started for its clips.
    DecoderProcesses.serveIfAsked()
    Output.holdClosedStreams()
    DecoderProcesses.standard = DecoderProcesses()
    Interrupt.install()
    MappedFiles.reportLostPages()
    let line = CommandLineCheck(arguments: CommandLine.systemArguments)
    do {
      try line.check()
      var command = try SlowFastCommand.parseAsRoot(CommandLine.systemArguments)
      try command.run()
      Display.clearLine()
      try Output.finish()
    } catch {
      exit(report(error, line))
    }
  }

  private static func report(_ error: any Error, _ line: CommandLineCheck) -> Int32 {
    switch error {
    case let error as UnwritableOutput:
      if !error.isBrokenPipe { Display.printError("error: \(error)") }
      return 1
    case let error as SlowFastError:
      if error.kind == .cancelled {
        Display.printError("\(error)")
        return line.failed("\(error)", status: 130)
      }
      let message = "\(error.text)\(advice(error.kind))"
      Display.printError("error: \(message)")
      return line.failed(message, status: error.kind == .invalidOption ? 2 : 1)
    default:
      if let code = error as? ExitCode { return code.rawValue }
      if SlowFastCommand.exitCode(for: error) == .success {
        do throws(UnwritableOutput) {
          try Display.print(SlowFastCommand.fullMessage(for: error))
          try Output.finish()
        } catch { return report(error, line) }
        return 0
      }
      let message = line.message(of: error)
      Display.printError("error: \(message)\n\(line.reference)")
      return line.failed(message, status: 2)
    }
  }

  /// The flag that helps.
  private static func advice(_ kind: SlowFastError.Kind) -> String {
    switch kind {
    case .outputExists: "; --force replaces it"
    case .notEnoughMemory: "; with --force it runs all the same, slowly, for weights are then read from the file again and again"
    default: ""
    }
  }
}

struct SlowFastCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "slowfast",
    abstract: "Video language models on small machines: convert a checkpoint to 3, 4 or 8 bits, ask about a video on the CPU.",
    discussion: """
      A first session:

        slowfast convert checkpoint/ model.sfq --bits 4
        slowfast run model.sfq clip.mp4 -q "What happens?"
        slowfast chat model.sfq clip.mp4

      The environment variable SLOWFAST_KERNELS forces an instruction set below the machine's best: portable, avx2, avxvnni, avx512vl, \
      avx512 or amx; on ARM portable, neon, dotprod or i8mm.

      Exit status: 0 done, 1 bad input, 2 wrong usage, 130 interrupted.

      Completion of commands, options and file names, where no package has installed it:

        slowfast --generate-completion-script bash \\
          > ~/.local/share/bash-completion/completions/slowfast
      """,
    version: SlowFastVersion.current,
    subcommands: [ConvertCommand.self, RunCommand.self, ChatCommand.self, BatchCommand.self, WatchCommand.self] + serving + [
      CompareCommand.self, FramesCommand.self, BenchCommand.self,
      TraceCommand.self, TokenizeCommand.self, InspectCommand.self, VerifyCommand.self, UnpackCommand.self, PackCommand.self,
    ])

  private static var serving: [any ParsableCommand.Type] {
    #if Server
      [ServeCommand.self]
    #else
      []
    #endif
  }
}

/// What a wrong command line is told: one line, and where to read more.
struct CommandLineCheck {
  /// Without the program's own name.
  let arguments: [String]

  private static let commands = SlowFastCommand.configuration.subcommands.compactMap { $0.configuration.commandName }

  /// Refuses what names no command, before ArgumentParser takes it for a value, or for nothing.
  func check() throws {
    guard let first = arguments.first, !first.hasPrefix("-") else { return }
    guard first == "help" else { return try Self.check(command: first) }
    let topics = arguments.dropFirst().filter { !$0.hasPrefix("-") }
    if let topic = topics.first, topic != "help" { try Self.check(command: topic) }
    if let extra = topics.dropFirst().first { throw ValidationError("unexpected argument '\(extra.escaped())' after 'help \(topics[0])'") }
  }

  private static func check(command: String) throws {
    if commands.contains(command) { return }
    let advice = meant(command, commands).map { ". Did you mean '\($0)'?" } ?? ", expected one of \(commands.joined(separator: ", "))"
    throw ValidationError("unknown command '\(command.escaped())'\(advice)")
  }

  /// A name that begins so, one with more to it, or one with about one wrong letter in three; `prefix` is what all of them begin with.
  private static func meant(_ word: String, _ names: [String], prefix: String = "") -> String? {
    let typed = word.lowercased().dropFirst(prefix.count)
    func rest(_ name: String) -> Substring { name.dropFirst(prefix.count) }
    let near = names.first { typed.count > 1 && rest($0).hasPrefix(typed) || rest($0).count > 3 && typed.hasPrefix(rest($0)) }
    return near
      ?? names.map { ($0, String(typed).edits(to: String(rest($0)))) }.filter { $0.1 <= max(1, rest($0.0).count / 3) }
      .min { $0.1 < $1.1 }?.0
  }

  /// In the spelling of the other errors, with a word about values that begin with a minus sign.
  func message(of error: any Error) -> String {
    var text = SlowFastCommand.message(for: error)
    if let first = text.first, first.isUppercase, text.dropFirst().first?.isLowercase == true {
      text.replaceSubrange(...text.startIndex, with: first.lowercased())
    }
    // A misspelt option is told rather than what is missing because of it.
    if text.hasPrefix("missing expected argument") || text.hasPrefix("unknown option '--"), let unknown = unknownOption { text = unknown }
    if let hint = hint(text) { text += ": " + hint }
    return text
  }

  private var unknownOption: String? {
    let command = SlowFastCommand.configuration.subcommands.first { $0.configuration.commandName == arguments.first }
    let help = command.map { SlowFastCommand.helpMessage(for: $0, columns: 1000) } ?? SlowFastCommand.helpMessage(columns: 1000)
    let known = help.split { !($0.isLetter || $0 == "-") }.map(String.init).filter { $0.hasPrefix("--") }
    let given = arguments.prefix { $0 != "--" }.filter { $0.hasPrefix("--") }.map { String($0.prefix { $0 != "=" }) }
    guard let unknown = given.first(where: { !known.contains($0) }) else { return nil }
    return "unknown option '\(unknown.escaped())'" + (Self.meant(unknown, known, prefix: "--").map { ". Did you mean '\($0)'?" } ?? "")
  }

  /// Where to read more.
  var reference: String {
    let command = arguments.first.flatMap { Self.commands.contains($0) ? " " + $0 : nil } ?? ""
    return "See 'slowfast\(command) --help'."
  }

  private func hint(_ message: String) -> String? {
    /// No option begins so.
    func isValue(_ argument: String) -> Bool {
      guard argument.hasPrefix("-"), let next = argument.dropFirst().first else { return false }
      return next.isNumber || next == "." || argument.contains(" ")
    }
    if message.hasPrefix("missing value for '"),
      let name = message.split(whereSeparator: { "' ".contains($0) }).first(where: { $0.hasPrefix("-") }),
      let place = arguments.firstIndex(of: String(name)), let value = arguments[(place + 1)...].first, isValue(value)
    {
      return "a value that begins with '-' is written \(name)=\(value.contains(" ") ? "'\(value.escaped())'" : value.escaped())"
    }
    if message.hasPrefix("unknown option"), let value = arguments.first(where: isValue), !arguments.contains("--") {
      return
        "what begins with '-' and is no option comes last, after '--': -- \(value.contains(" ") ? "'\(value.escaped())'" : value.escaped())"
    }
    return nil
  }
}

extension String {
  /// Characters to put in, take out, replace or swap with the next one.
  fileprivate func edits(to other: String) -> Int {
    let (a, b) = (Array(self), Array(other))
    var rows = [Array(0...b.count)]
    for i in stride(from: 1, through: a.count, by: 1) {
      var row = [i] + Array(repeating: 0, count: b.count)
      for j in stride(from: 1, through: b.count, by: 1) {
        row[j] = Swift.min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
        if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { row[j] = Swift.min(row[j], rows[i - 2][j - 2] + 1) }
      }
      rows.append(row)
    }
    return rows[a.count][b.count]
  }
}
