import Foundation
import TestSupport
import Testing

/// Questions of a command line: several of one clip, from files, and what programs get to read.
@Suite struct QuestionTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func run(_ more: [String], input: String = "") throws -> Outcome {
    try Run(["run", try Fixture.model(), Repository.clip, "--frames", "4", "--max-tokens", "8", "--greedy"] + more, input: input).finish()
  }

  private func lines(_ outcome: Outcome) throws -> [[String: Any]] {
    try outcome.output.split(separator: "\n").map { line in
      try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
    }
  }

  private static let questions = ["What happens?", "Who is it?", "What happens?"]

  /// As in runs of their own, with statistics of their own; with a clip cache too.
  @Test(arguments: [[], ["--slow-attention", "all"], ["--cache"]])
  func severalQuestionsAreIndependent(options: [String]) throws {
    let cached = options == ["--cache"]
    let arguments = Self.questions.flatMap { ["-q", $0] } + (cached ? ["--cache", directory.file("cache")] : options)
    let outcome = try run(arguments + ["--json"])
    #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
    let results = try lines(outcome)
    #expect(results.map { $0["question"] as? String } == Self.questions && results.allSatisfy { $0["clip"] as? String == Repository.clip })
    for result in results {
      let question = try #require(result["question"] as? String)
      let alone = try run(["-q", question, "--json"] + (cached ? [] : options)).json()
      #expect(result["tokens"] as? [Int] == alone["tokens"] as? [Int] && result["answer"] as? String == alone["answer"] as? String)
      let (own, other) = (result["statistics"] as? [String: Any], alone["statistics"] as? [String: Any])
      #expect(own?["generated_tokens"] as? Int == other?["generated_tokens"] as? Int)
      if !cached { #expect(own?["prompt_tokens"] as? Int == other?["prompt_tokens"] as? Int) }
      let (plan, otherPlan) = (result["plan"] as? [String: Any], alone["plan"] as? [String: Any])
      #expect(plan?["prompt_tokens"] as? Int == otherPlan?["prompt_tokens"] as? Int)
    }
    #expect(try run(arguments + ["--jsonl"]).output.split(separator: "\n").count == 3)
  }

  /// For people, each answer below its question.
  @Test func severalQuestionsAsText() throws {
    let answers = try ["What happens?", "Two\nlines?"].map { try run(["-q", $0]).output }
    let outcome = try run(["-q", "What happens?", "-q", "Two\nlines?"])
    #expect(outcome.status == 0 && outcome.output == "> What happens?\n\(answers[0])\n> Two\n> lines?\n\(answers[1])", "\(outcome.output)")
  }

  @Test func oneObjectIsOneLineWhereAskedFor() throws {
    let pretty = try run(["-q", "hi", "--json"])
    #expect(pretty.output.split(separator: "\n").count > 20)
    let line = try run(["-q", "hi", "--jsonl"])
    #expect(line.output.hasSuffix("}\n") && line.output.filter { $0 == "\n" }.count == 1)
    #expect(try line.json()["answer"] as? String == pretty.json()["answer"] as? String)
    let none = try slowfast("run", Fixture.model(), "-q", "hi", "--max-tokens", "2", "--greedy", "--jsonl").json()
    #expect(none["clip"] is NSNull)
    let two = try run([Repository.clip, "-q", "hi", "--jsonl"]).json()
    #expect(two["clip"] as? [String] == [Repository.clip, Repository.clip])
  }

  /// Without a byte order mark and the last line's end, however it is written.
  @Test(arguments: ["What happens?", "What happens?\n", "What happens?\r\n", "\u{FEFF}What happens?\n"])
  func questionsFromElsewhere(content: String) throws {
    let file = try directory.write("question é.txt", content)
    for (argument, input) in [("@" + file, ""), ("-", content)] {
      let json = try run(["-q", argument, "--json"], input: input).json()
      #expect(json["question"] as? String == "What happens?", "\(argument)")
    }
    #expect(try run(["-q", "@@home", "--json"]).json()["question"] as? String == "@home")
    #expect(try run(["-q", "two\n\nlines\n", "--json"]).json()["question"] as? String == "two\n\nlines\n")
  }

  @Test func questionsThatAreNone() throws {
    let blank = try directory.write("blank.txt", " \n\n")
    let cases: [([String], String, String)] = [
      (["-q", ""], "", "--question is empty, expected a question"),
      (["-q", " \n\t"], "", "--question is blank, expected a question"),
      (["-q", "hi", "-q", ""], "", "--question is empty, expected a question"),
      (["-q", "-"], "", "standard input is empty, expected a question"),
      (["-q", "-"], "\u{FEFF}\r\n", "standard input is empty, expected a question"),
      (["-q", "@" + blank], "", "\(blank) is blank, expected a question"),
      (["-q", "-", "-q", "-"], "hi", "--question - is there twice, but standard input can be read once"),
      (["-q", "@"], "", "--question is '@', expected a file's name after it"),
    ]
    for (arguments, input, message) in cases {
      let outcome = try run(arguments, input: input)
      #expect(outcome.status == 2 && outcome.output == "", "\(arguments)")
      #expect(outcome.errors == "error: \(message)\nSee 'slowfast run --help'.\n", "\(outcome.errors)")
    }
    try run(["-q", "@" + directory.file("none.txt")]).expectBadInput("none.txt: cannot read: No such file or directory")
    try run(["-q", "@" + directory.path]).expectBadInput("cannot read: Is a directory")
    let latin = try directory.write("latin.txt", Data([0x63, 0x61, 0x66, 0xE9]))
    try run(["-q", "@" + latin]).expectBadInput("latin.txt: is not UTF-8")
    try run(["-q", "@/dev/zero"]).expectBadInput("/dev/zero: more than 16.0 MiB")
  }

  @Test(arguments: [["run", "MODEL", "-q", "-"], ["chat", "MODEL"], ["tokenize", "MODEL"]])
  func inputThatCannotBeRead(command: [String]) throws {
    let arguments = try command.map { $0 == "MODEL" ? try Fixture.model() : $0 }
    try Run(script: "exec \"$0\" \"$@\" < /", arguments).finish().expectBadInput("error: standard input: cannot read: Is a directory")
    try Run(script: "exec \"$0\" \"$@\" <&-", arguments).finish().expectBadInput("error: standard input: cannot read: Bad file descriptor")
  }

  /// In every command that has `--json`, whatever went wrong; the line on the error stream and the status are as without.
  @Test(arguments: [
    ("run /nowhere -q hi", 1), ("run MODEL /nowhere -q hi", 1), ("run MODEL -q hi --frames 0", 2), ("run MODEL", 2),
    ("run MODEL -q hi --nonsense", 2),
    ("chat /nowhere", 1), ("chat MODEL --frames x", 2), ("convert /nowhere OUT", 1), ("convert MODEL", 2),
    ("compare /nowhere --data x -o OUT", 1),
    ("frames /nowhere -n 2", 1), ("frames", 2), ("bench /nowhere", 1), ("tokenize /nowhere hi", 1), ("tokenize MODEL --decode x", 2),
    ("pack /nowhere OUT", 1), ("unpack MODEL", 2), ("trace MODEL -q hi -o OUT", 2), ("inspect /nowhere", 1),
    ("verify /nowhere", 1), ("verify", 2), ("nosuch", 2),
  ])
  func errorsAreJSONWhereAskedFor(line: String, status: Int) throws {
    let arguments = try line.split(separator: " ").map { word in
      switch word {
      case "MODEL": try Fixture.model()
      case "OUT": directory.file("out")
      default: String(word)
      }
    }
    let plain = try Run(arguments).finish()
    let outcome = try Run(arguments + ["--json"]).finish()
    #expect(
      plain.status == Int32(status) && outcome.status == plain.status && outcome.errors == plain.errors, "\(plain.errors) \(outcome.errors)"
    )
    #expect(plain.output == "" && outcome.output.hasSuffix("}\n"))
    let error = try #require(try outcome.json()["error"] as? [String: Any], "\(outcome.output)")
    #expect(Set(error.keys) == ["message", "status"] && error["status"] as? Int == status)
    let message = try #require(error["message"] as? String)
    #expect(outcome.errors.hasPrefix("error: \(message)\n"), "\(message)")
  }

  @Test func jsonThatNobodyAskedFor() throws {
    #expect(try slowfast("run", "/nowhere", "-q", "hi", "--", "--json").output == "")
    #expect(try slowfast("run", "/nowhere", "-q", "hi", "--jsonl").output.hasPrefix(#"{"error":{"message":"#))
    let help = try slowfast("run", "--help", "--json")
    #expect(help.status == 0 && help.output.hasPrefix("OVERVIEW"))
  }

  /// The others are answered.
  @Test func oneOfSeveralQuestionsIsTooLong() throws {
    let long = String(repeating: "why ", count: 5000)
    let single = try run(["-q", long])
    #expect(single.status == 1 && single.output == "" && single.errors.hasPrefix("error: the prompt takes"), "\(single.errors)")
    let outcome = try run(["-q", long, "-q", "What happens?", "--jsonl"])
    #expect(outcome.status == 1 && outcome.errors == single.errors, "\(outcome.errors)")
    let results = try lines(outcome)
    #expect(
      results.count == 2 && (results[0]["error"] as? [String: Any])?["status"] as? Int == 1 && results[0]["question"] as? String == long)
    #expect(try results[1]["answer"] as? String == (run(["-q", "What happens?", "--json"]).json()["answer"] as? String))
  }

  /// The demonstration model ends its answers by itself.
  @Test func theDemonstrationsAnswers() throws {
    let demo = Repository.root + "/benchmarks/demo"
    let outcome = try slowfast(
      "run", demo + "/checkpoint", demo + "/examples/clips/003.mp4", "--jsonl", "--temperature", "0", "--slow-attention", "all",
      "-q", "How many shapes are there?", "-q", "Which digit flashes?")
    let results = try lines(outcome)
    #expect(outcome.status == 0 && results.map { $0["answer"] as? String } == ["2", "7"], "\(outcome.output)")
    #expect(results.allSatisfy { $0["end_reason"] as? String == "stop token" && $0["seed"] == nil })
  }
}
