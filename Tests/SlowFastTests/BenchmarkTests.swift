import Foundation
import Lab
import Runtime
import TestSupport
import Testing
import Video

@Suite struct BenchmarkTests {
  private var options: BenchmarkOptions {
    var options = BenchmarkOptions()
    options.repeats = 1
    options.frames = 4
    options.prompts = [40, 1 << 20]
    options.contexts = [20, 50]
    options.generatedTokens = 3
    return options
  }

  private func stage(_ name: String, _ report: BenchmarkReport) throws -> BenchmarkReport.Stage {
    try #require(report.stages.first { $0.name == name }, "\(report.stages.map(\.name))")
  }

  @Test func everyStage() throws {
    let directory = try TemporaryDirectory()
    let model = try VideoLanguageModel(path: convert("clip", bits: 8, to: directory))
    var options = options
    options.clip = try MediaInput(opening: Golden.clip)
    let report = try Benchmark.run(model, options: options)
    #expect(
      report.stages.map(\.name) == [
        "load (zstd)", "load (raw)", "decode", "resize", "load tower", "tower, stage 1", "tower, stage 2", "tower, stage 3",
        "tower, stage 4",
        "tower", "projector", "load decoder", "cross keys and values", "prefill 40", "generate after 20", "generate after 50",
      ])
    #expect(report.stages.allSatisfy { $0.seconds > 0 && $0.repeats >= 1 })
    let limits = try #require(report.limits)
    #expect(limits.products > 0 && limits.floatProducts > 0 && limits.bytes > 0)
    // A stage's products are the tower's.
    let parts = report.stages.filter { $0.name.hasPrefix("tower, ") }.compactMap(\.products).reduce(0, +)
    #expect(try stage("tower", report).products == parts)
    #expect(try stage("prefill 40", report).units == 40 && stage("cross keys and values", report).units == report.slowTokens)
    #expect(try stage("load (zstd)", report).bytes == stage("load (raw)", report).bytes)
    // Longer contexts cost more, and each step is a run.
    let (short, long) = try (stage("generate after 20", report), stage("generate after 50", report))
    #expect(short.repeats == 3 && long.products! > short.products! && long.bytes! > short.bytes!)
    #expect(report.skipped.map(\.name) == ["prefill 1048576"])
    #expect(report.tokensSawTower && report.tokens.count == 4 && report.isQuantized && report.slowTokens == 36)
  }

  @Test func hashesTellTokens() throws {
    let model = try VideoLanguageModel(path: Golden.path("vanilla"))
    var options = options
    options.stages = [.generate]
    let first = try Benchmark.run(model, options: options)
    let again = try Benchmark.run(model, options: options)
    #expect(first.tokenHash != nil && first.tokenHash == again.tokenHash && first.tokens == again.tokens)
    #expect(!first.tokensSawTower && first.stages.map(\.name) == ["generate after 20", "generate after 50"])
    options.generatedTokens = 5
    #expect(try Benchmark.run(model, options: options).tokenHash != first.tokenHash)
  }

  @Test func loadingAlone() throws {
    let directory = try TemporaryDirectory()
    var options = options
    options.stages = [.load]
    let report = try Benchmark.run(try VideoLanguageModel(path: convert("clip", bits: 4, to: directory)), options: options)
    #expect(report.stages.map(\.name) == ["load (zstd)", "load (raw)", "load tower", "load decoder"])
    #expect(report.stages.allSatisfy { ($0.bytes ?? 0) > 0 && $0.byteShare != nil })
  }

  @Test func decodingIsHeldAgainstNoLimit() throws {
    var options = options
    options.stages = [.decode]
    options.clip = try MediaInput(opening: Golden.clip)
    let report = try Benchmark.run(try VideoLanguageModel(path: Golden.path("clip")), options: options)
    #expect(report.limits == nil && report.stages.map(\.name) == ["decode"])
  }

  @Test func whatCannotBeTimed() throws {
    var options = options
    options.stages = [.load, .decode]
    let report = try Benchmark.run(try VideoLanguageModel(path: Golden.path("clip")), options: options)
    #expect(report.stages.isEmpty && report.skipped.map(\.name) == ["load", "decode"])
  }

  @Test func optionsOutOfRange() throws {
    func problem(_ change: (inout BenchmarkOptions) -> Void) -> String {
      var options = BenchmarkOptions()
      change(&options)
      return failure { try options.validate() }.map { "\($0)" } ?? "none"
    }
    #expect(problem { $0.repeats = 0 } == "repeats is 0, expected 1 to 1000")
    #expect(problem { $0.contexts = [64, -1] }.hasPrefix("contexts is -1"))
    #expect(problem { $0.prompts = [0] }.hasPrefix("prompts is 0"))
    #expect(problem { $0.generatedTokens = 0 }.hasPrefix("generatedTokens is 0"))
    #expect(problem { $0.frames = 0 }.hasPrefix("frames is 0"))
    #expect(problem { _ in } == "none")
  }
}
