import Compute
import Foundation
import Runtime
import Testing

/// The unquantized model against the published implementation: each stage within 1e-5, each generated token the same.
@Suite struct GoldenTests {
  @Test(arguments: Golden.names)
  func everyStage(name: String) throws {
    let recorded = try Golden.recorded(name)
    let model = try VideoLanguageModel(path: Golden.path(name))
    let prompted = try trace(model, name: name, slowAttention: .prompt, generate: 16)
    let always = try trace(model, name: name, slowAttention: .all, generate: 16)

    var table = "\(name)\n"
    for stage in try compareStages(prompted, with: recorded) {
      table +=
        "  \(stage.stage.padding(toLength: 16, withPad: " ", startingAt: 0))"
        + String(format: "relative %.1e   greatest difference %.1e\n", stage.relativeError, stage.greatestDifference)
      #expect(stage.relativeError < 1e-5, "\(stage.stage)")
    }
    print(table, terminator: "")

    #expect(try prompted.integers["prompt_ids"] == recorded.int32s(of: "prompt_ids"))
    #expect(try prompted.integers["generated"] == recorded.int32s(of: "generated_prompt_only"))
    #expect(try always.integers["generated"] == recorded.int32s(of: "generated_always"))
  }

  @Test(arguments: KernelChoice.available.map(\.name))
  func lowerInstructionSetsGiveTheSameText(kernels: String) throws {
    let model = try VideoLanguageModel(path: Golden.path("clip"))
    let best = try trace(model, name: "clip", generate: 16)
    let forced = try trace(model, name: "clip", generate: 16, kernels: kernels)
    #expect(forced.metadata["kernels"] == kernels)
    #expect(forced.integers["generated"] == best.integers["generated"])
  }

  @Test func threadsChangeNothing() throws {
    let model = try VideoLanguageModel(path: Golden.path("strides"))
    let one = try trace(model, name: "strides", generate: 4, threads: 1)
    let three = try trace(model, name: "strides", generate: 4, threads: 3)
    #expect(one.floats["logits"]?.values == three.floats["logits"]?.values)
  }
}
