import Conversion
import Foundation
import Runtime
import TestSupport
import Testing

/// Questions, answers and the clips that they are about.
@Suite struct EvaluationSetTests {
  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    for name in ["a.png", "b.png"] { try picture(name == "a.png" ? 1 : 2).writePNG(to: directory.file(name)) }
  }

  private func write(_ text: String, as name: String = "eval.jsonl") throws -> String {
    try Data(text.utf8).write(to: URL(fileURLWithPath: directory.file(name)))
    return directory.file(name)
  }

  private func read(_ text: String) throws -> EvaluationSet { try EvaluationSet(jsonLines: try write(text)) }

  @Test func linesOfOneClipComeTogether() throws {
    let set = try read(
      """
      {"video": "a.png", "question": "How many?", "answer": "4", "kind": "count"}

      {"video": "b.png", "question": "Which?", "answer": "red", "other": [1, {}]}
      {"answer": "5", "kind": "count", "question": "And then?", "video": "a.png"}\r

      """)
    #expect(set.clips.map(\.video) == ["a.png", "b.png"])
    #expect(set.clips.map(\.path) == [directory.file("a.png"), directory.file("b.png")])
    #expect(set.clips[0].questions.map(\.question) == ["How many?", "And then?"])
    #expect(set.clips[0].questions.map(\.line) == [1, 4])
    let last = set.clips[1].questions[0]
    #expect(last.question == "Which?" && last.answer == "red" && last.kind == EvaluationSet.plainKind && last.line == 3)
    #expect(set.questionCount == 3 && set.kinds == ["count", EvaluationSet.plainKind])
    #expect(set.prefix(1).clips == [set.clips[0]] && set.prefix(9).clips == set.clips)
  }

  /// Null is said, not forgotten: each such question stands for itself.
  @Test func questionsAboutNoClip() throws {
    let set = try read(
      """
      {"video": null, "question": "Who?", "answer": "I"}
      {"video": "a.png", "question": "q", "answer": "a"}
      {"video": null, "question": "Who else?", "answer": "You", "kind": "more"}
      """)
    #expect(set.clips.map(\.video) == [nil, "a.png", nil] && set.clips.map(\.path) == [nil, directory.file("a.png"), nil])
    #expect(set.clips.map(\.questions.count) == [1, 1, 1] && set.videoCount == 1 && set.questionCount == 3)
    #expect(set.clips.map(\.label) == ["the question of line 1", "a.png", "the question of line 3"])
  }

  @Test func absolutePathsStayAsTheyAre() throws {
    let set = try read(#"{"video": "\#(directory.file("b.png"))", "question": "q", "answer": "a"}"#)
    #expect(set.clips[0].path == directory.file("b.png"))
  }

  private static let good = #"{"video": "a.png", "question": "q", "answer": "a"}"#

  @Test(arguments: [
    ("{", 2, "no JSON"), ("what?", 2, "no JSON"), ("[1]", 2, "no JSON object"), ("7", 2, "JSON object"), (good + good, 2, "no JSON"),
    (#"{"video": "a.png", "question": "q"}"#, 2, "\"answer\""), (#"{"question": "q", "answer": "a"}"#, 2, "\"video\""),
    (#"{"video": "a.png", "question": "q", "answer": 4}"#, 2, "\"answer\" is no text"),
    (#"{"video": "a.png", "question": null, "answer": "a"}"#, 2, "\"question\" is no text"),
    (#"{"video": "a.png", "question": "q", "answer": "a", "kind": ["x"]}"#, 2, "\"kind\" is no text"),
    (#"{"video": "a.png", "question": "", "answer": "a"}"#, 2, "\"question\" is empty"),
    (#"{"video": "", "question": "q", "answer": "a"}"#, 2, "\"video\" is empty"),
    ("\n" + #"{"video": "none.mp4", "question": "q", "answer": "a"}"#, 3, "none.mp4\" does not exist"),
  ])
  func aBadLineIsNamed(line: String, number: Int, words: String) throws {
    let path = try write(Self.good + "\n" + line + "\n" + Self.good)
    let error = failure { _ = try EvaluationSet(jsonLines: path) }
    guard let error, error.isA(.invalidFile, path) else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect("\(error)".hasPrefix("\(path):\(number): ") && "\(error)".contains(words), "\(error)")
    #expect(!"\(error)".contains("\n"))
  }

  @Test func bytesThatAreNoText() throws {
    try Data([0x7B, 0xFF, 0x00, 0x7D]).write(to: URL(fileURLWithPath: directory.file("bad.jsonl")))
    guard failure({ _ = try EvaluationSet(jsonLines: directory.file("bad.jsonl")) })?.isA(.invalidFile) == true else {
      Issue.record("expected line 1 to be refused")
      return
    }
  }

  @Test(arguments: ["", "\n", " \r\n\t\n"])
  func anEmptyFile(text: String) throws {
    guard let error = failure({ _ = try read(text) }), error.isA(.invalidFile) else {
      Issue.record("expected the file to be refused")
      return
    }
    #expect("\(error)".contains("no question"))
  }

  @Test func aFileThatIsNotThere() throws {
    for path in [directory.file("none.jsonl"), directory.path] {
      guard let error = failure({ _ = try EvaluationSet(jsonLines: path) }), error.isA(.invalidModel) else {
        Issue.record("\(path) was read")
        continue
      }
      #expect("\(error)".contains(path))
    }
  }

  /// What `--calibrate` takes: files of questions and bare videos.
  @Test func pathsOfBothSorts() throws {
    let file = try write(Self.good)
    let set = try EvaluationSet(paths: [directory.file("b.png"), file])
    #expect(set.clips.map(\.path) == [directory.file("b.png"), directory.file("a.png")])
    #expect(set.clips.map(\.questions.count) == [0, 1])
    guard let error = failure({ _ = try EvaluationSet(paths: [file, directory.file("none.mp4")]) }), error.isA(.invalidClip) else {
      Issue.record("a missing video was taken")
      return
    }
    #expect("\(error)".contains("none.mp4"))
  }

  @Test func fingerprintsTellSetsApart() throws {
    let first = try read(Self.good).fingerprint
    #expect(try read(Self.good).fingerprint == first)
    #expect(try read(Self.good.replacingOccurrences(of: "\"q\"", with: "\"p\"")).fingerprint != first)
    try picture(7, width: 50).writePNG(to: directory.file("a.png"))
    #expect(try read(Self.good).fingerprint != first)
  }
}
