import Foundation
import Lab
import Models
import Runtime
import Safetensors
import TestSupport
import Testing
import Video

/// Other towers and families, unquantized, against their published implementations: each stage within 1e-5, pixels and tokens the same.
@Suite struct FamilyTests {
  /// What is shown, and how.
  enum Input: String, CaseIterable {
    case video = "golden"
    case picture = "golden-image"
    case pictures = "golden-images"
  }

  @Test(arguments: ["slowfast-siglip", "slowfast-clip"], [SlowAttention.prompt, .all])
  func slowFastTowers(_ name: String, _ attention: SlowAttention) throws {
    let recorded = try Golden.recorded(name)
    let model = try VideoLanguageModel(path: Golden.path(name))
    let found = try trace(model, name: name, slowAttention: attention, generate: 16)
    try compare(
      found, with: recorded, ["pixel_values", "vision_features", "projected", "slow_tokens", "fast_tokens", "hidden_states", "logits"])
    #expect(try found.integers["prompt_ids"] == recorded.int32s(of: "prompt_ids"))
    let generated = attention == .prompt ? "generated_prompt_only" : "generated_always"
    #expect(try found.integers["generated"] == recorded.int32s(of: generated))
  }

  @Test(arguments: ["onevision-hf", "llava-next-onevision", "smolvlm"], Input.allCases)
  func allTokensInThePrompt(_ name: String, _ input: Input) throws {
    let path = Golden.path(name) + "/\(input.rawValue).safetensors"
    let recorded = try SafetensorsFile(path: path)
    let model = try VideoLanguageModel(path: Golden.path(name))
    var options = SessionOptions()
    options.takesWholePrompts = true
    let sources = input == .video ? [try ClipSource(framesFile: path)] : try ClipSource.pictures(file: path)
    let found = try Session(model, options: options).trace(
      sources, sampling: SamplingRequest(frames: 1), question: try #require(recorded.metadata["prompt"]), generate: 16)
    try compare(
      found, with: recorded, ["pixel_values", "vision_features", "projected", "visual_tokens", "inputs_embeds", "hidden_states", "logits"])
    #expect(try found.integers["prompt_ids"] == recorded.int32s(of: "prompt_ids"))
    #expect(try found.integers["generated"] == recorded.int32s(of: "generated"))
  }

  /// The same clip's tokens with the other places of the token that ends a line.
  @Test(arguments: [("frame", "visual_tokens_frame"), ("grid", "visual_tokens_grid")])
  func newlines(_ position: String, _ tensor: String) throws {
    let path = Golden.path("llava-next-onevision")
    let recorded = try SafetensorsFile(path: path + "/golden.safetensors")
    let copy = try TemporaryDirectory()
    for file in try FileManager.default.contentsOfDirectory(atPath: path) where !file.hasPrefix("golden") && file != "config.json" {
      try FileManager.default.copyItem(atPath: "\(path)/\(file)", toPath: copy.file(file))
    }
    let text = try String(contentsOfFile: path + "/config.json", encoding: .utf8)
    try copy.write("config.json", text.replacing(#""mm_newline_position": "one_token""#, with: #""mm_newline_position": "\#(position)""#))
    let found = try Session(VideoLanguageModel(path: copy.path)).trace(
      [try ClipSource(framesFile: path + "/golden.safetensors")], sampling: SamplingRequest(frames: 1), question: "?")
    let values = try #require(found.floats["visual_tokens"])
    #expect(values.shape == recorded[tensor]?.shape)
    #expect(try relativeError(values.values, recorded.floats(of: tensor)) < 1e-5)
  }

  /// Stages that the golden file has; some have a part of what a trace has: the last position's logits, the first tile's features.
  private func compare(_ trace: Trace, with recorded: SafetensorsFile, _ stages: [String]) throws {
    var seen = 0
    for stage in stages {
      guard let shape = recorded[stage]?.shape else { continue }
      let reference = try recorded.floats(of: stage)
      let found = try #require(trace.floats[stage == "inputs_embeds" ? "hidden_states" : stage], "\(stage)")
      let values: ArraySlice<Float>
      switch stage {
      case "logits" where shape.count == 1: values = found.values.suffix(reference.count)
      case "hidden_states" where shape[0] < found.shape[0]: values = found.values.suffix(reference.count)
      default: values = found.values.prefix(reference.count)
      }
      try #require(values.count == reference.count, "\(stage): \(found.shape), expected \(shape)")
      let error = relativeError(Array(values), reference)
      #expect(stage == "pixel_values" ? error == 0 : error < 1e-5, "\(stage): \(error)")
      seen += 1
    }
    #expect(seen >= 5)
  }

  private func relativeError(_ values: [Float], _ reference: [Float]) -> Double {
    guard values.count == reference.count else { return .infinity }
    var (difference, norm) = (0.0, 0.0)
    for (value, expected) in zip(values, reference) {
      difference += (Double(value) - Double(expected)) * (Double(value) - Double(expected))
      norm += Double(expected) * Double(expected)
    }
    return (difference / norm).squareRoot()
  }
}
