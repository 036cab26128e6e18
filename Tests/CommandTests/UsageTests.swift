import Foundation
import TestSupport
import Testing

/// Help, and what is refused whatever the files hold.
@Suite struct UsageTests {
  static let commands = [
    "convert", "run", "chat", "compare", "frames", "bench", "trace", "tokenize", "inspect", "verify", "unpack", "pack",
  ]

  @Test(arguments: commands)
  func help(command: String) throws {
    let outcome = try slowfast(command, "--help")
    #expect(outcome.status == 0 && outcome.errors == "")
    #expect(outcome.output.contains("USAGE: slowfast \(command)"))
  }

  @Test(arguments: commands)
  func manualPage(command: String) throws {
    let page = try String(contentsOfFile: Repository.root + "/packaging/slowfast.1", encoding: .utf8)
    #expect(page.contains("\n.B \(command)\n"))
  }

  @Test func helpOfAll() throws {
    let outcome = try slowfast("--help")
    #expect(outcome.status == 0)
    for command in Self.commands { #expect(outcome.output.contains("\n  \(command)"), "\(command)") }
    let version = try slowfast("--version")
    #expect(version.status == 0 && version.output.contains("."))
  }

  /// MODEL and CLIP stand for good ones, OUT for a path where nothing is.
  static let wrong = [
    "run MODEL", "run MODEL CLIP", "run -q hi", "run MODEL CLIP -q hi --frames 0", "run MODEL CLIP -q hi --frames x",
    "run MODEL CLIP -q hi --frames 65537", "run MODEL CLIP -q hi --nonsense", "run MODEL CLIP -q hi --temperature -1",
    "run MODEL CLIP -q hi --temperature=-1", "run MODEL CLIP -q hi --temperature nan", "run MODEL CLIP -q hi --top-p 1.5",
    "run MODEL CLIP -q hi --top-k=-1", "run MODEL CLIP -q hi --repetition-penalty 0", "run MODEL CLIP -q hi --max-tokens 0",
    "run MODEL CLIP -q hi --max-tokens 9223372036854775807", "run MODEL CLIP -q hi --slow-attention sometimes",
    "run MODEL CLIP -q hi --threads 0", "run MODEL CLIP -q hi --start 5 --end 2", "run MODEL CLIP -q hi --start=-1",
    "run MODEL CLIP -q hi --seed=-1", "run MODEL CLIP -q hi --reuse=-1", "run MODEL CLIP -q hi --reuse 1.5",
    "chat MODEL CLIP --reuse x", "run MODEL CLIP -q hi --cache OUT --cache-size 0",
    "run MODEL CLIP -q hi --cache OUT --cache-size 5X",
    "run MODEL CLIP -q hi --cache OUT --cache-size 99999999999G", "bench", "bench MODEL --stages tower,wheel", "bench MODEL --repeat 0",
    "chat", "chat MODEL CLIP --frames 0", "frames CLIP", "frames CLIP -n 0", "frames CLIP -n -1", "frames -n 2",
    "convert GOLDEN", "convert GOLDEN OUT --bits 5", "convert GOLDEN OUT --bits x", "convert GOLDEN OUT --group 33",
    "convert GOLDEN OUT --levels odd", "convert GOLDEN OUT --levels uneven --asymmetric", "convert GOLDEN OUT --levels uneven --bits 8",
    "convert GOLDEN OUT --keep tower", "convert GOLDEN OUT --keep tower=7", "convert GOLDEN OUT --keep foo=8",
    "convert GOLDEN OUT --compress gzip",
    "convert GOLDEN OUT --threads 0", "convert GOLDEN OUT --method best", "convert GOLDEN OUT --method gptq",
    "convert GOLDEN OUT --method rtn --calibrate CLIP", "convert GOLDEN OUT --calibrate", "convert GOLDEN OUT --act-order",
    "convert GOLDEN OUT --no-fold", "convert GOLDEN OUT --calibrate CLIP --damping 0", "convert GOLDEN OUT --calibrate CLIP --damping nan",
    "convert GOLDEN OUT --calibrate CLIP --calibration-clips 0", "convert GOLDEN OUT --calibrate CLIP --calibration-frames 0",
    "convert GOLDEN OUT --target-bits 0", "convert GOLDEN OUT --target-bits 33", "convert GOLDEN OUT --target-bits nan",
    "convert GOLDEN OUT --target-bits some", "convert GOLDEN OUT --target-size 0", "convert GOLDEN OUT --target-size 5X",
    "convert GOLDEN OUT --target-size 1e300", "convert GOLDEN OUT --target-size 0.1",
    "convert GOLDEN OUT --target-bits 5 --target-size 5GB",
    "trace MODEL -q hi -o OUT", "trace MODEL --video CLIP --frames some -q hi -o OUT",
    "trace MODEL --video CLIP --frames 0 -q hi -o OUT", "trace MODEL --video CLIP -q hi",
    "trace MODEL --video CLIP -q hi -o OUT --generate=-1",
    "tokenize", "tokenize MODEL two texts", "tokenize MODEL --decode 1 x", "tokenize MODEL --decode 1 --pieces",
    "tokenize MODEL --decode x", "tokenize MODEL --decode 99999", "inspect", "verify", "unpack MODEL", "pack MODEL", "explain",
  ]

  @Test(arguments: wrong)
  func wrongUsage(line: String) throws {
    let directory = try TemporaryDirectory()
    let arguments = try line.split(separator: " ").map { word in
      switch word {
      case "MODEL": try Fixture.model()
      case "CLIP": Repository.clip
      case "GOLDEN": Repository.golden("clip")
      case "OUT": directory.file("out")
      default: String(word)
      }
    }
    let outcome = try Run(arguments).finish()
    #expect(outcome.status == 2, "\(outcome.errors)")
    #expect(outcome.output == "" && outcome.errors != "")
    #expect(directory.contents == [])
  }

  /// Every line fits, and none of a paragraph ends before the next word has no place.
  @Test(arguments: [[]] + commands.map { [$0] }, [80, 60])
  func helpIsWrappedOnce(command: [String], columns: Int) throws {
    let outcome = try Run(command + ["--help"], environment: ["COLUMNS": "\(columns)"]).finish()
    let lines = outcome.output.split(separator: "\n", omittingEmptySubsequences: false)
    for line in lines { #expect(line.count <= columns, "\(line)") }
    for (line, next) in zip(lines, lines.dropFirst()) {
      guard let first = line.first, let word = next.split(separator: " ").first, first != " ", next.first != " ", !line.hasSuffix(":")
      else { continue }
      #expect(line.count + 1 + word.count >= columns, "\(line)\n\(next)")
    }
  }

  @Test(arguments: [
    ("convrt", "convert"), ("Convert", "convert"), ("conv", "convert"), ("rnu", "run"), ("chta", "chat"), ("compair", "compare"),
    ("tokenise", "tokenize"), ("inpsect", "inspect"), ("verfiy", "verify"), ("benchmark", "bench"),
  ])
  func misspeltCommands(word: String, meant: String) throws {
    for arguments in [[word], [word, "a", "--json"], [word, "--help"], ["help", word]] {
      let outcome = try Run(arguments).finish()
      #expect(outcome.status == 2 && (outcome.output == "" || arguments.contains("--json")))
      #expect(outcome.errors == "error: unknown command '\(word)'. Did you mean '\(meant)'?\nSee 'slowfast --help'.\n")
    }
  }

  @Test func wordsThatAreNoCommand() throws {
    let commands = Self.commands.sorted()
    for arguments in [["nosuch"], ["help", "nosuch"], ["help", "help", "nosuch"], ["clip.mp4"]] {
      let outcome = try Run(arguments).finish()
      #expect(outcome.status == 2 && outcome.output == "" && outcome.errors.hasPrefix("error: "), "\(outcome.errors)")
      if arguments != ["help", "help", "nosuch"] { #expect(commands.allSatisfy(outcome.errors.contains), "\(outcome.errors)") }
    }
    for arguments in [["help"], ["help", "run"], ["help", "help"], ["run", "--help"], []] {
      let outcome = try Run(arguments).finish()
      #expect(outcome.status == 0 && outcome.errors == "" && outcome.output.contains("USAGE: slowfast"), "\(arguments)")
    }
  }

  /// One line that says `error:`, and one that says where to read more.
  @Test(arguments: [
    ("run --qestion hi", "error: unknown option '--qestion'. Did you mean '--question'?", "run"),
    ("convert", "error: missing expected argument '<checkpoint>'", "convert"),
    ("convert a b --bits x", "error: the value 'x' is invalid for '--bits <bits>'", "convert"),
    (
      "convert a b --method serch",
      "error: the value 'serch' is invalid for '--method <method>'. Please provide one of 'rtn', 'search' or 'gptq'.", "convert"
    ),
    ("run m -q hi --frames 0", "error: --frames is 0, expected at least 1", "run"),
    (
      "run m -q hi --temperature -1",
      "error: missing value for '--temperature <temperature>': a value that begins with '-' is written --temperature=-1", "run"
    ),
    ("run m -q hi --top-k -5", "error: missing value for '--top-k <top-k>': a value that begins with '-' is written --top-k=-5", "run"),
    (
      "trace m --video c -q hi -o o --generate -3",
      "error: missing value for '--generate <generate>': a value that begins with '-' is written --generate=-3", "trace"
    ),
    ("frames c -n -1", "error: missing value for '-n <frames>': a value that begins with '-' is written -n=-1", "frames"),
    ("tokenize m -5", "error: unknown option '-5': what begins with '-' and is no option comes last, after '--': -- -5", "tokenize"),
  ])
  func theLineThatIsPrinted(line: String, error: String, command: String) throws {
    let outcome = try Run(line.split(separator: " ").map(String.init)).finish()
    #expect(outcome.status == 2 && outcome.output == "")
    #expect(outcome.errors == "\(error)\nSee 'slowfast \(command) --help'.\n")
  }

  /// In every place, whatever else is missing: near ones, beginnings, and none where none is near.
  @Test(arguments: [
    ("run m -q hi --frame 3", "--frames"), ("frames clip --frame 3", "--frames"), ("chat m --Frames 3", "--frames"),
    ("bench m --frame 3", "--frames"), ("compare c --variant 8", "--variants"), ("convert a b --bit=8", "--bits"),
    ("trace --vido x", "--video"), ("run m -q hi --temp 0", "--temperature"), ("run m -q hi --rep 1", "--repetition-penalty"),
    ("--versoin", "--version"), ("pack a b --jsonl", "--json"), ("verify m --frame 3", nil), ("chat m --question hi", nil),
  ])
  func misspeltOptions(line: String, meant: String?) throws {
    let words = line.split(separator: " ").map(String.init)
    let wrong = words.first { $0.hasPrefix("--") }.map { String($0.prefix { $0 != "=" }) } ?? ""
    let outcome = try Run(words).finish()
    #expect(outcome.status == 2)
    let advice = meant.map { ". Did you mean '\($0)'?" } ?? ""
    #expect(outcome.errors.hasPrefix("error: unknown option '\(wrong)'\(advice)\nSee '"), "\(outcome.errors)")
  }

  /// What the hint says does reach the option.
  @Test func negativeNumbers() throws {
    for option in ["--temperature=-1", "--top-k=-5", "--max-tokens=-1", "--repetition-penalty=-2"] {
      let outcome = try slowfast("run", Fixture.model(), "-q", "hi", option)
      #expect(outcome.status == 2 && outcome.errors.contains("expected") && outcome.errors.contains("-"), "\(outcome.errors)")
    }
    let frames = try slowfast("frames", Repository.clip, "-n=-1")
    #expect(frames.status == 2 && frames.errors.hasPrefix("error: --frames is -1, expected"), "\(frames.errors)")
    #expect(try slowfast("tokenize", Fixture.model(), "--", "-5").output == slowfast("tokenize", Fixture.model(), input: "-5").output)
  }

  /// What the library refuses has the option's name as it is typed.
  @Test(arguments: [
    ("bench M --repeat 0", "--repeat is 0, expected 1 to 1000"), ("bench M --frames 0", "--frames is 0, expected 1 to 65536"),
    ("bench M --prompts 0", "--prompts is 0, expected 1 to 16777216"), ("bench M --contexts 0", "--contexts is 0, expected 1 to 16777216"),
    ("bench M --tokens 0", "--tokens is 0, expected 1 to 65536"),
    ("run M -q hi --max-tokens 0", "--max-tokens is 0, expected 1 to 16777216"),
    ("run M -q hi --temperature=-1", "--temperature is -1.0, expected 0 or more"),
    ("run M -q hi --top-p 2", "--top-p is 2.0, expected more than 0 and at most 1"),
    ("chat M --top-k=-1", "--top-k is -1, expected 0 or more"),
    ("run M -q hi --repetition-penalty 0", "--repetition-penalty is 0.0, expected more than 0"),
    (
      "convert M none.sfq --keep a",
      "--keep is a, expected PATTERN=3, 4, 8, 16 or 32 of a part (embedding, head, attention, cross, mlp, projector, tower) or a pattern "
        + "of tensor names"
    ),
    (
      "compare M --data D -o R --variants 5",
      "--variants is 5, expected BITS[a|u][:OPTION]…, as in 8, 4a, 4u, 4:tower=8, 4:group=64, 4:target=4.5, 4:input=float"
    ),
    ("compare M --data D -o R --variants 4,4", "--variants is 4 twice, expected each variant once"),
    ("compare M --data D -o R --variants 4:calibrated", "--variants is 4:calibrated, expected --calibrate beside it"),
    ("compare M --data D -o R --parts none", "--variants is nothing, expected a variant, a model file or --parts"),
    ("compare M --data D -o R --parts 5", "--parts is 5, expected 3, 4, 8 or none"),
    ("compare M --data D -o R --max-tokens 0", "--max-tokens is 0, expected 1 to 16777216"),
  ])
  func optionsOutOfRange(line: String, error: String) throws {
    let directory = try TemporaryDirectory()
    let question = #"{"video": "\#(Repository.clip)", "question": "What?", "answer": "A rocket."}"#
    let names = [
      "M": Repository.golden("clip"), "D": try directory.write("data.jsonl", question), "R": directory.file("report"),
    ]
    let outcome = try Run(line.split(separator: " ").map { names[String($0)] ?? String($0) }).finish()
    #expect(outcome.status == 2 && outcome.output == "")
    #expect(outcome.errors == "error: \(error)\n")
  }

  /// Options with one value leave what follows to the arguments, wherever they stand.
  @Test func optionsWithOneValue() throws {
    let directory = try TemporaryDirectory()
    let lines = (0..<6).map {
      #"{"video": "\#(Repository.clip)", "question": "What is in scene \#($0)?", "answer": "A rocket that flies away."}"#
    }
    let data = try directory.write("data.jsonl", lines.joined(separator: "\n"))
    let outcome = try slowfast(
      "convert", "--calibrate", data, "--calibration-frames", "1", "--calibrate", Repository.clip, Repository.golden("clip"),
      directory.file("model.sfq"))
    #expect(outcome.status == 0, "\(outcome.errors)")
    let recipe = try slowfast("inspect", directory.file("model.sfq")).output
    #expect(recipe.contains("data.jsonl") && recipe.contains("nasa.mp4"), "\(recipe)")
    let model = try Fixture.model()
    let ids = try slowfast("tokenize", model, "Hello, world!").output.split(whereSeparator: \.isWhitespace).map(String.init)
    let repeated: [String] = ids.flatMap { ["--decode", $0] }
    let spellings: [[String]] = [
      ["--decode", ids.joined(separator: ","), model], ["--decode", ids.joined(separator: " "), model], [model, "--decode"] + ids,
      repeated + [model],
    ]
    for arguments in spellings {
      let decoded = try Run(["tokenize"] + arguments).finish()
      #expect(decoded.output == "Hello, world!\n", "\(arguments) \(decoded.errors)")
    }
  }

  /// The same words and status in every command.
  @Test(arguments: [("--start", "nan"), ("--start", "inf"), ("--start", "-1"), ("--end", "0"), ("--end", "nan"), ("--end", "-2")])
  func rangesOfTime(option: String, value: String) throws {
    for command in [["frames", Repository.clip, "-n", "2"], ["run", try Fixture.model(), Repository.clip, "-q", "hi"]] {
      let outcome = try Run(command + ["\(option)=\(value)"]).finish()
      #expect(outcome.status == 2 && outcome.errors.hasPrefix("error: \(option) is "), "\(outcome.errors)")
    }
  }

  @Test func greedyIsNotDrawn() throws {
    let outcome = try slowfast("run", try Fixture.model(), "-q", "hi", "--greedy", "--temperature", "5")
    #expect(outcome.status == 2 && outcome.errors.contains("exclude each other"), "\(outcome.errors)")
    #expect(try slowfast("run", try Fixture.model(), "-q", "hi", "--greedy", "--temperature", "0", "--max-tokens", "2").status == 0)
  }
}
