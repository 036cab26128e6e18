import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct SafetensorsTests {
  let directory: TemporaryDirectory
  init() throws { directory = try TemporaryDirectory() }

  @Test func readsTensorsInTheOrderOfTheirBytes() throws {
    let text = """
      {"__metadata__":{"format":"pt"},
       "b":{"dtype":"U8","shape":[3],"data_offsets":[4,7]},
       "a":{"shape":[2],"data_offsets":[0,4],"dtype":"BF16"}}
      """
    let path = try directory.write("file", safetensors(Array(text.utf8), data: [0x80, 0x3F, 0, 0xC0, 7, 8, 9]))
    let file = try SafetensorsFile(path: path)
    #expect(file.metadata == ["format": "pt"])
    #expect(file.tensors.map(\.name) == ["a", "b"])
    #expect(try file.floats(of: "a") == [1, -2])
    #expect(try file.uint8s(of: "b") == [7, 8, 9])
    #expect(file["c"] == nil)
  }

  @Test func readsEveryFloatType() throws {
    let text = """
      {"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"f":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},
       "d":{"dtype":"F64","shape":[],"data_offsets":[8,16]},"i":{"dtype":"I32","shape":[1],"data_offsets":[16,20]}}
      """
    let half: [UInt8] = [0x00, 0x3C, 0x01, 0x00]  // 1 and the smallest denormal
    let data = half + [0, 0, 0x20, 0xC1] + littleEndian((0.25).bitPattern) + [0xFE, 0xFF, 0xFF, 0xFF]
    let file = try SafetensorsFile(path: directory.write("file", safetensors(Array(text.utf8), data: data)))
    #expect(try file.floats(of: "h") == [1, 0x1p-24])
    #expect(try file.floats(of: "f") == [-10])
    #expect(try file.floats(of: "d") == [0.25])
    #expect(try file.int32s(of: "i") == [-2])
    #expect(throws: CheckpointError.wrongType(file: file.file.path, tensor: "i", type: .int32, expected: "F32, F16, BF16 or F64")) {
      try file.floats(of: "i")
    }
  }

  @Test func acceptsWhatTheSpecificationAllows() throws {
    // No tensor at all; padding; a single value; empty tensors beside each other; a name with escapes; unknown fields, which the
    // original ignores.
    let valid: [(String, Int)] = [
      ("{}", 0), ("{}      ", 0), ("{\"__metadata__\":{}}", 0),
      ("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4),
      ("{\"a\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[0,0]}}", 0),
      (
        "{\"b\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[0,2]},\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"
          + "\"c\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[2,2]}}", 2
      ),
      ("{\"\\u00e9\\ud83d\\ude00\\n\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":[1.5e3,{\"y\":null}]}}", 4),
    ]
    for (text, bytes) in valid {
      #expect(throws: Never.self, "\(text)") { try SafetensorsFile(path: directory.write("file", safetensors(text, dataBytes: bytes))) }
    }
    #expect(try SafetensorsFile(path: directory.path + "/file").tensors.map(\.name) == ["é😀\n"])
  }

  @Test func readsPartsAndRefusesOthers() throws {
    let file = try SafetensorsFile(path: directory.write("file", safetensors(Array(header([("a", [2])]).utf8), data: Array(1...8))))
    let tensor = try file.tensor("a")
    var buffer = [UInt8](repeating: 0, count: 3)
    try buffer.withUnsafeMutableBytes { try file.read(tensor, at: 5, into: $0) }
    #expect(buffer == [6, 7, 8])
    for offset in [6, -1, Int.max] {
      #expect(throws: CheckpointError.self) { try buffer.withUnsafeMutableBytes { try file.read(tensor, at: offset, into: $0) } }
    }
    #expect(throws: CheckpointError.noSuchTensor(file: file.file.path, tensor: "b")) { try file.floats(of: "b") }
    let copy = try file.withBytes(of: tensor) { Array($0) }
    #expect(copy == Array(1...8))
    let mapped = try file.mapped(tensor)
    #expect(mapped.byteCount == 8)
    #expect(mapped.withUnsafeBytes { $0[7] } == 8)
  }

  @Test func noticesAFileThatBecomesShorter() throws {
    let path = try directory.write("file", zeros([("a", [1000])]))
    let file = try SafetensorsFile(path: path)
    #expect(truncate(path, 100) == 0)
    let tensor = try file.tensor("a")
    var buffer = [UInt8](repeating: 0, count: 4000)
    #expect(throws: CheckpointError.truncatedWhileReading(file: path, offset: 100)) {
      try buffer.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
    }
  }

  @Test func parsesALongHeaderQuickly() throws {
    let names = (0..<5000).map { ("model.layers.\($0).self_attn.q_proj.weight", [0, $0]) }
    let path = try directory.write("file", zeros(names))
    let clock = ContinuousClock()
    var count = 0
    let time = try clock.measure { count = try SafetensorsFile(path: path).tensors.count }
    #expect(count == 5000)
    #expect(time < .seconds(2))  // Some 10 ms optimised, much more not.
  }
}

@Suite struct GoldenCheckpointTests {
  @Test(arguments: ["clip", "strides", "image", "vanilla"]) func opensTheGoldenFiles(name: String) throws {
    let checkpoint = try Checkpoint(directory: goldenDirectory + "/" + name)
    #expect(checkpoint.name == name)
    #expect(checkpoint.shards.count == (name == "strides" ? 4 : 1))
    #expect(checkpoint.generationConfig != nil)
    let norm = try checkpoint.tensor("model.norm.weight")
    #expect(norm.type == (name == "strides" ? .float16 : .bfloat16))
    var bytes = [UInt8](repeating: 0, count: norm.byteCount)
    try bytes.withUnsafeMutableBytes { try checkpoint.read(norm, at: 0, into: $0) }
    let mapped = try checkpoint.mapped(norm)
    #expect(mapped.withUnsafeBytes { Array($0) } == bytes)

    let golden = try SafetensorsFile(path: goldenDirectory + "/\(name)/golden.safetensors")
    #expect(golden.metadata["prompt"]?.contains("<image>") == true)
    let ids = try golden.int32s(of: "prompt_ids")
    #expect(ids.filter { $0 == -200 }.count == 1)
    let logits = try golden.tensor("logits")
    let values = try golden.floats(of: "logits")
    #expect(values.count == logits.shape[0] * logits.shape[1])
    #expect(!values.contains { !$0.isFinite })
    // The last position's best logit is the first token that the reference generates.
    let last = values.suffix(logits.shape[1])
    let best = last.indices.max { last[$0] < last[$1] }.map { $0 - last.startIndex }
    let generated = try golden.int32s(of: "generated_always")
    #expect(best == Int(generated[0]))
  }
}
