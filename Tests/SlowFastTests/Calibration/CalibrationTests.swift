import Conversion
import Foundation
import Quantization
import Runtime
import Support
import TestSupport
import Testing
import Video

/// Conversions that look at the inputs of the model's layers.
@Suite struct CalibrationTests {
  private let directory: TemporaryDirectory
  private let checkpoint = Golden.path("clip")

  init() throws {
    directory = try TemporaryDirectory()
    var lines = ""
    for clip in 0..<3 {
      let folder = directory.file("clip\(clip)")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      for frame in 0..<8 { try picture(17 * clip + 5 * frame).writePNG(to: folder + "/\(frame).png") }
      for question in 0..<4 {
        lines +=
          "{\"video\": \"clip\(clip)\", \"question\": \"What happens in picture \(question)?\", \"answer\": \"Nothing at all happens.\"}\n"
      }
    }
    try Data(lines.utf8).write(to: URL(fileURLWithPath: directory.file("eval.jsonl")))
  }

  private var data: String { directory.file("eval.jsonl") }

  private func convert(
    _ name: String, _ options: ConversionOptions, _ change: (inout CalibrationOptions) -> Void = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) throws -> Data {
    var calibration = CalibrationOptions(paths: [data])
    change(&calibration)
    let path = directory.file(name)
    _ = try CheckpointConversion(checkpoint, options: options, calibration: calibration).run(to: path, isCancelled: isCancelled)
    return try Data(contentsOf: URL(fileURLWithPath: path))
  }

  private func options(_ method: QuantizationMethod, threads: Int? = nil) -> ConversionOptions {
    ConversionOptions(method: method, threadCount: threads)
  }

  @Test(arguments: [QuantizationMethod.search, .gptq])
  func makesAModelThatAnswers(_ method: QuantizationMethod) throws {
    _ = try convert("model.sfq", options(method))
    let model = try VideoLanguageModel(path: directory.file("model.sfq"))
    let session = try Session(model)
    try session.watch([ClipSource(path: directory.file("clip0"))], sampling: SamplingRequest(frames: 8))
    var generation = model.generationDefaults
    generation.makeGreedy()
    generation.maximumTokens = 4
    #expect(try session.ask("What?", options: generation).tokens.count <= 4)
    let provenance = try #require(try ModelSummary(path: directory.file("model.sfq")).provenance)
    for words in ["\"method\" : \"\(method.rawValue)\"", "\"clips\" : 3", "\"questions\" : 12", "\"eval.jsonl\"", "\"damping\" : "] {
      #expect(provenance.contains(words), "\(words)")
    }
  }

  /// The same bytes with any number of threads, and when it was interrupted anywhere.
  @Test func isDeterministicAndResumes() throws {
    let whole = try convert("one.sfq", options(.gptq, threads: 1))
    #expect(try convert("three.sfq", options(.gptq, threads: 3)) == whole)
    for tensors in [9, 70, 120] {
      let path = directory.file("resumed.sfq")
      try? FileManager.default.removeItem(atPath: path)
      let conversion = try CheckpointConversion(checkpoint, options: options(.gptq), calibration: CalibrationOptions(paths: [data]))
      let stop = Flag()
      let error = #expect(throws: SlowFastError.self) {
        try conversion.run(to: path, progress: { if $0.index >= tensors { stop.isSet = true } }, isCancelled: { stop.isSet })
      }
      guard let error, error.isA(.cancelled) else { return #expect(Bool(false), "\(String(describing: error))") }
      let summary = try conversion.run(to: path)
      #expect(summary.resumedTensors >= tensors)
      #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == whole, "\(tensors)")
    }
  }

  @Test func optionsMakeADifference() throws {
    let plain = try convert("plain.sfq", options(.gptq))
    #expect(try convert("order.sfq", options(.gptq)) { $0.ordersByActivation = true } != plain)
    #expect(try convert("unquantized.sfq", options(.gptq)) { $0.followsQuantized = false } != plain)
    #expect(try convert("few.sfq", options(.gptq)) { $0.clipLimit = 2 } != plain)
  }

  /// Tied embeddings, a plain projector, single images; every position cross-attends; float16 in shards.
  @Test(arguments: ["image", "vanilla", "strides"])
  func otherModels(_ name: String) throws {
    let path = directory.file("other.sfq")
    _ = try CheckpointConversion(Golden.path(name), options: options(.gptq), calibration: CalibrationOptions(paths: [data]))
      .run(to: path)
    #expect(try ModelSummary(path: path).total.bitsPerWeight < 8)
  }

  /// Texts alone show the decoder's inputs and none of the tower's; beside clips they count as well.
  @Test(arguments: [QuantizationMethod.search, .gptq])
  func textsWithoutClips(_ method: QuantizationMethod) throws {
    var lines = ""
    for index in 0..<12 { lines += "{\"video\": null, \"question\": \"What is number \(index)?\", \"answer\": \"It is \(index * 7).\"}\n" }
    try Data(lines.utf8).write(to: URL(fileURLWithPath: directory.file("texts.jsonl")))
    func change(_ paths: String...) -> (inout CalibrationOptions) -> Void { { $0.paths = paths } }
    let clips = try convert("clips.sfq", options(method))
    let texts = try convert("texts.sfq", options(method), change(directory.file("texts.jsonl")))
    let both = try convert("both.sfq", options(method), change(data, directory.file("texts.jsonl")))
    #expect(texts != clips && both != clips && both != texts)
    let provenance = try #require(try ModelSummary(path: directory.file("both.sfq")).provenance)
    #expect(provenance.contains("\"clips\" : 3") && provenance.contains("\"questions\" : 24"))
  }

  @Test func whatMakesNoSense() throws {
    func error(_ options: ConversionOptions, _ paths: [String]?) -> String {
      let error = #expect(throws: SlowFastError.self) {
        try CheckpointConversion(checkpoint, options: options, calibration: paths.map { CalibrationOptions(paths: $0) })
          .run(to: directory.file("bad.sfq"))
      }
      return error.map { "\($0)" } ?? ""
    }
    #expect(error(options(.gptq), nil).contains("gptq needs calibration"))
    #expect(error(options(.rtn), [data]).contains("rtn takes no calibration"))
    #expect(error(options(.search), [directory.file("none.jsonl")]).contains("none.jsonl"))
    #expect(error(options(.search), [directory.file("clip0/0.png")]).contains("the calibration set gives "))
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).filter { $0.hasPrefix("bad") }.isEmpty)
  }

  @Test func targets() throws {
    for target in [5.2, 6.5, 8] {
      let path = directory.file("target.sfq")
      try? FileManager.default.removeItem(atPath: path)
      let summary = try CheckpointConversion(checkpoint, target: .bits(target)).run(to: path)
      #expect(summary.bitsPerWeight <= target && summary.bitsPerWeight > target - 0.4, "\(summary.bitsPerWeight)")
    }
    let size = 1_200_000
    let path = directory.file("size.sfq")
    let summary = try CheckpointConversion(
      checkpoint, options: ConversionOptions(method: .search, compression: .none), calibration: CalibrationOptions(paths: [data]),
      target: .bytes(size)
    ).run(to: path)
    #expect(summary.fileBytes <= size && summary.fileBytes > size - 50_000, "\(summary.fileBytes)")
    let error = #expect(throws: SlowFastError.self) {
      try CheckpointConversion(checkpoint, target: .bits(2)).run(to: directory.file("small.sfq"))
    }
    #expect(error.map { "\($0)" }?.contains("2.00 bits a weight cannot be met") == true)
  }
}

private final class Flag: @unchecked Sendable {  // Set and read between tensors, by the same thread.
  var isSet = false
}
