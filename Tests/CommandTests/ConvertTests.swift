import Foundation
import ModelFile
import TestSupport
import Testing

/// `convert`: what it writes and what it leaves alone.
@Suite struct ConvertTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// The golden checkpoint's files, to be changed.
  private func checkpoint(without: String? = nil) throws -> String {
    let path = directory.file("checkpoint")
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for name in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    where name != without {
      try FileManager.default.copyItem(atPath: Repository.golden("vanilla") + "/" + name, toPath: path + "/" + name)
    }
    return path
  }

  @Test func convertedModelsAnswer() throws {
    let output = directory.file("model.sfq")
    let outcome = try slowfast("convert", Repository.golden("clip"), output, "--bits", "4", "--keep", "tower=16", "--json")
    #expect(outcome.status == 0 && outcome.errors == "")
    let summary = try outcome.json()
    let size = try #require(try FileManager.default.attributesOfItem(atPath: output)[.size] as? Int)
    #expect(summary["file_bytes"] as? Int == size && summary["path"] as? String == output)
    #expect((summary["bits_per_weight"] as? Double).map { $0 > 4 && $0 < 16 } == true)
    #expect(directory.contents == ["model.sfq"])
    let answer = try slowfast(
      "run", output, Repository.clip, "-q", "What happens?", "--frames", "4", "--max-tokens", "5", "--greedy", "--json")
    #expect(answer.status == 0)
    #expect((try answer.json()["tokens"] as? [Int])?.isEmpty == false)
  }

  @Test func anOutputThatIsThere() throws {
    let output = try directory.write("model.sfq", Data("mine".utf8))
    try slowfast("convert", Repository.golden("vanilla"), output).expectBadInput("model.sfq")
    #expect(try Data(contentsOf: URL(fileURLWithPath: output)) == Data("mine".utf8))
    #expect(directory.contents == ["model.sfq"])
    #expect(try slowfast("convert", Repository.golden("vanilla"), output, "--force").status == 0)
    #expect(try slowfast("verify", output).status == 0)
  }

  @Test func aDirectoryAsOutput() throws {
    let output = directory.file("there")
    try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
    try slowfast("convert", Repository.golden("vanilla"), output).expectBadInput("there")
    try slowfast("convert", Repository.golden("vanilla"), output, "--force").expectBadInput("there")
    try slowfast("convert", Repository.golden("vanilla"), directory.file("none/model.sfq")).expectBadInput("none/model.sfq")
    #expect(directory.contents == ["there"])
  }

  /// By default only what shrinks well is packed; `zstd` is smaller and `none` larger.
  @Test func compression() throws {
    let files = try ["zstd", "auto", "none"].map { choice in
      let output = directory.file(choice)
      #expect(try slowfast("convert", Repository.golden("vanilla"), output, "--compress", choice).status == 0)
      return try ModelFileReader(path: output)
    }
    #expect(files[0].byteCount < files[1].byteCount && files[1].byteCount < files[2].byteCount)
    let codes = files.map { reader in
      reader.tensors.filter { $0.planes.count > 1 && $0.name.contains(".layers.") }.map { $0.planes[0].isRaw }
    }
    #expect(!codes[0].contains(true) && !codes[1].contains(false) && !codes[2].contains(false) && !codes[0].isEmpty)
    #expect(try slowfast("convert", Repository.golden("vanilla"), directory.file("standard")).status == 0)
    #expect(
      try Data(contentsOf: URL(fileURLWithPath: directory.file("standard")))
        == Data(contentsOf: URL(fileURLWithPath: directory.file("auto"))))
  }

  @Test func dryRun() throws {
    let outcome = try slowfast("convert", Repository.golden("vanilla"), "--dry-run")
    #expect(outcome.status == 0 && outcome.output.contains("model.layers.0.self_attn.q_proj.weight"))
    let report = try slowfast("convert", Repository.golden("vanilla"), directory.file("out.sfq"), "--dry-run", "--json")
    #expect(try report.status == 0 && !report.json().isEmpty)
    #expect(directory.contents == [])
  }

  @Test(arguments: ["config.json", "model.safetensors", "tokenizer.json"])
  func aFileOfTheCheckpointIsMissing(name: String) throws {
    let outcome = try slowfast("convert", try checkpoint(without: name), directory.file("out.sfq"))
    outcome.expectBadInput("checkpoint")
    #expect(directory.contents == ["checkpoint"])
  }

  @Test func damagedWeights() throws {
    let path = try checkpoint()
    let weights = URL(fileURLWithPath: path + "/model.safetensors")
    let bytes = try Data(contentsOf: weights)
    for damaged in [bytes.prefix(100_000), Data(), Data("text".utf8), Data([255, 255, 255, 255, 255, 255, 255, 127]) + bytes.dropFirst(8)] {
      try damaged.write(to: weights)
      try slowfast("convert", path, directory.file("out.sfq")).expectBadInput("model.safetensors")
      try slowfast("run", path, Repository.clip, "-q", "hi").expectBadInput("model.safetensors")
    }
    #expect(directory.contents == ["checkpoint"])
  }

  @Test(arguments: [("llava_qwen_slow_fast", "perceiver"), ("whole-dynamic-tanh-warmup", "whole-\\u001b[2Jdynamic")])
  func unknownArchitectures(word: String, other: String) throws {
    let path = try checkpoint()
    let config = try String(contentsOfFile: path + "/config.json", encoding: .utf8)
    #expect(config.contains(word))
    try config.replacingOccurrences(of: word, with: other).write(toFile: path + "/config.json", atomically: false, encoding: .utf8)
    let outcome = try slowfast("convert", path, directory.file("out.sfq"))
    outcome.expectBadInput("config.json")
    #expect(!outcome.errors.contains("\u{1B}"))
    #expect(directory.contents == ["checkpoint"])
  }
}
