import Foundation
import TestSupport
import Testing

/// `convert --calibrate` and its targets: what they write and what they refuse.
@Suite struct CalibrateTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private static func line(_ question: String = "What happens?", video: String = Repository.clip) -> String {
    #"{"video": "\#(video)", "question": "\#(question)", "answer": "A rocket is launched, and it flies away."}"#
  }

  private func write(_ lines: [String]) throws -> String {
    try directory.write("data.jsonl", lines.joined(separator: "\n"))
  }

  private func convert(_ more: String...) throws -> Outcome {
    try Run(["convert", Repository.golden("clip"), directory.file("model.sfq")] + more).finish()
  }

  @Test(arguments: [[], ["--act-order"], ["--no-fold", "--calibrate-unquantized"], ["--target-bits", "6"]])
  func theRecipeIsInTheFile(options: [String]) throws {
    let data = try write((0..<6).map { Self.line("What happens in scene \($0)?") })
    let arguments = ["--method", "gptq", "--calibrate", data, "--calibration-frames", "2"] + options
    let outcome = try Run(["convert", Repository.golden("clip"), directory.file("model.sfq")] + arguments).finish()
    #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
    let recipe = try slowfast("inspect", directory.file("model.sfq")).output
    for words in ["gptq", "data.jsonl", "fingerprint"] { #expect(recipe.contains(words), "\(recipe)") }
    #expect(recipe.contains("6.00 bits a weight") == options.contains("--target-bits"))
    #expect(try slowfast("verify", directory.file("model.sfq")).status == 0)
    #expect(directory.contents == ["data.jsonl", "model.sfq"])
  }

  @Test(arguments: [
    (["{"], ":1: no JSON"), (["[]"], ":1: no JSON object"), ([line(), "", line(video: "none.mp4")], ":3: the video"),
    ([], "no question in it"),
    ([line(""), line()], ":1: \"question\" is empty"), ([#"{"question": "q", "answer": "a"}"#], ":1: no \"video\""),
  ])
  func badData(lines: [String], words: String) throws {
    try convert("--method", "gptq", "--calibrate", write(lines)).expectBadInput("data.jsonl", words)
    #expect(directory.contents == ["data.jsonl"])
  }

  @Test func badClips() throws {
    try convert("--calibrate", directory.file("none.jsonl")).expectBadInput("none.jsonl")
    try convert("--calibrate", directory.file("none.mp4")).expectBadInput("none.mp4")
    let text = try directory.write("text.mp4", "text")
    try convert("--calibrate", write((0..<8).map { _ in Self.line(video: text) })).expectBadInput("text.mp4")
    #expect(directory.contents == ["data.jsonl", "text.mp4"])
  }

  @Test func tooLittleToSee() throws {
    let data = try write([#"{"video": null, "question": "q", "answer": "a"}"#])
    try convert("--calibrate", data).expectBadInput("the calibration set gives ", "expected at least 128")
    #expect(directory.contents == ["data.jsonl"])
  }

  @Test func targetsThatCannotBeMet() throws {
    try convert("--target-bits", "3.5").expectBadInput("3.50 bits a weight cannot be met", "are the least")
    try convert("--target-size", "100000").expectBadInput("cannot be met")
    try convert("--target-size", "900", "--calibrate", write([Self.line()]), "--dry-run").expectBadInput("900 bytes cannot be met")
    try convert("--target-bits", "5", "--keep", "tower=32").expectBadInput("5.00 bits a weight cannot be met")
    #expect(directory.contents == ["data.jsonl"])
  }
}
