import Foundation
import Safetensors
import TestSupport
import Testing

/// Ctrl-C: the end within a second, and nothing half done under an output's name.
@Suite struct InterruptTests {
  /// A second, and something for a busy machine.
  private let patience = 2.5 * slowness

  @Test func whileFramesAreEncoded() throws {
    // The clip's 390 frames forty times: minutes.
    let clips = Array(repeating: Repository.clip, count: 40)
    let run = try Run(["run", try Fixture.model()] + clips + ["-q", "hi", "--frames", "390", "--fast-frames", "8"])
    usleep(1_000_000)
    #expect(run.isRunning)
    let outcome = try run.interrupt()
    #expect(outcome.status == 130 && outcome.output == "" && outcome.seconds < patience)
  }

  @Test func whileConverting() throws {
    let directory = try TemporaryDirectory()
    let checkpoint = directory.file("checkpoint")
    try writeLargeCheckpoint(checkpoint)
    let output = directory.file("model.sfq")
    let run = try Run(["convert", checkpoint, output, "--bits", "8"])
    let began = run.wait {
      let size = (try? FileManager.default.attributesOfItem(atPath: output + ".partial")[.size] as? Int) ?? 0
      return size > 0
    }
    #expect(began && run.isRunning)
    let outcome = try run.interrupt()
    #expect(outcome.status == 130 && outcome.output == "" && outcome.seconds < patience)
    #expect(!exists(output))
    // What is done is kept under another name, for the next run to go on.
    #expect(directory.contents.contains("model.sfq.partial"))
  }

  /// The clip checkpoint with a vocabulary of eight million: two matrices of two gigabytes, which are holes in the file.
  private func writeLargeCheckpoint(_ path: String) throws {
    let golden = Repository.golden("clip")
    let rows = 1 << 23
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for name in ["generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
      try FileManager.default.copyItem(atPath: golden + "/" + name, toPath: path + "/" + name)
    }
    let config = try String(contentsOfFile: golden + "/config.json", encoding: .utf8)
    try config.replacingOccurrences(of: "\"vocab_size\": 512", with: "\"vocab_size\": \(rows)")
      .write(toFile: path + "/config.json", atomically: false, encoding: .utf8)

    let source = try SafetensorsFile(path: golden + "/model.safetensors")
    let large = ["model.embed_tokens.weight", "lm_head.weight"]
    var entries: [String] = []
    var data = Data()
    func add(_ name: String, _ type: TensorType, _ shape: [Int], from start: Int, _ count: Int) {
      entries.append("\"\(name)\":{\"dtype\":\"\(type.rawValue)\",\"shape\":\(shape),\"data_offsets\":[\(start),\(start + count)]}")
    }
    for tensor in source.tensors where !large.contains(tensor.name) {
      add(tensor.name, tensor.type, tensor.shape, from: data.count, tensor.bytes.count)
      data += try source.withBytes(of: tensor) { Data($0) }
    }
    var end = data.count
    for name in large {
      let width = try #require(source[name]?.shape.last)
      add(name, .bfloat16, [rows, width], from: end, rows * width * 2)
      end += rows * width * 2
    }
    let header = Data("{\(entries.joined(separator: ","))}".utf8)
    let length = Data((0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) })
    let file = path + "/model.safetensors"
    try (length + header + data).write(to: URL(fileURLWithPath: file))
    try #require(truncate(file, 8 + header.count + end) == 0)
  }
}
