import Foundation
import TestSupport
import Testing

/// Questions from a file and answers to a file.
@Suite struct BatchTests {
  private let directory: TemporaryDirectory
  private let options = ["--frames", "4", "--max-tokens", "5", "--greedy", "--progress", "none"]

  init() throws {
    directory = try TemporaryDirectory()
    try FileManager.default.createSymbolicLink(atPath: directory.file("clip.mp4"), withDestinationPath: Repository.clip)
  }

  private func batch(_ lines: [String], _ more: String..., output: String = "answers.jsonl") throws -> Outcome {
    let questions = try directory.write("questions.jsonl", Array(lines.joined(separator: "\n").utf8))
    return try Run(["batch", try Fixture.model(), questions, "-o", directory.file(output)] + options + more).finish()
  }

  private func answers(_ name: String = "answers.jsonl") throws -> [[String: Any]] {
    try String(contentsOfFile: directory.file(name), encoding: .utf8).split(separator: "\n").map { line in
      try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }
  }

  /// Each as by `run`, in the order of the lines.
  @Test func answersAreThoseOfRun() throws {
    let outcome = try batch([
      #"{"id": "first", "video": "clip.mp4", "question": "What happens?", "answer": "ignored"}"#, "",
      #"{"video": null, "question": "Who are you?"}"#,
      #"{"id": 7, "video": "clip.mp4", "question": "And then?", "frames": 2, "start": 1, "end": 3}"#,
      #"{"video": "clip.mp4", "question": "Is it day?", "choices": ["yes", "no"]}"#,
      #"{"video": "clip.mp4", "question": "How many?", "schema": {"type": "integer", "minimum": 3, "maximum": 5}}"#,
    ])
    #expect(outcome.status == 0 && outcome.output == "", "\(outcome.errors)")
    #expect(outcome.errors.contains("answers.jsonl: 5 answers, 0 errors, "), "\(outcome.errors)")
    let found = try answers()
    #expect(found.map { $0["line"] as? Int } == [1, 3, 4, 5, 6])
    #expect(found.map { "\($0["id"] ?? "")" } == ["first", "3", "7", "5", "6"])
    let asked: [[String]] = [
      ["clip.mp4", "-q", "What happens?"], ["-q", "Who are you?"],
      ["clip.mp4", "-q", "And then?", "--frames", "2", "--start", "1", "--end", "3"],
      ["clip.mp4", "-q", "Is it day?", "--choices", "yes,no"],
    ]
    for (record, arguments) in zip(found, asked) {
      let own = arguments.contains("--frames") ? Array(options.dropFirst(2)) : options
      let inputs = arguments.map { $0 == "clip.mp4" ? Repository.clip : $0 }
      let run = try Run(["run", try Fixture.model()] + inputs + own + ["--json"]).finish().json()
      #expect(record["tokens"] as? [Int] == run["tokens"] as? [Int] && record["answer"] as? String == run["answer"] as? String)
    }
    #expect((found[3]["choices"] as? [[String: Any]])?.map { $0["text"] as? String } == ["yes", "no"])
    #expect(["3", "4", "5"].contains(found[4]["answer"] as? String))
    #expect((found[0]["statistics"] as? [String: Any])?["cached_frames"] as? Int == 4)
    #expect(Set(directory.contents) == ["clip.mp4", "questions.jsonl", "answers.jsonl"])
  }

  /// A folder that has the name of a batch's own, and is not, stays as it is; one that a batch left empty is taken.
  @Test func takesNoFolderAway() throws {
    let lines = [#"{"video": "clip.mp4", "question": "What?"}"#]
    try FileManager.default.createDirectory(atPath: directory.file("answers.jsonl.clips"), withIntermediateDirectories: false)
    _ = try directory.write("answers.jsonl.clips/holiday.mp4", Array("a film".utf8))
    let refused = try batch(lines)
    #expect(refused.status == 2 && refused.errors.contains("answers.jsonl.clips\" is there and no batch has made it"), "\(refused.errors)")
    #expect(directory.contents.contains("answers.jsonl.clips") && !directory.contents.contains("answers.jsonl"))
    #expect(try String(contentsOfFile: directory.file("answers.jsonl.clips/holiday.mp4"), encoding: .utf8) == "a film")
    let link = directory.file("other.jsonl.clips")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: directory.file("answers.jsonl.clips"))
    #expect(try batch(lines, output: "other.jsonl").status == 2)
    try FileManager.default.createDirectory(atPath: directory.file("empty.jsonl.clips"), withIntermediateDirectories: false)
    #expect(try batch(lines, output: "empty.jsonl").status == 0)
    #expect(!directory.contents.contains("empty.jsonl.clips"))
  }

  /// The others are answered all the same.
  @Test func whatIsOfNoUseIsToldOnItsLine() throws {
    let outcome = try batch([
      "rubbish", "[1]", #"{"question": "  ", "video": "clip.mp4"}"#, #"{"video": "none.mp4", "question": "What?"}"#,
      #"{"video": "questions.jsonl", "question": "What?"}"#, #"{"video": "clip.mp4", "images": [], "question": "What?"}"#,
      #"{"video": "clip.mp4", "question": "What?", "frames": 0}"#, #"{"video": "clip.mp4", "question": "What?", "start": 5, "end": 4}"#,
      #"{"video": null, "question": "What?", "choices": "yes"}"#, #"{"video": null, "question": "What?", "schema": {"type": "date"}}"#,
      #"{"video": null, "question": "What?", "choices": ["a", "b"], "schema": {}}"#, #"{"question": "one", "question": "two"}"#,
      #"{"id": "x", "video": null, "question": "one"}"#, #"{"id": "x", "video": null, "question": "two"}"#,
      #"{"id": {}, "video": null, "question": "two"}"#,
      #"{"video": null, "question": "What?", "choices": ["a", "a"]}"#, #"{"video": "clip.mp4", "question": "What?", "start": 1000}"#,
      #"{"vidoe": "clip.mp4", "question": "What?"}"#,
      "{\"video\": \"clip.mp4\", \"question\": \"What?\", \"frames\": [\"\u{7f}\"]}",
    ])
    #expect(outcome.status == 1 && outcome.errors.contains("1 answer, 18 errors"), "\(outcome.errors)")
    let found = try answers()
    let expected = [
      "no JSON", "no JSON object", "no \"question\"", "no such file", "questions.jsonl", "exclude each other", "\"frames\" is 0",
      "\"end\" is 4", "\"choices\" is no list", "\"schema\": ", "exclude each other", "\"question\" appears twice", "",
      "is that of line 13", "\"id\" is neither", "twice", "1000", "no \"video\" and no \"images\"", #""frames" is ["\u{7f}"]"#,
    ]
    #expect(found.count == expected.count)
    for (record, words) in zip(found, expected) {
      let error = record["error"] as? String
      #expect(words.isEmpty ? error == nil && record["answer"] is String : error?.contains(words) == true, "\(record)")
    }
  }

  @Test func aFileOfAnotherKind() throws {
    let output = directory.file("answers.jsonl")
    for path in [Repository.clip, try Fixture.model(), try directory.write("one.jsonl", Array("rubbish\n".utf8))] {
      let outcome = try Run(["batch", try Fixture.model(), path, "-o", output]).finish()
      outcome.expectBadInput("no JSON, expected an object with video and question")
    }
    #expect(!exists(output) && !exists(output + ".partial"))
  }

  /// It is refused before minutes are spent on its 390 frames.
  @Test func aPromptThatIsTooLongCostsNoFrame() throws {
    let long = String(repeating: "and then ", count: 3000)
    let cache = directory.file("cache")
    let outcome = try batch([#"{"video": "clip.mp4", "question": "\#(long)?", "frames": 390}"#], "--cache", cache)
    #expect(outcome.status == 1 && outcome.errors.contains("0 answers, 1 error"), "\(outcome.errors)")
    #expect((try answers().first?["error"] as? String)?.contains("the model's context has 4096") == true)
    #expect(try FileManager.default.contentsOfDirectory(atPath: cache).filter { !$0.hasPrefix(".") } == [])
  }

  @Test func aFolderAndATable() throws {
    let folder = directory.file("clips")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(atPath: folder + "/b, \"two\".mp4", withDestinationPath: Repository.clip)
    _ = try directory.write("clips/a.txt", Array("no clip".utf8))
    _ = try directory.write("clips/.hidden", Array("nothing".utf8))
    let arguments = ["batch", try Fixture.model(), folder, "-q", "What happens?", "-q", "Yes?", "-o", directory.file("a.csv"), "--csv"]
    let outcome = try Run(arguments + options + ["--choices", "yes,no"]).finish()
    #expect(outcome.status == 1 && outcome.errors.contains("2 answers, 2 errors"), "\(outcome.errors)")
    let rows = try String(contentsOfFile: directory.file("a.csv"), encoding: .utf8).components(separatedBy: "\r\n")
    #expect(rows[0] == "id,line,clip,question,answer,probability,end_reason,error" && rows.count == 6 && rows[5] == "")
    #expect(rows[1].hasPrefix("1,1,a.txt,What happens?,,,,"), "\(rows[1])")
    #expect(rows[3].hasPrefix(#"3,3,"b, ""two"".mp4",What happens?,"#), "\(rows[3])")
    #expect(rows[3].hasSuffix(",stop token,") && rows[3].contains(",0."), "\(rows[3])")

    let missing = try Run(["batch", try Fixture.model(), folder, "-o", directory.file("b.jsonl")]).finish()
    #expect(missing.status == 2 && missing.errors.contains("missing -q QUESTION"), "\(missing.errors)")
    let questions = try directory.write("questions.jsonl", Array(#"{"question": "What?"}"#.utf8))
    let twice = try Run(["batch", try Fixture.model(), questions, "-q", "What?", "-o", directory.file("b.jsonl")]).finish()
    #expect(twice.status == 2 && twice.errors.contains("-q is for a folder of clips"), "\(twice.errors)")
    #expect(!exists(directory.file("b.jsonl")))
  }

  /// What it keeps beside its answers, in the folder itself, is none of the clips, before and after it is cut off.
  @Test func answersInTheirClipsFolder() throws {
    let output = directory.file("a.jsonl")
    let arguments = ["batch", try Fixture.model(), directory.path, "-q", "What happens?", "-q", "And then?", "-o", output] + options
    let killed = try Run(arguments)
    #expect(killed.wait { exists(output + ".partial") })
    killed.kill()
    _ = try killed.finish()
    let rest = try Run(arguments + (exists(output) ? ["--force"] : [])).finish()
    #expect(rest.status == 0, "\(rest.errors)")
    #expect(try answers("a.jsonl").map { $0["clip"] as? String } == ["clip.mp4", "clip.mp4"])
  }

  /// Objects that are no questions are lines with errors, all of them too.
  @Test func noneOfUse() throws {
    let outcome = try batch([#"{"video": null, "quesiton": "What?"}"#, "rubbish"])
    #expect(outcome.status == 1 && outcome.errors.contains("0 answers, 2 errors"), "\(outcome.errors)")
    #expect(try answers().count == 2)
  }

  /// A process that was killed has lost nothing that was answered, and the next one makes what an undisturbed one does.
  @Test func goesOnWhereItWasCutOff() throws {
    let lines = (0..<60).map { #"{"video": "clip.mp4", "question": "What happens, number \#($0)?", "frames": \#($0 % 5 + 1)}"# }
    let undisturbed = try batch(lines, output: "whole.jsonl")
    #expect(undisturbed.status == 0, "\(undisturbed.errors)")
    let output = directory.file("answers.jsonl")
    let arguments = ["batch", try Fixture.model(), directory.file("questions.jsonl"), "-o", output] + options
    func kept() -> Int { ((try? String(contentsOfFile: output + ".partial", encoding: .utf8)) ?? "").count { $0 == "\n" } }
    let killed = try Run(arguments)
    #expect(killed.wait { kept() > 6 })
    killed.kill()
    _ = try killed.finish()
    #expect(!exists(output))
    // A line that was cut off.
    let file = try #require(FileHandle(forUpdatingAtPath: output + ".partial"))
    try file.seekToEnd()
    try file.write(contentsOf: Data("61\tabc".utf8))
    try file.close()

    let interrupted = try Run(arguments)
    let before = kept()
    #expect(interrupted.wait { kept() > before + 2 })
    let told = try interrupted.interrupt()
    #expect(told.status == 130 && told.errors.contains("answers.jsonl.partial; the same command goes on from there"), "\(told.errors)")

    let other = try Run(arguments + ["--system", "Be brief."]).finish()
    other.expectBadInput("answers.jsonl.partial: holds answers to other questions")
    let rest = try Run(arguments).finish()
    #expect(rest.status == 0, "\(rest.errors)")
    let (found, expected) = (try answers(), try answers("whole.jsonl"))
    #expect(found.map { $0["tokens"] as? [Int] } == expected.map { $0["tokens"] as? [Int] } && found.count == 60)
    #expect(!exists(output + ".partial") && !exists(output + ".clips"))
    try Run(arguments).finish().expectBadInput("answers.jsonl: exists already; --force replaces it")
  }

  @Test func aDamagedAnswerIsMadeAgain() throws {
    let line = #"{"video": "clip.mp4", "question": "What happens?"}"#
    #expect(try batch([line]).status == 0)
    let whole = try answers()
    try FileManager.default.removeItem(atPath: directory.file("answers.jsonl"))
    let arguments = ["batch", try Fixture.model(), directory.file("questions.jsonl"), "-o", directory.file("answers.jsonl")] + options
    let run = try Run(arguments)
    let partial = directory.file("answers.jsonl.partial")
    #expect(run.wait { exists(partial) && (try? Data(contentsOf: URL(fileURLWithPath: partial)))?.isEmpty == false })
    run.kill()
    _ = try run.finish()
    let file = try #require(FileHandle(forUpdatingAtPath: partial))
    try file.seekToEnd()
    try file.write(contentsOf: Data("1\t0123456789abcdef\t{\"answer\":\"wrong\"}\n".utf8))
    try file.close()
    #expect(try Run(arguments).finish().status == 0)
    #expect(try answers().map { $0["tokens"] as? [Int] } == whole.map { $0["tokens"] as? [Int] })
  }
}
