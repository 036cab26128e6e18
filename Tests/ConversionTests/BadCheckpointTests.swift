import Conversion
import Foundation
import ModelFile
import Safetensors
import Support
import TestSupport
import Testing

/// Checkpoints that must not become model files: a line that says what and where, and nothing written.
@Suite struct BadCheckpointTests {
  let directory: TemporaryDirectory
  init() throws { directory = try TemporaryDirectory() }

  private func message(_ checkpoint: EditableCheckpoint, _ options: ConversionOptions = ConversionOptions()) throws -> String {
    let opened = try checkpoint.write(in: directory)
    let error = #expect(throws: SlowFastError.self) { try Converter(checkpoint: opened, options: options).run(to: directory.output) }
    #expect(directory.contents == ["model"])
    let text = error?.description ?? ""
    #expect(!text.contains("\n"))
    return text
  }

  @Test func wrongShape() throws {
    var checkpoint = try EditableCheckpoint("clip")
    checkpoint["model.layers.1.mlp.up_proj.weight"].shape = [128, 320]
    #expect(try message(checkpoint) == "tensor \"model.layers.1.mlp.up_proj.weight\" has the shape [128, 320], expected [320, 128]")
  }

  @Test func wrongType() throws {
    var checkpoint = try EditableCheckpoint("clip")
    checkpoint["model.norm.weight"].type = .int16
    #expect(try message(checkpoint) == "tensor \"model.norm.weight\" has the type I16, expected BF16, F16 or F32")
  }

  @Test func configAndTokenizer() throws {
    var checkpoint = try EditableCheckpoint("clip")
    let good = checkpoint.config
    checkpoint.config = "{"
    #expect(try message(checkpoint).hasPrefix("config.json: "))
    checkpoint.config = good.replacing("\"whole-dynamic-tanh-warmup\"", with: "\"whole-static\"")
    #expect(try message(checkpoint).contains("cross_attn_gating_type"))
    checkpoint.config = good.replacing("\"llava_qwen_slow_fast\"", with: "\"gpt2\"")
    #expect(try message(checkpoint).contains("model_type"))
    checkpoint.config = good.replacing("\"vocab_size\": 512", with: "\"vocab_size\": 100")
    #expect(try message(checkpoint).contains("the embedding only 100 rows"))

    checkpoint.config = good
    let opened = try checkpoint.write(in: directory)
    try FileManager.default.removeItem(atPath: opened.directory + "/tokenizer.json")
    let error = #expect(throws: SlowFastError.self) { try Converter(checkpoint: opened).run(to: directory.output) }
    #expect(error?.description.contains("tokenizer.json") == true)
  }

  /// NaN in a quantized matrix, in a convolution that is turned, in a vector; infinity at the very end.
  @Test(arguments: [3, 4, 8, 16, 32]) func nonfiniteWeights(bits: Int) throws {
    let cases: [(String, [Int], Int, [UInt8], String)] = [
      ("model.layers.2.mlp.down_proj.weight", [37, 5], 37 * 320 + 5, [0xC0, 0x7F], "NaN"),
      ("model.vision_tower.vision_tower.stages.1.downsample.1.weight", [3, 4, 1, 0], (3 * 32 + 4) * 4 + 2, [0x80, 0xFF], "-infinity"),
      ("model.vision_tower.vision_tower.stages.0.blocks.0.conv_dw.weight", [31, 0, 6, 6], 32 * 49 - 1, [0x80, 0x7F], "infinity"),
      ("lm_head.weight", [511, 127], 512 * 128 - 1, [0x80, 0x7F], "infinity"),
      ("model.norm.weight", [1], 1, [0xC1, 0x7F], "NaN"),
    ]
    for (name, index, place, value, text) in cases {
      var checkpoint = try EditableCheckpoint("clip")
      checkpoint[name].bytes.replaceSubrange(2 * place..<2 * place + 2, with: value)
      let message = try message(checkpoint, ConversionOptions(bits: bits))
      #expect(message == "tensor \"\(name)\" holds \(text) at \(index)")

      let options = ConversionOptions(bits: bits, replacesOutput: true, allowsNonfinite: true)
      let result = try Converter(checkpoint: checkpoint.write(in: directory), options: options).run(to: directory.output)
      #expect(result.nonfiniteTensors == [name])
      let stored = try #require(result.plan.stored.first { $0.source.name == name })
      let read = try ReadTensor(ModelFileReader(path: directory.output), name)
      var stays = 0
      stored.requirement.forEachStoredIndex { target, source in
        if source == place, !read.values[target].isFinite { stays += 1 }
        if source == place, read.steps != nil { #expect(read.values[target] == 0) }
      }
      // Values stay as they are; codes have none for them.
      #expect(stays == (read.steps == nil ? 1 : 0))
      #expect(read.values.filter { !$0.isFinite }.count == stays)
      try FileManager.default.removeItem(atPath: directory.output)
    }
  }

  @Test func weightsBeyondTheScales() throws {
    let name = "model.layers.0.mlp.down_proj.weight"
    var checkpoint = try EditableCheckpoint("clip")
    // 2^100 as bfloat16.
    checkpoint[name].bytes.replaceSubrange(200..<202, with: [0x80, 0x71])
    for (isAsymmetric, bits) in [(false, 4), (true, 4), (false, 8), (true, 8)] {
      let text = try message(checkpoint, ConversionOptions(bits: bits, isAsymmetric: isAsymmetric))
      #expect(text.hasPrefix("tensor \"\(name)\" holds 1.2676506e+30 at [0, 100], beyond "), "\(text)")
    }
    // Kept in 16 bits it is no trouble.
    let options = ConversionOptions(keep: [KeepRule(pattern: name, bits: 16)])
    let result = try Converter(checkpoint: checkpoint.write(in: directory), options: options).run(to: directory.output)
    #expect(result.nonfiniteTensors.isEmpty)
    #expect(try ReadTensor(ModelFileReader(path: directory.output), name).values[100] == 0x1p100)
  }

  /// float32 weights: exact with 32 bits, rounded to bfloat16 with 16.
  @Test func float32Checkpoint() throws {
    let name = "model.layers.0.mlp.up_proj.weight"
    var checkpoint = try EditableCheckpoint("clip")
    let values: [Float] = floats(checkpoint[name]).map { $0 * 1.0001 }
    checkpoint[name].type = .float32
    checkpoint[name].bytes = values.withUnsafeBytes { Array($0) }
    let opened = try checkpoint.write(in: directory)
    try Converter(checkpoint: opened, options: ConversionOptions(bits: 32)).run(to: directory.output)
    #expect(try ReadTensor(ModelFileReader(path: directory.output), name).values == values)
    try Converter(checkpoint: opened, options: ConversionOptions(bits: 16, replacesOutput: true)).run(to: directory.output)
    let file = try ModelFileReader(path: directory.output)
    #expect(file.tensor(name)?.descriptor.encoding == .bfloat16)
    let rounded = try ReadTensor(file, name).values
    #expect(zip(rounded, values).allSatisfy { abs($0 - $1) <= abs($1) * 0x1p-8 })

    checkpoint[name].bytes.replaceSubrange(0..<4, with: [0xFF, 0xFF, 0x7F, 0x7F])
    let large = try checkpoint.write(in: directory)
    let error = #expect(throws: SlowFastError.self) {
      try Converter(checkpoint: large, options: ConversionOptions(bits: 16, replacesOutput: true)).run(to: directory.output)
    }
    #expect(error?.description.contains("beyond") == true)
  }

  @Test func outputExists() throws {
    let checkpoint = try Checkpoint(directory: goldenDirectory + "/image")
    try Data("something".utf8).write(to: URL(fileURLWithPath: directory.output))
    let error = #expect(throws: SlowFastError.self) { try Converter(checkpoint: checkpoint).run(to: directory.output) }
    #expect(error?.description.contains(directory.output) == true)
    #expect(try String(contentsOfFile: directory.output, encoding: .utf8) == "something")
    #expect(directory.contents == ["model.sfq"])
    try Converter(checkpoint: checkpoint, options: ConversionOptions(replacesOutput: true)).run(to: directory.output)
    #expect(throws: Never.self) { try ModelFileReader(path: directory.output) }
    // The directory of the output does not exist; the output is a directory.
    for path in [directory.path + "/missing/model.sfq", directory.path] {
      let options = ConversionOptions(replacesOutput: true)
      #expect(throws: SlowFastError.self) { try Converter(checkpoint: checkpoint, options: options).run(to: path) }
    }
    #expect(directory.contents == ["model.sfq"])
  }

  @Test(.enabled(if: geteuid() == 0, "mounting needs root")) func diskThatFillsUp() throws {
    let mount = directory.path + "/disk"
    try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: false)
    try #require(try run("/bin/mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", mount))
    defer { _ = try? run("/bin/umount", mount) }
    let checkpoint = try Checkpoint(directory: goldenDirectory + "/clip")
    let error = #expect(throws: SlowFastError.self) { try Converter(checkpoint: checkpoint).run(to: mount + "/model.sfq") }
    guard case .diskFull? = error?.underlying as? ModelFileError else { return #expect(Bool(false), "\(String(describing: error))") }
    #expect(try FileManager.default.contentsOfDirectory(atPath: mount).isEmpty)
  }

  private func run(_ program: String, _ arguments: String...) throws -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    return process.terminationStatus == 0
  }
}
