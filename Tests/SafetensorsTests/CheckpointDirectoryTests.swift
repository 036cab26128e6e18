import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct CheckpointDirectoryTests {
  let directory: TemporaryDirectory
  init() throws {
    directory = try TemporaryDirectory()
    try directory.write("config.json", "{\"a\":1}")
  }

  private var indexPath: String { directory.path + "/model.safetensors.index.json" }
  private let shard1 = "model-00001-of-00002.safetensors"
  private let shard2 = "model-00002-of-00002.safetensors"

  private func writeIndex(_ map: [(String, String)]) throws {
    let entries = map.map { "\"\($0.0)\":\"\($0.1)\"" }.joined(separator: ",")
    try directory.write("model.safetensors.index.json", "{\"metadata\":{\"total_size\":1},\"weight_map\":{\(entries)}}")
  }

  private func expect(_ error: CheckpointError, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(throws: error, sourceLocation: sourceLocation) { try Checkpoint(directory: directory.path) }
    #expect(!error.description.contains("\n"), sourceLocation: sourceLocation)
  }

  @Test func opensShards() throws {
    try writeIndex([("a", shard1), ("b", shard2), ("c", shard2)])
    try directory.write(shard1, zeros([("a", [2, 3])]))
    try directory.write(shard2, zeros([("b", [1]), ("c", [5])]))
    try directory.write("golden.safetensors", "something else")
    let checkpoint = try Checkpoint(directory: directory.path + "/")
    #expect(checkpoint.name == URL(fileURLWithPath: directory.path).lastPathComponent)
    #expect(checkpoint.config == Array("{\"a\":1}".utf8))
    #expect(checkpoint.generationConfig == nil)
    #expect(checkpoint.tensors.count == 3)
    #expect(checkpoint.tensors["c"]?.shard == 1)
    #expect(checkpoint.tensors["a"]?.shape == [2, 3])
  }

  @Test func indexAndShardsDisagree() throws {
    try directory.write(shard1, zeros([("a", [1])]))
    try writeIndex([("a", shard1), ("b", shard2)])
    expect(.shardMissing(index: indexPath, shard: shard2))

    try directory.write(shard2, zeros([("c", [1])]))
    expect(.tensorNotInIndex(index: indexPath, tensor: "c", shard: shard2))
    try directory.write(shard2, zeros([]))
    expect(.tensorNotInShard(index: indexPath, tensor: "b", shard: shard2))
    try directory.write(shard2, zeros([("a", [1]), ("b", [1])]))
    expect(.tensorInTwoShards(index: indexPath, tensor: "a", first: shard1, second: shard2))
    try directory.write(shard2, zeros([("b", [1])]))
    #expect(throws: Never.self) { try Checkpoint(directory: directory.path) }

    try writeIndex([("a", shard1), ("b", shard1)])
    expect(.shardNotInIndex(index: indexPath, shard: shard2))
    try FileManager.default.removeItem(atPath: directory.path + "/" + shard2)
    expect(.tensorNotInShard(index: indexPath, tensor: "b", shard: shard1))
    try writeIndex([("a", shard1), ("a", shard1)])
    expect(.duplicateKey(file: indexPath, key: "a"))
  }

  @Test func shardNamesStayInTheDirectory() throws {
    for name in ["../x.safetensors", "/etc/passwd", "sub/x.safetensors", "", ".", "..", "a\\u0000b"] {
      try writeIndex([("a", name)])
      expect(.shardNameIsNoFileName(index: indexPath, shard: name == "a\\u0000b" ? "a\0b" : name))
    }
  }

  @Test func indexIsNone() throws {
    try directory.write("model.safetensors.index.json", "{}")
    expect(.indexWithoutWeightMap(index: indexPath))
    try directory.write("model.safetensors.index.json", "{\"weight_map\":{}}")
    expect(.indexWithoutWeightMap(index: indexPath))
    try directory.write("model.safetensors.index.json", "[]")
    expect(.invalidJSON(file: indexPath, offset: 0, expected: "an object"))
    try directory.write("model.safetensors.index.json", "")
    expect(.invalidJSON(file: indexPath, offset: 0, expected: "an object"))
  }

  @Test func noCheckpointAtAll() throws {
    expect(.noWeights(directory: directory.path, hint: ""))
    try directory.write("pytorch_model.bin", "x")
    expect(.noWeights(directory: directory.path, hint: "\"pytorch_model.bin\" is in another format; expected safetensors"))
    try directory.write(shard1, zeros([("a", [1])]))
    expect(.noWeights(directory: directory.path, hint: "there are shards without an index"))
    try directory.write("adapter_config.json", "{}")
    expect(.noWeights(directory: directory.path, hint: "it holds an adapter; merge it into its base model first"))

    #expect(throws: CheckpointError.notADirectory(path: "/nowhere", reason: "no such file or directory")) {
      try Checkpoint(directory: "/nowhere")
    }
    let file = directory.path + "/config.json"
    #expect(
      throws: CheckpointError.notADirectory(
        path: file, reason: "one file of a checkpoint, expected the checkpoint's directory, or an .sfq file")
    ) { try Checkpoint(directory: file) }
  }

  @Test func configIsMissingOrNoFile() throws {
    try directory.write("model.safetensors", zeros([("a", [1])]))
    let config = directory.path + "/config.json"
    try FileManager.default.removeItem(atPath: config)
    expect(.cannotOpen(file: config, reason: "No such file or directory"))
    try FileManager.default.createDirectory(atPath: config, withIntermediateDirectories: false)
    expect(.notAFile(file: config))
  }

  @Test(.enabled(if: geteuid() != 0, "root may read everything")) func unreadableFile() throws {
    let path = try directory.write("model.safetensors", zeros([("a", [1])]))
    chmod(path, 0)
    expect(.cannotOpen(file: path, reason: "Permission denied"))
  }
}
