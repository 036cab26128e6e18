import Compute
import Foundation
import Runtime
import TestSupport
import Testing

/// Golden checkpoints after the way through a model file.
@Suite struct StoredWeightsTests {
  /// 16 bits keep the checkpoint's own values and 32 bits hold them all: nothing may change.
  @Test(arguments: Golden.names, [16, 32])
  func exactBitsGiveTheRecordedTokens(name: String, bits: Int) throws {
    let directory = try TemporaryDirectory()
    let model = try VideoLanguageModel(path: convert(name, bits: bits, to: directory))
    let recorded = try Golden.recorded(name)
    let prompted = try trace(model, name: name, slowAttention: .prompt, generate: 16)
    let always = try trace(model, name: name, slowAttention: .all, generate: 16)
    for stage in try compareStages(prompted, with: recorded) {
      #expect(stage.relativeError < 1e-3, "\(stage.stage)")
    }
    #expect(try prompted.integers["generated"] == recorded.int32s(of: "generated_prompt_only"))
    #expect(try always.integers["generated"] == recorded.int32s(of: "generated_always"))
  }

  /// Few bits: the distribution of the next token stays near the reference's, at every position of the prompt.
  @Test(arguments: Golden.names, [8, 4])
  func fewBitsStayNear(name: String, bits: Int) throws {
    let directory = try TemporaryDirectory()
    let model = try VideoLanguageModel(path: convert(name, bits: bits, to: directory))
    let recorded = try Golden.recorded(name)
    let found = try #require(try trace(model, name: name).floats["logits"])
    #expect(found.shape == recorded["logits"]?.shape)
    let comparison = LogitComparison(
      found.values, reference: try recorded.floats(of: "logits"), vocabularySize: model.config.vocabularySize)
    print("\(name), \(bits) bits: \(comparison)")
    #expect(comparison.isFinite)
    #expect(comparison.divergence < (bits == 8 ? 5e-3 : 0.5))
    // The fixtures' weights are random, so that the best two of 512 logits often lie close together.
    #expect(comparison.agreement >= (bits == 8 ? 0.85 : 0.2))
  }

  /// The same logits to the last bit, whichever kernels fuse product and sum. The portable ones on x86 do not: with them a float's last bit
  /// decides how a few activations round, and layer by layer the differences grow to what quantizing activations costs anyway.
  @Test(arguments: KernelChoice.available.map(\.name), [8, 4, 3])
  func kernelsAgree(kernels: String, bits: Int) throws {
    let directory = try TemporaryDirectory()
    let model = try VideoLanguageModel(path: convert("clip", bits: bits, to: directory))
    let best = try #require(try trace(model, name: "clip").floats["logits"])
    let other = try #require(try trace(model, name: "clip", kernels: kernels).floats["logits"])
    #if arch(x86_64)
      if kernels == "portable" {
        let comparison = LogitComparison(other.values, reference: best.values, vocabularySize: model.config.vocabularySize)
        print("\(kernels) beside \(KernelChoice.available[0].name), \(bits) bits: \(comparison)")
        #expect(comparison.divergence < 5e-3)
        return
      }
    #endif
    #expect(other.values == best.values)
  }
}

/// How far a model's next-token distributions are from a reference's.
struct LogitComparison: CustomStringConvertible {
  /// Mean over positions of KL(reference ‖ found), in nats.
  private(set) var divergence = 0.0
  /// Positions at which the likeliest token is the same, as a part of all.
  private(set) var agreement = 0.0
  private(set) var isFinite = true

  init(_ found: [Float], reference: [Float], vocabularySize: Int) {
    let positions = reference.count / vocabularySize
    for position in 0..<positions {
      let range = position * vocabularySize..<(position + 1) * vocabularySize
      let p = Self.logProbabilities(reference[range])
      let q = Self.logProbabilities(found[range])
      for (p, q) in zip(p, q) { divergence += exp(p) * (p - q) / Double(positions) }
      if Self.best(p) == Self.best(q) { agreement += 1 / Double(positions) }
    }
    isFinite = found.allSatisfy(\.isFinite)
  }

  private static func logProbabilities(_ logits: ArraySlice<Float>) -> [Double] {
    let top = Double(logits.max() ?? 0)
    let total = log(logits.reduce(0) { $0 + exp(Double($1) - top) })
    return logits.map { Double($0) - top - total }
  }

  private static func best(_ values: [Double]) -> Int? { values.indices.max { values[$0] < values[$1] } }

  var description: String { String(format: "KL divergence %.1e, same best token %.3f", divergence, agreement) }
}
