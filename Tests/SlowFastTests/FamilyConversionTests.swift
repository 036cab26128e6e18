import Conversion
import Foundation
import Lab
import ModelFile
import Models
import Runtime
import SlowFast
import Support
import TestSupport
import Testing
import Video

/// What is done with checkpoints, for every other tower and family: conversion, calibration, the clip cache, plans.
@Suite struct FamilyConversionTests {
  static let families = ["slowfast-siglip", "slowfast-clip", "onevision-hf", "llava-next-onevision", "smolvlm"]
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// What may be shown: a clip, a picture alone, two pictures.
  private func shown(_ kind: Int) throws -> [ClipSource] {
    switch kind {
    case 0: [.frames(try (0..<4).map { try picture($0) })]
    case 1: [.picture(try picture(7, width: 150, height: 64))]
    default: [.picture(try picture(7, width: 150, height: 64)), .picture(try picture(8, width: 50, height: 90))]
    }
  }

  private func ask(
    _ model: VideoLanguageModel, _ sources: [ClipSource], _ options: SessionOptions = SessionOptions(), tokens: Int = 10
  ) throws -> (answer: Answer, statistics: RunStatistics) {
    let session = try Session(model, options: options)
    try session.watch(sources, sampling: SamplingRequest(frames: 4))
    let answer = try session.ask("What happens?", options: greedy(tokens))
    return (answer, session.statistics)
  }

  /// Nothing is lost with 32 bits, nor with 16 of what was stored in 16.
  @Test(arguments: families, [16, 32]) func floatsSayTheSame(_ name: String, _ bits: Int) throws {
    let checkpoint = try VideoLanguageModel(path: Golden.path(name))
    let file = try VideoLanguageModel(path: try convert(name, bits: bits, to: directory))
    #expect(file.config == checkpoint.config && file.generation == checkpoint.generation)
    for kind in 0..<3 {
      let expected = try ask(checkpoint, try shown(kind))
      #expect(expected.answer.tokens.count > 4)
      #expect(try ask(file, try shown(kind)).answer.tokens == expected.answer.tokens, "\(kind)")
    }
  }

  /// A set with a clip, a picture and a question about neither calibrates every method, with folds and a target.
  @Test(arguments: families, [false, true]) func calibrates(_ name: String, _ usesGPTQ: Bool) throws {
    try picture(1, width: 150, height: 64).writePNG(to: directory.file("wide.png"))
    let set = directory.file("set.jsonl")
    let lines = [#""\#(Golden.clip)""#, #""wide.png""#, "null"].map {
      #"{"video": \#($0), "question": "What happens?", "answer": "A picture of something."}"#
    }
    try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: set))
    var calibration = CalibrationOptions(paths: [set])
    calibration.frames = 2
    let path = directory.file("\(name).sfq")
    let options = ConversionOptions(bits: 4, method: usesGPTQ ? .gptq : .search)
    let conversion = try CheckpointConversion(
      Golden.path(name), options: options, calibration: calibration, target: usesGPTQ ? nil : .bits(12))
    _ = try conversion.run(to: path)
    #expect(try ModelFiles.verify(path).isEmpty)
    let summary = try ModelSummary(path: path)
    #expect(summary.provenance?.contains("calibration") == true)
    let model = try VideoLanguageModel(path: path)
    #expect(summary.family == model.config.family && summary.takes.count == (model.config.sequence == nil ? 2 : 3))
    for kind in 0..<3 { #expect(try ask(model, try shown(kind)).answer.tokens.count > 0) }
  }

  /// Calibration shows a picture as a session does, so unquantized layers see the same inputs.
  @Test(arguments: families) func calibrationShowsWhatASessionShows(_ name: String) throws {
    let model = try VideoLanguageModel(path: Golden.path(name))
    let side = model.source.schema.tower.outputSide
    for kind in 0..<2 {
      let source = try shown(kind)[0]
      let layout = model.config.layout(
        model.config.shown(source, SamplingRequest(frames: 4), isAlone: true, towerSide: side), towerSide: side)
      let statistics = try ask(model, [source], tokens: 1).statistics
      #expect(layout.fastCount == statistics.fastTokens && layout.slowCount == statistics.slowTokens)
      #expect(layout.views == statistics.encodedFrames)
    }
  }

  /// Tokens of a plan are exact, of pictures in files too.
  @Test(arguments: families) func plansAreKept(_ name: String) throws {
    let model = try VideoLanguageModel(path: Golden.path(name))
    try picture(1, width: 150, height: 64).writePNG(to: directory.file("wide.png"))
    let all = try (0..<3).map(shown) + [[ClipSource(path: directory.file("wide.png"))]]
    for sources in all {
      let session = try Session(model)
      let request = SamplingRequest(frames: 4)
      let plan = session.plan(sources, sampling: request, question: "What happens?", maximumTokens: 2)
      try session.watch(sources, sampling: request)
      _ = try session.ask("What happens?", options: greedy(2))
      let statistics = session.statistics
      #expect(plan.fastTokens == statistics.fastTokens && plan.slowTokens == statistics.slowTokens)
      #expect(plan.promptTokens == statistics.promptTokens && plan.frames == statistics.frames)
      let hidden = model.config.hiddenSize
      #expect(plan.tokenBytes == (statistics.fastTokens + statistics.slowTokens) * hidden * 4)
    }
    // A picture in tiles takes more than one alone, while it is encoded.
    guard model.config.sequence?.picture == .tiles else { return }
    let session = try Session(model)
    let plans = try [1, 2].map {
      session.plan(try shown($0), sampling: SamplingRequest(frames: 4), question: "What happens?", maximumTokens: 2)
    }
    #expect(plans[0].visionBufferBytes > plans[1].visionBufferBytes)
  }

  /// On disk and in memory; a picture alone is another entry than the same beside others where it is shown otherwise.
  @Test(arguments: families, [false, true]) func cacheHitsSayTheSame(_ name: String, _ inMemory: Bool) throws {
    let model = try VideoLanguageModel(path: try convert(name, bits: 8, to: directory))
    var options = SessionOptions()
    if inMemory { options.clipMemory = 64 << 20 } else { options.clipCache = ClipCacheOptions(directory: directory.file("cache")) }
    let context = try RunContext(model, options: options)
    func ask(_ sources: [ClipSource]) throws -> (tokens: [Int32], statistics: RunStatistics) {
      let clips = sources.map { SampledClip($0, SamplingRequest(frames: 4)) }
      let watched = try context.watch(clips, PromptOpening(), progress: { _ in }, isCancelled: { false }, observer: nil)
      let conversation = Conversation(watched, in: context)
      return (try conversation.ask("What happens?", options: greedy(10)).tokens, conversation.statistics)
    }
    for kind in 0..<3 {
      let first = try ask(try shown(kind))
      let picture = model.config.sequence?.picture
      // Where a picture is shown in one way whatever is beside it, the one of before serves again.
      #expect(first.statistics.cachedFrames == (kind == 2 && (picture == nil || picture == .resizedTiles) ? 1 : 0), "\(kind)")
      #expect(first.statistics.warnings == [])
      let second = try ask(try shown(kind))
      #expect(second.tokens == first.tokens && second.statistics.encodedFrames == 0, "\(kind)")
      #expect(second.statistics.cachedFrames == first.statistics.frames && second.statistics.cachedPromptTokens > 0, "\(kind)")
      #expect(second.statistics.fastTokens == first.statistics.fastTokens && second.statistics.warnings == [])
    }
    // The clip's own entry, where the prompt before it is another: beside a picture.
    let both = try ask(try shown(0) + shown(1))
    #expect(both.statistics.cachedFrames == 5 && both.statistics.encodedFrames == 0)
  }

  /// Families whose published examples take the likeliest token do, whatever the generation config says.
  @Test(arguments: families) func answersAsPublished(_ name: String) throws {
    let model = try VideoLanguageModel(path: Golden.path(name))
    #expect(model.generation.temperature == (model.config.sequence == nil ? 0.2 : 0))
  }
}
