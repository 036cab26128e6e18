import Foundation
import TestSupport
import Testing

/// `compare`: what it prints and writes, and what it refuses.
@Suite struct CompareTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func write(_ lines: String...) throws -> String {
    try directory.write("eval.jsonl", Data(lines.joined(separator: "\n").utf8))
  }

  private static let good = #"{"video": "\#(Repository.clip)", "question": "What happens?", "answer": "a launch", "kind": "event"}"#

  private func compare(_ data: String, _ more: String...) throws -> Outcome {
    try Run(["compare", Repository.golden("clip"), "--data", data, "--frames", "2", "-o", directory.file("report")] + more).finish()
  }

  @Test func theTableAndTheFiles() throws {
    let outcome = try compare(write(Self.good), "--variants", "8,4", "--parts", "none")
    #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
    let lines = outcome.output.split(separator: "\n")
    #expect(lines.contains { $0.hasPrefix("baseline") && $0.contains("16.00") })
    #expect(lines.contains { $0.hasPrefix("8 ") } && lines.contains { $0.hasPrefix("4 ") } && !outcome.output.contains("each alone"))
    #expect(
      Set(try FileManager.default.contentsOfDirectory(atPath: directory.file("report"))) == ["measurements", "report.html", "report.json"])
  }

  /// One of each is no plural.
  @Test func oneClip() throws {
    let outcome = try compare(write(Self.good), "--limit", "1", "--variants", "8", "--parts", "none", "--threads", "1")
    #expect(outcome.output.hasPrefix("clip: 1 clip, 1 question, "), "\(outcome.output)")
    #expect(outcome.output.contains(", 1 thread; "), "\(outcome.output)")
    let page = try String(contentsOfFile: directory.file("report/report.html"), encoding: .utf8)
    #expect(page.contains("on 1 clip\n") && page.contains("with 1 question (") && !page.contains("1 clips"))
  }

  /// The same as `report.json`; a model file takes part too.
  @Test func json() throws {
    let data = try write(Self.good, Self.good.replacingOccurrences(of: "happens", with: "is that"))
    let model = try Fixture.model()
    let arguments = ["compare", Repository.golden("clip"), model, "--data", data, "--frames", "2", "--json", "--parts", "8"]
    let outcome = try Run(arguments + ["-o", directory.file("report")]).finish()
    #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
    let json = try outcome.json()
    #expect(try Data(contentsOf: URL(fileURLWithPath: directory.file("report/report.json"))) == Data(outcome.output.dropLast().utf8))
    #expect(json["clips"] as? Int == 1 && json["questions"] as? Int == 2 && json["frames"] as? Int == 2)
    let variants = try #require(json["variants"] as? [[String: Any]])
    #expect(variants.count == 1 && variants[0]["name"] as? String == model)
    #expect((variants[0]["divergence"] as? [String: Any])?["percentile99"] is Double)
    #expect((json["parts"] as? [[String: Any]])?.count == 11)
  }

  /// Questions about no clip, in variants that are calibrated on them and have a target.
  @Test func textsAlone() throws {
    let lines = (0..<8).map { #"{"video": null, "question": "What is number \#($0)?", "answer": "It is a number between one and ten."}"# }
    let data = try directory.write("texts.jsonl", lines.joined(separator: "\n"))
    let outcome = try compare(data, "--variants", "8,4:method=gptq:target=6", "--calibrate", data, "--json", "--parts", "none")
    #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
    let json = try outcome.json()
    #expect(json["clips"] as? Int == 0 && json["questions"] as? Int == 8)
    let variants = try #require(json["variants"] as? [[String: Any]])
    #expect(variants.compactMap { $0["bits_per_weight"] as? Double }.last.map { $0 > 5 && $0 <= 6 } == true)
    #expect(variants.allSatisfy { (($0["divergence"] as? [String: Any])?["mean"] as? Double).map { $0 > 0 } == true })
  }

  /// Told before anything is measured.
  @Test func targetsThatCannotBeMet() throws {
    try compare(write(Self.good), "--variants", "8,4:target=2").expectBadInput("2.00 bits a weight cannot be met")
    #expect(!exists(directory.file("report")))
  }

  @Test(arguments: [
    ("{", ":2: no JSON"), (#"{"video": "none.mp4", "question": "q", "answer": "a"}"#, ":2: the video"), ("{}", ":2: no \"video\""),
  ])
  func badLines(line: String, words: String) throws {
    try compare(write(Self.good, line), "--variants", "8").expectBadInput("eval.jsonl" + words)
    #expect(!exists(directory.file("report")))
  }

  @Test func badFiles() throws {
    try compare(write(""), "--variants", "8").expectBadInput("eval.jsonl", "no question")
    try compare(directory.file("none"), "--variants", "8").expectBadInput("none", "cannot open")
    try compare(write(Self.good), "--variants", "4:model.layer.*=8").expectBadInput("model.layer.*")
    try slowfast("compare", directory.file("none"), "--variants", "8", "--data", write(Self.good), "-o", directory.file("report"))
      .expectBadInput("none")
    try slowfast(
      "compare", Repository.golden("clip"), directory.file("none.sfq"), "--data", write(Self.good), "-o", directory.file("report")
    )
    .expectBadInput("none.sfq")
    try slowfast("compare", Repository.golden("clip"), "--variants", "8", "--data", write(Self.good), "-o", write(Self.good))
      .expectBadInput("expected a folder")
    // A model file is no checkpoint to convert.
    try slowfast("compare", Fixture.model(), "--variants", "8", "--data", write(Self.good), "-o", directory.file("report"))
      .expectBadInput("expected a checkpoint directory")
    #expect(!exists(directory.file("report")))
  }

  @Test(arguments: ["5", "8,8", "16a", "8:group=7", "", "8,", "4:foo=8", "4:*.weight=5"])
  func senselessVariants(variants: String) throws {
    let outcome = try compare(write(Self.good), "--variants", variants)
    #expect(outcome.status == 2 && outcome.output == "" && outcome.errors.contains("--variants"), "\(outcome.errors)")
  }

  @Test(arguments: [
    ["--limit", "0"], ["--parts", "5"], ["--parts", "some"], ["--parts", "none"], ["--max-tokens", "0"], ["--frames", "0"],
  ])
  func senselessOptions(options: [String]) throws {
    let arguments = ["compare", Repository.golden("clip"), "--data", try write(Self.good), "-o", directory.file("report")]
    let outcome = try Run(arguments + options).finish()
    #expect(outcome.status == 2 && outcome.output == "" && outcome.errors.contains("--"), "\(outcome.errors)")
  }
}
