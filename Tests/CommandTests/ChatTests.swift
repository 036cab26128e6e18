import Foundation
import TestSupport
import Testing

/// `chat`, piped and at a terminal.
@Suite struct ChatTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func arguments(_ more: [String] = [], tokens: Int = 6) throws -> [String] {
    ["chat", try Fixture.model(), Repository.clip, "--frames", "4", "--max-tokens", "\(tokens)", "--greedy"] + more
  }

  private func piped(_ input: String, _ more: String...) throws -> Outcome { try Run(try arguments(more), input: input).finish() }

  private func answer(to question: String) throws -> String {
    let outcome = try slowfast(
      "run", Fixture.model(), Repository.clip, "--frames", "4", "--max-tokens", "6", "--greedy", "-q", question, "--json")
    return try #require(try outcome.json()["answer"] as? String)
  }

  private func lines(_ outcome: Outcome) throws -> [[String: Any]] {
    try outcome.output.split(separator: "\n").map { line in
      try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
    }
  }

  // MARK: Piped

  @Test func anEmptyLineFollowsEachAnswer() throws {
    let first = try answer(to: "What happens?")
    let second = try answer(to: "Who is it?")
    let outcome = try piped("What happens?\nWho is it?", "--fresh")
    #expect(outcome.status == 0 && outcome.errors == "" && outcome.output == "\(first)\n\n\(second)\n\n", "\(outcome.output)")
    // Nothing asked, nothing said.
    let none = try piped("\n \n\r\n")
    #expect(none.status == 0 && none.output == "" && none.errors == "")
  }

  @Test(arguments: [
    "\u{FEFF}What happens?\r\n\r\nWho is it?\r\n", "\n\nWhat happens?\n   \nWho is it?", "  What happens?\t\nWho is it?\n\n",
  ])
  func marksLineEndsAndBlankLines(input: String) throws {
    #expect(try piped(input).output == piped("What happens?\nWho is it?\n").output)
  }

  /// The second answer depends on the first question, unless each begins anew.
  @Test func conversationsAndFreshQuestions() throws {
    let questions = "What happens?\nWho is it?\nWhat happens?\n"
    let continued = try lines(try piped(questions, "--json"))
    let fresh = try lines(try piped(questions, "--json", "--fresh"))
    #expect(fresh[0]["tokens"] as? [Int] == fresh[2]["tokens"] as? [Int])
    #expect(try fresh[1]["answer"] as? String == (answer(to: "Who is it?")))
    #expect(continued[0]["tokens"] as? [Int] == fresh[0]["tokens"] as? [Int])
    #expect(continued[2]["tokens"] as? [Int] != fresh[2]["tokens"] as? [Int])
    let cleared = try lines(try piped("What happens?\n/clear\nWhat happens?\n", "--json"))
    #expect(cleared.map { $0["tokens"] as? [Int] } == [fresh[0], fresh[0]].map { $0["tokens"] as? [Int] })
  }

  @Test func aLineOfJSONForEachAnswer() throws {
    let outcome = try piped("What happens?\nAnd then?\n", "--json")
    let results = try lines(outcome)
    #expect(outcome.status == 0 && results.count == 2)
    for (result, question) in zip(results, ["What happens?", "And then?"]) {
      #expect(Set(result.keys) == ["clip", "question", "answer", "tokens", "end_reason", "statistics", "peak_resident_bytes"])
      #expect(result["clip"] as? String == Repository.clip && result["question"] as? String == question)
      // What libav makes of a video differs by a little from one machine to another.
      #expect(result["end_reason"] as? String == ((result["tokens"] as? [Int])?.count == 6 ? "token limit" : "stop token"))
    }
    #expect(try piped("What happens?\nAnd then?\n", "--jsonl").output.split(separator: "\n").count == 2)
  }

  /// Told on the error stream; the others have their answers, and the status says that one has none.
  @Test func questionsThatFail() throws {
    let long = String(repeating: "why ", count: 5000)
    let outcome = try piped("\(long)\nWhat happens?\n/nosuch\n", "--fresh")
    #expect(try outcome.status == 1 && outcome.output == (answer(to: "What happens?")) + "\n\n")
    let errors = outcome.errors.split(separator: "\n")
    #expect(
      errors.count == 2 && errors[0].hasPrefix("error: the prompt takes ")
        && errors[1].hasPrefix(#"error: no command "/nosuch", expected /help"#), "\(errors)")
    let json = try piped("\(long)\nWhat happens?\n", "--json")
    let results = try lines(json)
    #expect(json.status == 1 && results.count == 2 && results[0]["question"] as? String == long.trimmingCharacters(in: .whitespaces))
    #expect((results[0]["error"] as? [String: Any])?["status"] as? Int == 1 && results[1]["answer"] != nil)
  }

  @Test func linesThatAreNotUTF8() throws {
    let file = try directory.write("questions", Data("What happens?\n".utf8) + Data([0x63, 0xE9, 0x0A]) + Data("What happens?\n".utf8))
    let command = try (["\(Run.executable)"] + arguments(["--fresh"])).map { "'\($0)'" }.joined(separator: " ")
    let shell = Process()
    shell.executableURL = URL(fileURLWithPath: "/bin/sh")
    shell.arguments = ["-c", "\(command) < '\(file)' > '\(directory.file("out"))' 2> '\(directory.file("errors"))'"]
    try shell.run()
    shell.waitUntilExit()
    let one = try answer(to: "What happens?")
    #expect(shell.terminationStatus == 1)
    #expect(try String(contentsOfFile: directory.file("out"), encoding: .utf8) == "\(one)\n\n\(one)\n\n")
    #expect(try String(contentsOfFile: directory.file("errors"), encoding: .utf8) == "error: a question is not UTF-8\n")
  }

  /// Commands work here too and say what they say on the error stream; a path, or a space before, makes a question of it.
  @Test func commandsInAPipe() throws {
    let saved = directory.file("talk.json")
    let outcome = try piped("/help\nWhat happens?\n/frames\n/save \(saved)\n/save \(saved)\n/quit\nWho is it?\n")
    #expect(try outcome.status == 1 && outcome.output == (answer(to: "What happens?")) + "\n\n")
    #expect(outcome.errors.contains("/save FILE") && outcome.errors.contains("nasa.mp4: 4 of 390 frames\n"), "\(outcome.errors)")
    #expect(outcome.errors.hasSuffix("error: \(saved): exists already\n"), "\(outcome.errors)")
    for question in ["/etc/passwd is what?", " /help"] {
      let result = try piped(question + "\n", "--json").json()
      #expect(result["question"] as? String == question.trimmingCharacters(in: .whitespaces))
    }
  }

  @Test func savedConversations() throws {
    let answers = try lines(try piped("What happens?\nAnd then?\n", "--json")).map { try #require($0["answer"] as? String) }
    let (json, text, none) = (directory.file("talk.JSON"), directory.file("talk.txt"), directory.file("no/talk.txt"))
    let outcome = try piped("What happens?\nAnd then?\n/save \(json)\n/save \(text)\n/save \(none)\n/save\n")
    #expect(
      outcome.errors.contains("(2 questions in \(text))") && outcome.errors.contains("no/talk.txt: cannot write: No such file"),
      "\(outcome.errors)")
    #expect(outcome.errors.hasSuffix("error: /save needs a file's name: /save FILE\n"))
    #expect(
      try String(contentsOfFile: text, encoding: .utf8)
        == "\(Repository.clip)\n\n> What happens?\n\(answers[0])\n\n> And then?\n\(answers[1])\n")
    let object = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: json))) as? [String: Any])
    #expect(try object["clip"] as? String == Repository.clip && object["model"] as? String == (Fixture.model()))
    let turns = try #require(object["turns"] as? [[String: String]])
    #expect(turns.map { $0["answer"] } == answers && turns.map { $0["question"] } == ["What happens?", "And then?"])
    #expect(turns.allSatisfy { ["token limit", "stop token"].contains($0["end_reason"]) })
    // What is not at a terminal leaves no history.
    #expect(!exists(directory.file("state")))
  }

  /// The file has the name that was given, byte for byte; a question is a text.
  @Test func savedUnderANameOfBytes() throws {
    let script =
      #"printf 'What happens?\n/save %s/t\351.json\n' "$FOLDER" | "$0" "$@" > /dev/null && cat "$(printf '%s/t\351.json' "$FOLDER")""#
    let outcome = try Run(script: script, try arguments(), environment: ["FOLDER": directory.path]).finish()
    #expect(outcome.status == 0 && outcome.errors == "(1 question in \(directory.path)/t\\xe9.json)\n", "\(outcome.errors)")
    #expect((try outcome.json()["turns"] as? [Any])?.count == 1)
  }

  // MARK: At a terminal

  private var state: [String: String] { ["XDG_STATE_HOME": directory.file("state")] }

  private func terminal(_ more: [String] = [], tokens: Int = 6, columns: Int = 100, environment: [String: String] = [:]) throws
    -> PseudoTerminal
  {
    let terminal = try PseudoTerminal(
      try arguments(more, tokens: tokens), columns: columns, environment: state.merging(environment) { _, new in new })
    try #require(terminal.wait { $0.screen.lines.last?.hasPrefix(">") == true }, "\(terminal.text)")
    return terminal
  }

  /// Types a line and waits for the prompt after it.
  private func enter(_ line: String, _ terminal: PseudoTerminal) throws {
    let prompts = terminal.screen.lines.count { $0.hasPrefix(">") }
    terminal.type(line + "\r")
    try #require(terminal.wait { $0.screen.lines.count { $0.hasPrefix(">") } > prompts }, "\(terminal.text)")
  }

  /// With and without an editor.
  @Test(arguments: ["xterm", "dumb"])
  func aConversation(terminal name: String) throws {
    let first = try answer(to: "What happens?")
    let terminal = try terminal(environment: ["TERM": name])
    #expect(terminal.screen.lines.first == "A question and Enter; /help lists the commands; Ctrl-D or /quit ends.")
    try enter("What happens?", terminal)
    try enter("", terminal)
    try enter("/nosuch", terminal)
    try enter("/clear", terminal)
    try enter("What happens?", terminal)
    terminal.type("\u{4}")
    #expect(try terminal.finish() == 0)
    let shown = TerminalScreen.wrapped(
      """
      A question and Enter; /help lists the commands; Ctrl-D or /quit ends.
      > What happens?
      \(first)
      >
      > /nosuch
      error: no command "/nosuch", expected /help, /clear, /frames, /save FILE or /quit; a question that begins so is written after a space
      > /clear
      (a fresh conversation about the same clip)
      > What happens?
      \(first)
      >

      """, columns: 100)
    // An editor echoes Ctrl-D.
    let lines = terminal.screen.lines.map { $0 == "> ^D" ? ">" : $0 }
    #expect(lines.filter { $0 != "" } == shown.filter { $0 != "" }, "\(lines)")
  }

  @Test func commands() throws {
    let terminal = try terminal()
    try enter("/help", terminal)
    try enter("/frames", terminal)
    #expect(terminal.screen.lines.contains { $0.hasSuffix("nasa.mp4: 4 of 390 frames") } && terminal.text.contains("0 (0.00 s)  "))
    try enter("What happens?", terminal)
    let file = directory.file("talk.txt")
    try enter("/save \(file)", terminal)
    #expect(exists(file) && terminal.text.contains("(1 question in "))
    terminal.type("/quit\r")
    #expect(try terminal.finish() == 0)
  }

  /// Cursor keys, characters of several bytes, and the line before.
  @Test func linesAreEdited() throws {
    let terminal = try terminal()
    terminal.type("Was ist dß\u{7F}as?")
    terminal.type("\u{1B}[D\u{1B}[D\u{1B}[Dü\u{7F}\u{1}é日 \u{5} ñ")
    try enter("", terminal)
    let file = directory.file("talk.json")
    // The line before, once more with something after it.
    terminal.type("\u{1B}[A!")
    try enter("", terminal)
    try enter("/save \(file)", terminal)
    terminal.type("\u{4}")
    #expect(try terminal.finish() == 0)
    let object = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: file))) as? [String: Any])
    #expect((object["turns"] as? [[String: String]])?.map { $0["question"] } == ["é日 Was ist das? ñ", "é日 Was ist das? ñ!"])
  }

  @Test func historyIsKeptForItsOwner() throws {
    let first = try terminal()
    try enter("/frames", first)
    try enter("Wo ist ö?", first)
    first.type("\u{4}")
    _ = try first.finish()
    let (folder, file) = (directory.file("state/slowfast"), directory.file("state/slowfast/history"))
    #expect(try String(contentsOfFile: file, encoding: .utf8) == "/frames\nWo ist ö?\n")
    func mode(_ path: String) throws -> Int? { try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int }
    #expect(try mode(folder) == 0o700 && mode(file) == 0o600)

    let second = try terminal()
    second.type("\u{1B}[A\u{1B}[A")
    try enter("", second)
    #expect(second.screen.lines.contains("> /frames") && second.text.contains("4 of 390 frames"), "\(second.text)")
    second.type("\u{4}")
    _ = try second.finish()
  }

  /// Nothing is written through a link, and the conversation goes on.
  @Test func aHistoryThatIsALink() throws {
    let target = try directory.write("precious", Data())
    try FileManager.default.createDirectory(atPath: directory.file("state/slowfast"), withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(atPath: directory.file("state/slowfast/history"), withDestinationPath: target)
    let terminal = try terminal()
    try enter("/frames", terminal)
    try enter("/help", terminal)
    #expect(terminal.text.components(separatedBy: "the history is not kept").count == 2, "\(terminal.text)")
    terminal.type("\u{4}")
    #expect(try terminal.finish() == 0)
    #expect(try Data(contentsOf: URL(fileURLWithPath: target)).isEmpty)
  }

  /// What was streamed stays, the question is forgotten, and the conversation goes on.
  @Test func anAnswerIsStopped() throws {
    let terminal = try terminal(tokens: 30000)
    terminal.type("What happens?\r")
    let question = "> What happens?"
    try #require(
      terminal.wait { terminal in
        guard let row = terminal.screen.lines.firstIndex(of: question) else { return false }
        let answer = terminal.screen.lines[(row + 1)...].joined()
        return answer.filter { !$0.isWhitespace }.count > 20 && !answer.contains { "█░".contains($0) }
      }, "\(terminal.text)")
    let before = terminal.screen.lines
    terminal.type("\u{3}")
    try #require(terminal.wait { $0.screen.lines.contains("(stopped; the question is forgotten)") }, "\(terminal.text)")
    try #require(terminal.wait { $0.screen.lines.last == ">" })
    for (old, now) in zip(before, terminal.screen.lines) { #expect(now.hasPrefix(old), "\(old)") }
    try enter("/frames", terminal)
    terminal.type("\u{4}")
    #expect(try terminal.finish() == 0)
  }

  /// Ctrl-Z and `fg`: the prompt is drawn again, with what was typed where the library edits lines; a terminal forgets it.
  @Test(arguments: ["xterm", "dumb"])
  func aStoppedConversationGoesOn(terminal name: String) throws {
    let terminal = try PseudoTerminal(
      try arguments(), columns: 100, script: "\"$0\" \"$@\"; echo stopped; fg > /dev/null",
      environment: ["TERM": name].merging(state) { $1 })
    try #require(terminal.wait { $0.screen.lines.last == ">" }, "\(terminal.text)")
    terminal.type("What hap")
    try #require(terminal.wait { $0.screen.lines.last == "> What hap" }, "\(terminal.text)")
    terminal.type("\u{1A}")
    let isEdited = name == "xterm"
    try #require(
      terminal.wait { $0.text.contains("stopped") && $0.screen.lines.last == (isEdited ? "> What hap" : ">") }, "\(terminal.text)")
    terminal.type(isEdited ? "pens?\r" : "What happens?\r")
    let answer = try answer(to: "What happens?")
    try #require(terminal.wait { $0.screen.lines.suffix(2) == [answer, ">"] }, "\(terminal.text)")
    // Once more: Ctrl-C is a key, or a signal, as before.
    terminal.type("\u{3}")
    try #require(terminal.wait { $0.text.contains("(Ctrl-C again") && $0.screen.lines.last == ">" }, "\(terminal.text)")
    terminal.type("\u{4}")
    #expect(try terminal.finish() == 0)
  }

  /// Two signals at once would be one.
  @Test func twoInterruptsAtOnce() throws {
    let terminal = try terminal()
    // Not before the line is edited: until then the keys are signals.
    terminal.type("a question")
    try #require(terminal.wait { $0.screen.lines.last == "> a question" }, "\(terminal.text)")
    terminal.type("\u{3}\u{3}")
    #expect(try terminal.finish() == 0)
  }

  /// Once is a hint and takes the line away, twice in a row ends; something entered between makes it once again.
  @Test(arguments: ["xterm", "dumb"])
  func interruptsAtThePrompt(terminal name: String) throws {
    let terminal = try terminal(environment: ["TERM": name])
    let hint = "(Ctrl-C again, Ctrl-D or /quit ends)"
    func hints() -> Int { terminal.screen.lines.count { $0 == hint } }
    terminal.type("a question that nobody")
    try #require(terminal.wait { $0.text.contains("nobody") })
    terminal.type("\u{3}")
    try #require(terminal.wait { _ in hints() == 1 && terminal.screen.lines.last == ">" }, "\(terminal.text)")
    try enter("/frames", terminal)
    #expect(terminal.text.contains("4 of 390"))
    terminal.type("\u{3}")
    try #require(terminal.wait { _ in hints() == 2 && terminal.screen.lines.last == ">" }, "\(terminal.text)")
    terminal.type("\u{3}")
    #expect(try terminal.finish() == 0)
    #expect(hints() == 2)
  }
}
