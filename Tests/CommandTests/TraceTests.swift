import Foundation
import Safetensors
import TestSupport
import Testing

/// `trace`: every stage's tensors.
@Suite struct TraceTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private static let names = [
    "pixel_values", "vision_features", "projected", "slow_tokens", "fast_tokens", "hidden_states", "logits",
  ]

  @Test func fromFrames() throws {
    let golden = Repository.golden("vanilla") + "/golden.safetensors"
    let recorded = try SafetensorsFile(path: golden)
    let turn = (recorded.metadata["prompt"] ?? "").split(separator: "<image>\n", maxSplits: 1).last ?? ""
    let output = directory.file("trace.safetensors")
    let outcome = try slowfast(
      "trace", Repository.golden("vanilla"), "--frames", golden, "-q", String(turn.prefix { $0 != "<" }), "--generate", "16", "-o", output)
    #expect(outcome.status == 0 && outcome.errors == "")
    let trace = try SafetensorsFile(path: output)
    #expect(Set(trace.tensors.map(\.name)) == Set(Self.names + ["prompt_ids", "generated"]))
    for name in Self.names {
      #expect(trace[name]?.shape == recorded[name]?.shape, "\(name)")
      #expect(trace[name]?.type == .float32)
    }
    #expect(try trace.int32s(of: "prompt_ids") == recorded.int32s(of: "prompt_ids"))
    #expect(try trace.int32s(of: "generated") == recorded.int32s(of: "generated_prompt_only"))
  }

  @Test func fromAVideo() throws {
    let output = directory.file("trace.safetensors")
    let outcome = try slowfast("trace", try Fixture.model(), "--video", Repository.clip, "--frames", "2", "-q", "hi", "-o", output)
    #expect(outcome.status == 0)
    let trace = try SafetensorsFile(path: output)
    #expect(trace["pixel_values"]?.shape == [2, 3, 192, 192] && trace["generated"] == nil)
    #expect(directory.contents == ["trace.safetensors"])
  }

  @Test func noFramesInTheFile() throws {
    let output = directory.file("trace.safetensors")
    try slowfast("trace", try Fixture.model(), "--frames", Repository.golden("clip") + "/model.safetensors", "-q", "hi", "-o", output)
      .expectBadInput("model.safetensors", "frames")
    try slowfast("trace", try Fixture.model(), "--frames", directory.file("none"), "-q", "hi", "-o", output).expectBadInput("none")
    #expect(directory.contents == [])
  }
}
