import Foundation
import TestSupport
import Testing

/// The demonstration checkpoint as other tools and versions of them write it (`Data/make_checkpoints.py`): converted, each answers as
/// the original.
@Suite struct CheckpointVariantTests {
  private static let same = [
    "v5_rope", "rope_scaling_default", "v5_template", "slow_tokenizer_old", "slow_tokenizer_old_noeos", "eos_base", "model_max_huge",
  ]
  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [
      "python3", Repository.root + "/Tests/CommandTests/Data/make_checkpoints.py", Demonstration.checkpoint, directory.path,
    ]
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
  }

  /// The ids of two questions' answers and of a turn's beginning.
  private func answers(_ checkpoint: String) throws -> [[Int]] {
    let model = directory.file("model.sfq")
    let converted = try slowfast("convert", checkpoint, model, "--force")
    #expect(converted.status == 0, "\(checkpoint): \(converted.errors)")
    let outcome = try slowfast(
      "run", model, Demonstration.clip, "--jsonl", "-q", "What happens in this video?", "-q", "Which digit flashes?")
    #expect(outcome.status == 0 && outcome.errors == "", "\(checkpoint): \(outcome.errors)")
    let tokens = try outcome.output.split(separator: "\n").map { line in
      let json = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
      return try #require(json?["tokens"] as? [Int])
    }
    let turn = try slowfast("tokenize", model, "<|im_start|>user")
    return tokens + [turn.output.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }]
  }

  @Test func eachAnswersAsTheOriginal() throws {
    let expected = try answers(Demonstration.checkpoint)
    #expect(expected.count == 3 && expected[0].count > 20 && expected[2] == [510, 366])
    for name in Self.same { #expect(try answers(directory.file(name)) == expected, "\(name)") }
  }

  @Test func pointersAreNoWeights() throws {
    try slowfast("convert", directory.file("lfs"), directory.file("lfs.sfq")).expectBadInput("model.safetensors", "LFS")
  }
}
