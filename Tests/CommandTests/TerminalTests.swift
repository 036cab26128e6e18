import Foundation
import TestSupport
import Testing

/// At a terminal progress leaves nothing behind, erases nothing and never wraps: what stays on the screen is what a file would get.
@Suite struct TerminalTests {
  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    let data = #"{"video": "\#(Repository.clip)", "question": "What happens?", "answer": "a launch"}"#
    try directory.write("eval.jsonl", data)
  }

  private func arguments(_ line: String) throws -> [String] {
    try line.split(separator: " ").map { word in
      switch word {
      case "MODEL": try Fixture.model()
      case "CLIP": Repository.clip
      case "GOLDEN": Repository.golden("clip")
      case "DATA": directory.file("eval.jsonl")
      case "OUT": directory.file("out")
      default: String(word)
      }
    }
  }

  /// A command line, and a word of the progress that it shows. Where times are printed, numbers differ from run to run.
  struct Command: Sendable {
    var line: String
    var progress: String
    var isTimed = false
  }

  static let commands = [
    Command(line: "run MODEL CLIP -q hi --frames 4 --max-tokens 2 --greedy", progress: "prefilling"),
    Command(line: "run MODEL CLIP -q hi --frames 4 --max-tokens 40 --greedy", progress: "encoding"),
    Command(line: "run MODEL CLIP -q hi --frames 4 --max-tokens 2 --greedy --seed 1 --json", progress: "loading", isTimed: true),
    Command(line: "run MODEL CLIP -q hi --frames 4 --max-tokens 2 --greedy --seed 1 --stats", progress: "encoding", isTimed: true),
    Command(line: "frames CLIP -n 4", progress: "decoding"),
    Command(line: "trace MODEL --video CLIP --frames 2 -q hi -o OUT", progress: "prefilling"),
    Command(line: "verify MODEL", progress: "verifying"),
    Command(line: "unpack MODEL OUT", progress: "rewriting"),
    Command(line: "pack MODEL OUT", progress: "rewriting"),
    Command(line: "convert GOLDEN OUT --bits 8", progress: "converting", isTimed: true),
    Command(line: "compare GOLDEN --variants 8 --data DATA --frames 2 --parts none -o OUT", progress: "measuring", isTimed: true),
    Command(line: "bench MODEL --stages cross --repeat 1 --frames 2", progress: "timing", isTimed: true),
  ]

  @Test(arguments: commands, [20, 40, 60, 100])
  func theScreenShowsTheOutput(command: Command, columns: Int) throws {
    let arguments = try arguments(command.line)
    let file = try Run(arguments).finish()
    #expect(file.status == 0 && file.errors == "", "\(file.errors)")
    try? FileManager.default.removeItem(atPath: directory.file("out"))
    let terminal = try PseudoTerminal(arguments, columns: columns)
    #expect(try terminal.finish() == 0)

    #expect(terminal.progress.contains { $0.hasPrefix(command.progress) }, "\(terminal.progress)")
    #expect(terminal.progress.allSatisfy { $0.count < columns }, "\(terminal.progress)")
    // What a model says may hold characters that would move the cursor.
    let shown = file.output.unicodeScalars.map { scalar in
      scalar.properties.generalCategory == .control && scalar != "\n" && scalar != "\t"
        ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
    }.joined()
    let expected = TerminalScreen.wrapped(shown, columns: columns)
    if command.isTimed {
      // A small number has an exponent.
      func words(_ lines: [String]) -> String { lines.joined().filter { $0 != " " }.replacing(/[0-9]+(\.[0-9]+)?(e-[0-9]+)?/, with: "") }
      #expect(words(terminal.screen.lines) == words(expected))
    } else {
      #expect(terminal.screen.lines == expected)
    }
  }

  /// A model may say anything: what would move the cursor is shown as an escape, at a terminal only.
  @Test func controlCharactersAreShown() throws {
    let line = "run MODEL CLIP -q What? --frames 4 --greedy --repetition-penalty 1.3 --max-tokens 400"
    let arguments = try arguments(line)
    func isControl(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.generalCategory == .control && scalar != "\n" && scalar != "\t" }
    let file = try Run(arguments).finish()
    #expect(file.output.unicodeScalars.contains(where: isControl), "the answer has none: choose another question")
    let terminal = try PseudoTerminal(arguments, columns: 100)
    #expect(try terminal.finish() == 0)
    let control = try #require(file.output.unicodeScalars.first(where: isControl))
    let text = terminal.text
    #expect(text.contains("\\u{\(String(control.value, radix: 16))}"))
    // Progress lines have their own; the answer comes after the last of them.
    let answer = text.components(separatedBy: "\u{1B}[K").last ?? ""
    #expect(!answer.unicodeScalars.contains { isControl($0) && $0 != "\r" })
  }

  /// What has no room goes in turn: the rate, the time left, the bar. The name stays.
  @Test func aNarrowTerminalDoesWithoutTheBar() throws {
    func last(_ columns: Int, isSizeKnown: Bool = true) throws -> String {
      let terminal = try PseudoTerminal(
        ["convert", Repository.golden("clip"), directory.file("out"), "--force"], columns: columns, isSizeKnown: isSizeKnown)
      #expect(try terminal.finish() == 0)
      return try #require(terminal.progress.last)
    }
    // A narrower line leaves room for the "^C" of an interrupt.
    let full = try last(100)
    let parts = try #require(full.firstMatch(of: /^(converting) [█░]{24}( \d+\/\d+, \S+ .iB of \S+ .iB), \d+ MB\/s$/), "\(full)").output
    let (withoutRate, withoutBar) = (full[..<parts.2.endIndex], parts.1 + parts.2)
    #expect(try last(withoutRate.count + 3) == withoutRate)
    #expect(try last(withoutRate.count + 2) == withoutBar)
    #expect(try last(withoutBar.count + 3) == withoutBar)
    #expect(try last(20) == withoutBar.prefix(16) + "…")
    // 80 columns where the terminal does not know.
    let unknown = try last(20, isSizeKnown: false)
    #expect(unknown.hasPrefix(withoutRate) && unknown.count <= 77)
  }

  /// Of a model file whose name is wide, and would move the cursor.
  @Test(arguments: [20, 30, 40, 60])
  func namesTakeTheColumnsTheyTake(columns: Int) throws {
    let name = directory.file("模型模型模型模型模型模型模型\u{1b}[2A.sfq")
    try FileManager.default.copyItem(atPath: try Fixture.model(), toPath: name)
    let terminal = try PseudoTerminal(
      [
        "compare", Repository.golden("clip"), name, "--data", directory.file("eval.jsonl"), "--frames", "2", "--parts", "none", "-o",
        directory.file("out"),
      ],
      columns: columns)
    #expect(try terminal.finish() == 0)
    for line in terminal.progress { #expect(TerminalScreen.wrapped(line, columns: columns - 1).count <= 1, "\(line)") }
    #expect(
      !terminal.screen.lines.contains { $0.hasPrefix("measuring") || $0.contains("█") || $0.contains("░") }, "\(terminal.screen.lines)")
  }

  /// The next line that is drawn has the new width; Ctrl-C leaves one line.
  @Test func theTerminalBecomesNarrower() throws {
    let clips = Array(repeating: Repository.clip, count: 40)
    let options = ["-q", "hi", "--frames", "390", "--fast-frames", "8"]
    let terminal = try PseudoTerminal(["run", try Fixture.model()] + clips + options, columns: 100)
    #expect(terminal.wait { $0.progress.contains { $0.hasPrefix("encoding ") && $0.contains("░") } })
    for columns in [30, 60, 24] {
      terminal.resize(columns: columns)
      // Lines of the old width may still be on their way.
      #expect(terminal.wait { ($0.progress.last?.count ?? columns) < columns })
      let before = terminal.progress.count
      #expect(terminal.wait { $0.progress.count >= before + 4 })
      #expect(terminal.progress[before...].allSatisfy { $0.count < columns })
    }
    terminal.type("\u{3}")
    #expect(try terminal.finish() == 130)
    // A line that was under way when the terminal became narrower may have wrapped.
    #expect(terminal.screen.lines.last == "interrupted" && !terminal.text.hasSuffix("^C"))
  }

  /// Each style where it is asked for; a terminal that cannot erase gets none of the changing lines.
  @Test func styles() throws {
    let arguments = ["verify", try Fixture.model(), "--progress"]
    func bytes(_ more: [String], environment: [String: String] = [:]) throws -> String {
      let terminal = try PseudoTerminal(more, columns: 100, environment: environment)
      #expect(try terminal.finish() == 0)
      return terminal.text
    }
    let result = try slowfast("verify", Fixture.model()).output.replacing("\n", with: "\r\n")
    #expect(try bytes(arguments + ["none"]) == result)
    #expect(try bytes(arguments + ["plain"]) == result)
    #expect(try bytes(arguments.dropLast(), environment: ["TERM": "dumb"]) == result)
    #expect(try bytes(arguments + ["bar"]).contains("verifying "))
    let file = try Run(arguments + ["bar"]).finish()
    #expect(file.status == 0 && file.errors.contains("\rverifying ") && file.errors.hasSuffix("\r\u{1b}[K"), "\(file.errors)")
    #expect(try Run(arguments + ["sometimes"]).finish().status == 2)
  }

  /// What is done between loading and the first token is shown before it is done.
  @Test func everyStageIsShown() throws {
    let terminal = try PseudoTerminal(
      ["run", try Fixture.model(), Repository.clip, "-q", "hi", "--frames", "2", "--greedy", "--max-tokens", "2", "--json"], columns: 100)
    #expect(try terminal.finish() == 0)
    var stages: [String] = []
    for line in terminal.progress {
      let stage = String(line.prefix { !"0123456789█░".contains($0) }).trimmingCharacters(in: .whitespaces)
      if stages.last != stage { stages.append(stage) }
    }
    #expect(stages == ["loading", "encoding", "loading", "reading the clip", "prefilling", "answering"], "\(stages)")
    #expect(terminal.progress.first { $0.hasPrefix("prefilling") }?.firstMatch(of: #/ 0 of \d+ tokens$/#) != nil, "\(terminal.progress)")
  }

  /// Every 30 seconds, without a character that moves a cursor.
  @Test(.enabled(if: slowness == 1, "an emulator has no frame to tell of by then")) func aLongRunWithoutATerminalWritesLines() throws {
    let clips = Array(repeating: Repository.clip, count: 40)
    let arguments = ["run", try Fixture.model()] + clips + ["-q", "hi", "--frames", "390", "--fast-frames", "8"]
    let run = try Run(arguments)
    // Where both streams are one, JSON has it for itself.
    let mixed = try Run(script: "exec \"$0\" \"$@\" 2>&1", arguments + ["--json", "--progress", "plain"])
    let start = Date()
    #expect(run.wait { Date().timeIntervalSince(start) > 35 })
    let outcome = try run.interrupt()
    let output = try mixed.interrupt().output
    #expect(output == "interrupted\n{\"error\":{\"message\":\"interrupted\",\"status\":130}}\n", "\(output)")
    #expect(outcome.status == 130 && outcome.output == "")
    #expect(outcome.errors.wholeMatch(of: /encoding frame \d+ of 15600, [^\r\n]+ left\ninterrupted\n/) != nil, "\(outcome.errors)")
  }

  /// An answer that is stopped stays where it is.
  @Test func ctrlCLeavesTheAnswer() throws {
    let terminal = try PseudoTerminal(["run", try Fixture.model(), "-q", "hi", "--greedy", "--max-tokens", "30000"], columns: 60)
    #expect(terminal.wait { $0.screen.lines.count > 1 })
    terminal.type("\u{3}")
    let status = try terminal.finish()
    #expect(status == 130)
    let whole = try slowfast("run", try Fixture.model(), "-q", "hi", "--greedy", "--max-tokens", "1000").output
    let lines = terminal.screen.lines
    #expect(lines.last == "interrupted")
    // The terminal's "^C" moves what comes after it.
    let shown = lines.dropLast().joined().replacing("^C", with: "").filter { !$0.isWhitespace }
    // Random weights say control characters too, sooner or later.
    #expect(shown.count > 50 && whole.filter { !$0.isWhitespace }.hasPrefix(shown.prefix(50)), "\(lines)")
  }

  /// The clip checkpoint with every token as one that ends an answer.
  @Test func anEmptyAnswerLeavesNoProgress() throws {
    let checkpoint = directory.file("checkpoint")
    try FileManager.default.copyItem(atPath: Repository.golden("clip"), toPath: checkpoint)
    try directory.write("checkpoint/generation_config.json", "{\"eos_token_id\": \(Array(0..<512))}")
    let terminal = try PseudoTerminal(["run", checkpoint, Repository.clip, "-q", "hi", "--frames", "2"], columns: 60)
    #expect(try terminal.finish() == 0)
    #expect(terminal.progress.contains { $0.hasPrefix("prefilling") } && terminal.screen.lines == [], "\(terminal.screen.lines)")
  }
}
