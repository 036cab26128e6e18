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
    // What the tower took is told once of each clip.
    let statistics = found.map { $0["statistics"] as? [String: Any] }
    #expect(statistics.map { $0?["encoded_frames"] as? Int } == [4, 0, 2, 0, 0])
    #expect(statistics.map { (($0?["times"] as? [String: Any])?["tower"] as? Double ?? 0) > 0 } == [true, false, true, false, false])
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
    // A batch's own mark does not make it one.
    _ = try directory.write("answers.jsonl.clips/.lock", Array("".utf8))
    #expect(try batch(lines).status == 2 && exists(directory.file("answers.jsonl.clips/holiday.mp4")))
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
      #"{"video": null, "question": "What?", "end": 3}"#,
    ])
    #expect(outcome.status == 1 && outcome.errors.contains("1 answer, 19 errors"), "\(outcome.errors)")
    let found = try answers()
    let expected = [
      "no JSON", "no JSON object", "no \"question\"", "no such file", "questions.jsonl", "exclude each other", "\"frames\" is 0",
      "\"end\" is 4", "\"choices\" is no list", "\"schema\": ", "exclude each other", "\"question\" appears twice", "",
      "\"id\" is that of line 13", "\"id\" is neither", "twice", "1000", "no \"video\" and no \"images\"", #""frames" is ["\u{7f}"]"#,
      "\"end\" is for a clip",
    ]
    #expect(found.count == expected.count)
    // What is there of a line that is wrong is told with it.
    #expect(found[2]["clip"] as? String == "clip.mp4" && found[6]["question"] as? String == "What?")
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
    _ = try directory.write("clips/a.mp4", Array("no clip".utf8))
    _ = try directory.write("clips/notes.txt", Array("no clip".utf8))
    for name in ["more", "more/pictures", "more/day", "empty"] {
      try FileManager.default.createDirectory(atPath: folder + "/" + name, withIntermediateDirectories: true)
    }
    _ = try directory.write("clips/more/pictures/1.jpg", [0xFF, 0xD8, 0xFF, 0])
    // A picture beside a video does not hide it.
    try FileManager.default.createSymbolicLink(atPath: folder + "/more/day/cam.mp4", withDestinationPath: Repository.clip)
    _ = try directory.write("clips/more/day/thumb.jpg", [0xFF, 0xD8, 0xFF, 0])
    try FileManager.default.createSymbolicLink(atPath: folder + "/more/clip", withDestinationPath: Repository.clip)
    try FileManager.default.createSymbolicLink(atPath: folder + "/more/round", withDestinationPath: folder)
    _ = try directory.write("clips/.hidden", Array("nothing".utf8))
    let arguments = ["batch", try Fixture.model(), folder, "-q", "What happens?", "-q", "Yes?", "-o", directory.file("a.csv"), "--csv"]
    let outcome = try Run(arguments + options + ["--choices", "yes,no"]).finish()
    #expect(outcome.status == 1 && outcome.errors.contains("6 answers, 6 errors"), "\(outcome.errors)")
    #expect(outcome.errors.contains("no clips and left out: \"empty/\", \"notes.txt\"\n"), "\(outcome.errors)")
    let rows = try String(contentsOfFile: directory.file("a.csv"), encoding: .utf8).components(separatedBy: "\r\n")
    #expect(rows[0] == "id,line,clip,question,answer,probability,end_reason,error" && rows.count == 14 && rows[13] == "")
    #expect(rows[1].hasPrefix("1,1,a.mp4,What happens?,,,,"), "\(rows[1])")
    #expect(rows[3].hasPrefix(#"3,3,"b, ""two"".mp4",What happens?,"#), "\(rows[3])")
    #expect(rows[3].hasSuffix(",stop token,") && rows[3].contains(",0."), "\(rows[3])")
    let asked = [
      "more/clip,What happens?,", "more/day/cam.mp4,What happens?,", "more/day/thumb.jpg,What happens?,,,,",
      "more/pictures,What happens?,,,,",
    ]
    for (place, words) in asked.enumerated() {
      let row = rows[5 + 2 * place]
      #expect(row.hasPrefix("\(5 + 2 * place),\(5 + 2 * place),\(words)"), "\(row)")
    }

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
    other.expectBadInput("answers.jsonl.partial: holds answers of another model or with other options")
    let rest = try Run(arguments).finish()
    #expect(rest.status == 0, "\(rest.errors)")
    let (found, expected) = (try answers(), try answers("whole.jsonl"))
    #expect(found.map { $0["tokens"] as? [Int] } == expected.map { $0["tokens"] as? [Int] } && found.count == 60)
    #expect(!exists(output + ".partial") && !exists(output + ".clips"))
    try Run(arguments).finish().expectBadInput("answers.jsonl: exists already; --force replaces it")
  }

  /// Starts it, and kills it when so many answers are kept.
  private func kill(_ arguments: [String], after count: Int) throws {
    let partial = directory.file("answers.jsonl.partial")
    func kept() -> Int { ((try? String(contentsOfFile: partial, encoding: .utf8)) ?? "").count { $0 == "\n" } - 1 }
    let run = try Run(arguments)
    #expect(run.wait { kept() >= count })
    run.kill()
    _ = try run.finish()
    #expect(!exists(directory.file("answers.jsonl")))
  }

  private func tokens(_ name: String = "answers.jsonl") throws -> [[Int]?] { try answers(name).map { $0["tokens"] as? [Int] } }

  @Test func aDamagedAnswerIsMadeAgain() throws {
    let lines = (0..<30).map { #"{"video": "clip.mp4", "question": "What happens, number \#($0)?"}"# }
    #expect(try batch(lines, output: "whole.jsonl").status == 0)
    let arguments = ["batch", try Fixture.model(), directory.file("questions.jsonl"), "-o", directory.file("answers.jsonl")] + options
    try kill(arguments, after: 3)
    let partial = directory.file("answers.jsonl.partial")
    let kept = try String(contentsOfFile: partial, encoding: .utf8)
    #expect(kept.contains("tokens\":["))
    try kept.replacing("tokens\":[", with: "tokens\":[1").write(toFile: partial, atomically: false, encoding: .utf8)
    #expect(try Run(arguments).finish().status == 0)
    #expect(try tokens() == tokens("whole.jsonl"))
  }

  /// Answers count for the questions and the clips that they were made of, wherever those stand now; only the others are asked.
  @Test func goesOnWhenQuestionsAndClipsChange() throws {
    let clips = directory.file("clips")
    try FileManager.default.createDirectory(atPath: clips, withIntermediateDirectories: true)
    for name in ["b.mp4", "c.mp4"] { try FileManager.default.copyItem(atPath: Repository.clip, toPath: clips + "/" + name) }
    let questions = (0..<20).flatMap { ["-q", "What happens, number \($0)?"] }
    func arguments(_ output: String) throws -> [String] {
      ["batch", try Fixture.model(), clips, "-o", directory.file(output)] + questions + options
    }
    try kill(arguments("answers.jsonl"), after: 23)
    // One before the others, and another one of the same name.
    try FileManager.default.copyItem(atPath: Repository.clip, toPath: clips + "/a.mp4")
    try FileManager.default.removeItem(atPath: clips + "/c.mp4")
    try FileManager.default.copyItem(atPath: Repository.root + "/Tests/Clips/levels.ts", toPath: clips + "/c.mp4")
    let rest = try Run(arguments("answers.jsonl")).finish()
    #expect(rest.status == 0 && rest.errors.contains("of the run before are of no use any more"), "\(rest.errors)")
    #expect(try Run(arguments("whole.jsonl")).finish().status == 0)
    #expect(try tokens() == tokens("whole.jsonl"))
    let found = try answers()
    #expect(found.map { $0["id"] as? Int } == Array(1...60) && found.map { $0["line"] as? Int } == Array(1...60))
    #expect(found.map { $0["clip"] as? String } == ["a.mp4", "b.mp4", "c.mp4"].flatMap { Array(repeating: $0, count: 20) })
    // What b's first question had been answered with is no new answer: its clip was not looked at again.
    #expect((found[20]["statistics"] as? [String: Any])?["encoded_frames"] as? Int == 4)
    #expect(Set(directory.contents) == ["clip.mp4", "clips", "answers.jsonl", "whole.jsonl"])

    // Spelt otherwise they are the same clips.
    try FileManager.default.removeItem(atPath: directory.file("answers.jsonl"))
    try kill(arguments("answers.jsonl"), after: 3)
    let spelt = try Run(arguments("answers.jsonl").map { $0 == clips ? clips + "/./" : $0 }).finish()
    #expect(spelt.status == 0 && !spelt.errors.contains("of no use any more"), "\(spelt.errors)")
    try FileManager.default.removeItem(atPath: directory.file("answers.jsonl"))
    try kill(arguments("answers.jsonl"), after: 3)
    let others = try Run(["batch", try Fixture.model(), clips, "-q", "Why?", "-o", directory.file("answers.jsonl")] + options).finish()
    others.expectBadInput("answers.jsonl.partial: holds answers to other questions")
    let partial = directory.file("answers.jsonl.partial")
    let kept = try String(contentsOfFile: partial, encoding: .utf8)
    try ("x" + kept).write(toFile: partial, atomically: false, encoding: .utf8)
    try Run(arguments("answers.jsonl") + ["--max-tokens", "2"]).finish().expectBadInput("answers.jsonl.partial: is damaged")
    #expect(exists(partial))
  }

  /// What a run could not read, the next one may; two clips that took each other's names are not taken for each other.
  @Test func clipsThatChangeUnderTheirNames() throws {
    let clips = directory.file("clips")
    try FileManager.default.createDirectory(atPath: clips, withIntermediateDirectories: true)
    func picture(_ name: String, _ level: UInt8) throws {
      // A bitmap of 8 by 8 pixels of 24 bits.
      let head: [UInt32] = [54 + 192, 0, 54, 40, 8, 8, 1 | 24 << 16, 0, 192, 0, 0, 0, 0]
      let bytes = Array("BM".utf8) + head.flatMap { withUnsafeBytes(of: $0.littleEndian, Array.init) } + Array(repeating: level, count: 192)
      _ = try directory.write("clips/" + name, bytes)
    }
    try picture("00.bmp", 200)
    try picture("1.bmp", 0)
    try picture("2.bmp", 255)
    let date = Date(timeIntervalSince1970: 1e9)
    for name in ["1.bmp", "2.bmp"] { try FileManager.default.setAttributes([.modificationDate: date], ofItemAtPath: clips + "/" + name) }
    try FileManager.default.createSymbolicLink(atPath: clips + "/0.bmp", withDestinationPath: clips + "/none")
    let questions = (0..<20).flatMap { ["-q", "What happens, number \($0)?"] }
    let arguments = ["batch", try Fixture.model(), clips, "-o", directory.file("answers.jsonl")] + questions + options
    try kill(arguments, after: 63)
    for (from, to) in [("1.bmp", "x"), ("2.bmp", "1.bmp"), ("x", "2.bmp")] {
      try FileManager.default.moveItem(atPath: clips + "/" + from, toPath: clips + "/" + to)
    }
    try FileManager.default.removeItem(atPath: clips + "/0.bmp")
    try picture("0.bmp", 100)
    let rest = try Run(arguments).finish()
    #expect(rest.status == 0 && rest.errors.contains("of no use any more"), "\(rest.errors)")
    let whole = try Run(arguments.map { $0.replacing("answers.jsonl", with: "whole.jsonl") }).finish()
    #expect(whole.status == 0, "\(whole.errors)")
    #expect(try tokens() == tokens("whole.jsonl"))
  }
}
