import Conversion
import Foundation
import ModelFile
import Models
import Runtime
import Safetensors
import Support
import TestSupport
import Testing
import Tokenizer

/// Golden checkpoints to model files and back.
@Suite struct GoldenConversionTests {
  static let names = [
    "clip", "strides", "image", "vanilla", "slowfast-siglip", "slowfast-clip", "onevision-hf", "llava-next-onevision", "smolvlm",
  ]
  let directory: TemporaryDirectory
  init() throws { directory = try TemporaryDirectory() }

  /// Every tensor of the file holds what the checkpoint holds: exactly, or within the reach of its codes.
  private func expectSame(_ file: ModelFileReader, _ golden: EditableCheckpoint, _ plan: ConversionPlan) throws {
    #expect(file.tensors.map(\.descriptor) == plan.stored.map(\.descriptor))
    for stored in plan.stored {
      let source = floats(golden[stored.source.name])
      let read = try ReadTensor(file, stored.descriptor.name)
      var expected = [Float](repeating: .nan, count: source.count)
      stored.requirement.forEachStoredIndex { target, index in expected[target] = source[index] }
      guard let steps = read.steps else {
        #expect(read.values == expected, "\(stored.descriptor.name)")
        continue
      }
      var worst: Float = 0
      var (errors, squares): (Float, Float) = (0, 0)
      for index in expected.indices {
        let error = abs(read.values[index] - expected[index])
        if steps[index] > 0 { worst = max(worst, error / steps[index]) }
        errors += error * error
        squares += expected[index] * expected[index]
      }
      let bound = stored.descriptor.encoding.bound
      #expect(worst < bound.steps, "\(stored.descriptor.name): off by \(worst) steps")
      #expect(
        errors < bound.relative * bound.relative * squares, "\(stored.descriptor.name): relative error \((errors / squares).squareRoot())")
      #expect(zip(steps, expected).allSatisfy { step, value in step > 0 || abs(value) < 1e-6 }, "\(stored.descriptor.name)")
    }
  }

  @Test(arguments: names, [3, 4, 8, 16, 32]) func convertsAndReadsBack(name: String, bits: Int) throws {
    let golden = try EditableCheckpoint(name)
    let options = ConversionOptions(bits: bits, compression: .none)
    let converter = try Converter(checkpoint: Checkpoint(model: goldenDirectory + "/" + name, tower: nil), options: options)
    let result = try converter.run(to: directory.output)
    let file = try ModelFileReader(path: directory.output)
    #expect(file.byteCount == result.fileByteCount)
    // Without compression the plan is exact.
    #expect(file.byteCount == result.plan.fileByteCount)
    #expect(directory.contents == ["model.sfq"])
    try expectSame(file, golden, result.plan)
    let vision: Set = result.plan.config.vision == nil ? [] : ["vision"]
    #expect(
      Set(file.sections.map(\.name))
        == vision.union([
          "config.json", "generation_config.json", "generation", "preprocessing", "provenance", "tokenizer",
        ]))
    #expect(result.plan.unknown.isEmpty)
    #expect(
      try ModelConfig(ConfigFiles(config: file.section("config.json"), vision: vision.isEmpty ? nil : file.section("vision"))).pixels
        == result.plan.config.pixels)
  }

  /// A tower that is in a directory of its own only: the file has its tensors, and tells where they are from.
  @Test func towersOfTheirOwn() throws {
    var golden = try EditableCheckpoint("slowfast-siglip")
    let tensors = golden.tensors.filter { CanonicalName.isTower($0.name) }
    #expect(tensors.count > 40)
    for tensor in tensors { golden.remove(tensor.name) }
    _ = try golden.write(in: directory)
    #expect(throws: SlowFastError.self) {
      try Converter(checkpoint: Checkpoint(directory: directory.path + "/model")).run(to: directory.output)
    }
    try FileManager.default.copyItem(atPath: goldenDirectory + "/slowfast-siglip/google", toPath: directory.path + "/model/google")
    let checkpoint = try Checkpoint(model: directory.path + "/model", tower: nil)
    let result = try Converter(checkpoint: checkpoint, options: ConversionOptions(bits: 32)).run(to: directory.output)
    #expect(result.plan.unknown.isEmpty && result.plan.unused.contains { $0.name.contains("head.probe") })
    let whole = directory.path + "/whole.sfq"
    try Converter(checkpoint: Checkpoint(model: goldenDirectory + "/slowfast-siglip", tower: nil), options: ConversionOptions(bits: 32))
      .run(to: whole)
    let (own, other) = (try ModelFileReader(path: directory.output), try ModelFileReader(path: whole))
    #expect(own.tensors.map(\.name) == other.tensors.map(\.name))
    for tensor in own.tensors { #expect(try ReadTensor(own, tensor.name).values == ReadTensor(other, tensor.name).values) }
    #expect(try own.section("vision") == other.section("vision"))
    let text = String(decoding: try own.section("provenance"), as: UTF8.self)
    #expect(text.contains("siglip-tiny-patch8-60/model.safetensors") && !text.contains(directory.path))
  }

  /// A tensor that no layer of a tower has is unknown, not of a later layer.
  @Test func unknownTensorsOfATower() throws {
    var golden = try EditableCheckpoint("onevision-hf")
    var odd = golden["vision_tower.vision_model.encoder.layers.0.layer_norm1.weight"]
    odd.name = "vision_tower.vision_model.encoder.layers.0.q_norm.weight"
    golden.tensors.append(odd)
    let plan = try Converter(checkpoint: golden.write(in: directory)).plan()
    #expect(plan.unknown.map(\.name) == [odd.name])
  }

  @Test func asymmetricCodesAndGroups() throws {
    let golden = try EditableCheckpoint("strides")
    for group in [32, 64, 128] {
      let options = ConversionOptions(bits: 4, group: group, isAsymmetric: true, replacesOutput: true)
      let result = try Converter(checkpoint: golden.write(in: directory), options: options).run(to: directory.output)
      let encodings = Set(result.plan.stored.filter(\.requirement.role.isMatrix).map(\.descriptor.encoding))
      #expect(encodings == Set([4, 8].map { .quantized(bits: $0, group: group, symmetric: false) }))
      try expectSame(ModelFileReader(path: directory.output), golden, result.plan)
    }
  }

  /// What was converted is what the file stands for, and tells so; with even levels nothing of it is there.
  @Test func unevenLevels() throws {
    let golden = try EditableCheckpoint("strides")
    let uneven = ConversionOptions(isUneven: true, replacesOutput: true)
    var rounded = uneven
    rounded.method = .rtn
    for options in [uneven, rounded] {
      let result = try Converter(checkpoint: golden.write(in: directory), options: options).run(to: directory.output)
      let file = try ModelFileReader(path: directory.output)
      #expect(file.version == (1, 2) && file.tensors.contains { $0.descriptor.encoding.isUneven })
      try expectSame(file, golden, result.plan)
      let provenance = String(decoding: try file.section("provenance"), as: UTF8.self)
      #expect(provenance.contains(#""levels" : "uneven""#))
    }
    let even = ConversionOptions(replacesOutput: true)
    _ = try Converter(checkpoint: golden.write(in: directory), options: even).run(to: directory.output)
    let file = try ModelFileReader(path: directory.output)
    #expect(file.version == (1, 0))
    #expect(!String(decoding: try file.section("provenance"), as: UTF8.self).contains("levels"))
  }

  @Test func compressionMakesTheFileSmallerAndNotOther() throws {
    let checkpoint = try Checkpoint(directory: goldenDirectory + "/clip")
    let result = try Converter(checkpoint: checkpoint).run(to: directory.output)
    let other = directory.path + "/other.sfq"
    try Converter(checkpoint: checkpoint, options: ConversionOptions(compression: .none)).run(to: other)
    let (packed, raw) = (try ModelFileReader(path: directory.output), try ModelFileReader(path: other))
    #expect(packed.byteCount < raw.byteCount)
    #expect(raw.byteCount == result.plan.fileByteCount || abs(raw.byteCount - result.plan.fileByteCount) < 16)
    for tensor in packed.tensors { #expect(try ReadTensor(packed, tensor.name).values == ReadTensor(raw, tensor.name).values) }
  }

  @Test func threadsDoNotChangeTheFile() throws {
    let checkpoint = try Checkpoint(directory: goldenDirectory + "/vanilla")
    var files: [Data] = []
    for threads in [1, 3, 8] {
      let options = ConversionOptions(threadCount: threads, replacesOutput: true)
      try Converter(checkpoint: checkpoint, options: options).run(to: directory.output)
      files.append(try Data(contentsOf: URL(fileURLWithPath: directory.output)))
    }
    #expect(files[0] == files[1])
    #expect(files[0] == files[2])
  }

  @Test func sectionsHoldWhatARunNeeds() throws {
    var golden = try EditableCheckpoint("clip")
    golden.config = golden.config.replacing("\"vocab_size\"", with: "\"video_frames\": 12, \"vocab_size\"")
    let checkpoint = try golden.write(in: directory, named: "some-model-frame96-s1t6")
    try Converter(checkpoint: checkpoint).run(to: directory.output)
    let file = try ModelFileReader(path: directory.output)
    #expect(try file.section("config.json") == checkpoint.config)
    #expect(try file.section("generation_config.json") == checkpoint.generationConfig ?? [])
    let text = "What happens in this video? Ünïcode 視頻"
    let original = try Tokenizer(checkpoint: checkpoint.directory)
    let stored = try Tokenizer(serialized: file.section("tokenizer"))
    #expect(stored.encode(text) == original.encode(text))
    let preprocessing = try PreprocessingRecord(json: file.section("preprocessing"))
    #expect(preprocessing.frames == 12)
    #expect(preprocessing.pixels.size == 192)

    let provenance = try JSONSerialization.jsonObject(with: Data(file.section("provenance"))) as? [String: Any]
    #expect(provenance?["source"] as? String == "some-model-frame96-s1t6")
    let shards = provenance?["shards"] as? [[String: Any]]
    #expect(shards?.first?["file"] as? String == "model.safetensors")
    #expect(shards?.first?["bytes"] as? Int == checkpoint.shards[0].file.byteCount)
    // Nothing in it tells where the checkpoint lay.
    let everything = String(decoding: try file.section("provenance"), as: UTF8.self)
    #expect(!everything.contains(directory.path))
  }
}

extension TensorEncoding {
  /// Half a step for 8 bits, and a little for scales and minima in float16. Fewer bits may cut extremes where that serves the others.
  fileprivate var bound: (steps: Float, relative: Float) {
    switch self {
    case .quantized(let scheme) where scheme.isUneven: (12, 0.12)
    case .quantized(let scheme) where scheme.bits < 8: scheme.bits == 3 ? (3, 0.24) : (3, 0.12)
    case .quantized(let scheme): scheme.isSymmetric ? (0.57, 0.01) : (0.65, 0.01)
    case .float: (0, 0)
    }
  }
}
