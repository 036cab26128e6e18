import Foundation
import Support

/// A tensor of a checkpoint: what its file says about it, and which file that is.
package struct CheckpointTensor: Sendable, Equatable {
  package var info: TensorInfo
  /// Its place in `Checkpoint.shards`.
  package var shard: Int

  package var name: String { info.name }
  package var type: TensorType { info.type }
  package var shape: [Int] { info.shape }
  package var byteCount: Int { info.bytes.count }
}

/// A checkpoint directory as HuggingFace lays it out, opened and checked: configuration and tokenizer files as bytes, tensors on demand.
///
/// Knows nothing of any model. Opening reads the headers and the small files only.
package struct Checkpoint: Sendable {
  /// As it was given.
  package let directory: String
  /// `config.json`.
  package let config: [UInt8]
  /// `generation_config.json`; nil when there is none.
  package let generationConfig: [UInt8]?
  /// `preprocessor_config.json`, or `processor_config.json`, which holds the same in an object since transformers 5; nil when there is
  /// neither.
  package let preprocessorConfig: [UInt8]?
  /// The safetensors files, by name; those of an attached checkpoint after its own.
  package private(set) var shards: [SafetensorsFile]
  package private(set) var tensors: [String: CheckpointTensor]
  /// `config.json` and `preprocessor_config.json` of an attached checkpoint.
  package private(set) var attached: (config: [UInt8], preprocessorConfig: [UInt8]?)?

  static let smallFileLimit = 64 << 20

  /// The last component of the directory's path, symbolic links not followed: usually the model's name.
  package var name: String { URL(fileURLWithPath: directory).standardizedFileURL.lastPathComponent }

  /// The names of all that lies in the directory.
  package var paths: [String] { ((try? SystemCalls.entries(of: directory)) ?? []).map { "\(directory)/\($0)" } }

  package init(directory: String) throws(CheckpointError) {
    guard let status = FileStatus(path: directory) else {
      throw .notADirectory(path: directory, reason: FileKind(path: directory).insteadOfModel(directory) ?? "no such file or directory")
    }
    guard status.kind == .directory else {
      let kind = FileKind(path: directory)
      let reason =
        kind == .modelFile ? "a model file, which is converted already; expected a checkpoint directory" : kind.insteadOfModel(directory)
      throw .notADirectory(path: directory, reason: reason ?? "expected a checkpoint directory")
    }
    self.directory = directory
    // The weights first: a directory without any is better described by that than by its missing config.json.
    shards = try Self.openShards(directory)
    config = try SourceFile(path: directory + "/config.json").contents(limit: Self.smallFileLimit)
    generationConfig = try Self.optionalFile("generation_config.json", in: directory)
    preprocessorConfig = try Self.preprocessorConfig(in: directory)

    var tensors: [String: CheckpointTensor] = [:]
    for (index, shard) in shards.enumerated() {
      for tensor in shard.tensors { tensors[tensor.name] = CheckpointTensor(info: tensor, shard: index) }
    }
    self.tensors = tensors
  }

  /// Adds another directory's configuration, and those of its tensors that `isWanted`, for a part of the model that is kept there. Without
  /// wanted tensors it need not have weights.
  package mutating func attach(_ directory: String, _ isWanted: ((String) -> Bool)?) throws(CheckpointError) {
    guard let isWanted else {
      let config = try SourceFile(path: directory + "/config.json").contents(limit: Self.smallFileLimit)
      attached = (config, try Self.preprocessorConfig(in: directory))
      return
    }
    let other = try Checkpoint(directory: directory)
    attached = (other.config, other.preprocessorConfig)
    for (name, tensor) in other.tensors where isWanted(name) {
      tensors[name] = CheckpointTensor(info: tensor.info, shard: shards.count + tensor.shard)
    }
    shards += other.shards
  }

  /// The tensor of that name, or an error that says that there is none.
  package func tensor(_ name: String) throws(CheckpointError) -> CheckpointTensor {
    guard let tensor = tensors[name] else { throw .noSuchTensor(file: directory, tensor: name) }
    return tensor
  }

  /// Copies `buffer.count` bytes of the tensor, from its byte `offset` on, into `buffer`. Several threads may read at once.
  package func read(_ tensor: CheckpointTensor, at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(CheckpointError) {
    try shards[tensor.shard].read(tensor.info, at: offset, into: buffer)
  }

  /// The tensor's bytes, mapped, not copied, for as long as the value is kept.
  package func mapped(_ tensor: CheckpointTensor) throws(CheckpointError) -> MappedTensor {
    try shards[tensor.shard].mapped(tensor.info)
  }

  // MARK: Opening

  private static func preprocessorConfig(in directory: String) throws(CheckpointError) -> [UInt8]? {
    if let own = try optionalFile("preprocessor_config.json", in: directory) { return own }
    return try optionalFile("processor_config.json", in: directory)
  }

  private static func optionalFile(_ name: String, in directory: String) throws(CheckpointError) -> [UInt8]? {
    let path = directory + "/" + name
    guard FileKind.isThere(path) else { return nil }
    return try SourceFile(path: path).contents(limit: smallFileLimit)
  }

  /// One file if there is one, as the original's loader does; otherwise the shards that the index names.
  private static func openShards(_ directory: String) throws(CheckpointError) -> [SafetensorsFile] {
    let single = directory + "/model.safetensors"
    if FileKind.isThere(single) { return [try SafetensorsFile(path: single)] }

    let files: [String]
    do throws(SystemError) { files = try SystemCalls.entries(of: directory).sorted() } catch {
      throw .cannotRead(file: directory, reason: error.message)
    }
    let indexName = "model.safetensors.index.json"
    guard files.contains(indexName) else { throw .noWeights(directory: directory, hint: hint(files, in: directory)) }
    let indexPath = directory + "/" + indexName
    let index = try ShardIndex(json: SourceFile(path: indexPath).contents(limit: ShardIndex.lengthLimit), file: indexPath)
    let names = index.shardNames
    if let stray = files.first(where: { isShardName($0) && !names.contains($0) }) {
      throw .shardNotInIndex(index: indexPath, shard: stray)
    }
    var shards: [(name: String, file: SafetensorsFile)] = []
    for name in names {
      let path = directory + "/" + name
      guard FileKind.isThere(path) else { throw .shardMissing(index: indexPath, shard: name) }
      shards.append((name, try SafetensorsFile(path: path)))
    }
    try index.check(against: shards, index: indexPath)
    return shards.map(\.file)
  }

  /// `model-00001-of-00004.safetensors`.
  private static func isShardName(_ name: String) -> Bool { name.hasPrefix("model-") && name.hasSuffix(".safetensors") }

  /// What a directory without weights seems to be.
  private static func hint(_ files: [String], in directory: String) -> String {
    if let snapshot = snapshot(files, in: directory) { return snapshot }
    if files.contains("adapter_model.safetensors") || files.contains("adapter_config.json") {
      return "it holds an adapter; merge it into its base model first"
    }
    if files.contains(where: isShardName) { return "there are shards without an index" }
    if let other = files.first(where: { $0.hasSuffix(".bin") || $0.hasSuffix(".pt") || $0.hasSuffix(".pth") || $0.hasSuffix(".gguf") }) {
      return "\(other.quoted) is in another format; expected safetensors"
    }
    if files.contains(where: { $0.hasSuffix(".incomplete") }) || FileKind.isThere(directory + "/.cache/huggingface/download") {
      return "the download was not finished, repeat it"
    }
    let isPicture = files.prefix(100).contains { [.picture, .video].contains(FileKind(path: directory + "/" + $0)) }
    return isPicture ? "it holds pictures or videos: the model comes first, then the clip" : ""
  }

  /// Where the checkpoint is, in the folder that a hub's cache keeps for a model or for all of them, or in one above a checkpoint.
  private static func snapshot(_ files: [String], in directory: String) -> String? {
    func contents(_ path: String) -> [String] { ((try? SystemCalls.entries(of: path)) ?? []).sorted() }
    if files.contains("snapshots"), files.contains("refs") || files.contains("blobs") {
      let snapshots = contents(directory + "/snapshots")
      let main = (try? SourceFile(path: directory + "/refs/main").contents(limit: 4096)).map { String(decoding: $0, as: UTF8.self) }
      guard let snapshot = snapshots.first(where: { $0 == main }) ?? snapshots.first else {
        return "a hub cache's folder without a snapshot: the download was not finished, repeat it"
      }
      return "a hub cache's folder; the checkpoint is \((directory + "/snapshots/" + snapshot).quoted)"
    }
    if let model = files.first(where: { $0.hasPrefix("models--") }) {
      return "a hub cache; a checkpoint is in \((directory + "/" + model + "/snapshots").quoted)"
    }
    let inner = files.filter { FileKind.isThere(directory + "/" + $0 + "/config.json") }
    return inner.first.map { "the checkpoint is in \((directory + "/" + $0).quoted)" }
  }
}

/// `model.safetensors.index.json`: in which file of a sharded checkpoint each tensor lies.
struct ShardIndex {
  /// Tensor to shard.
  var shards: [String: String]

  /// Shard names, sorted, each once.
  var shardNames: [String] { Set(shards.values).sorted() }

  /// Enough for millions of tensors.
  static let lengthLimit = 256 << 20

  /// Parses the index; a shard's name must be a plain file name, so that no index reaches outside its directory.
  init(json: [UInt8], file: String) throws(CheckpointError) {
    var shards: [String: String]?
    try CheckpointError.reading(json, of: file) { reader in
      try reader.object { reader, key in
        guard key == "weight_map" else { return try reader.skipValue() }
        var map: [String: String] = [:]
        try reader.object { reader, tensor in
          let shard = try reader.string()
          guard Self.isFileName(shard) else { throw CheckpointError.shardNameIsNoFileName(index: file, shard: shard) }
          map[tensor] = shard
        }
        shards = map
      }
    }
    guard let shards, !shards.isEmpty else { throw .indexWithoutWeightMap(index: file) }
    self.shards = shards
  }

  private static func isFileName(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".." && !name.utf8.contains { $0 == UInt8(ascii: "/") || $0 == 0 }
  }

  /// The index and the headers of its shards must say the same: each tensor in exactly the shard that the index names.
  func check(against files: [(name: String, file: SafetensorsFile)], index: String) throws(CheckpointError) {
    var found: [String: String] = [:]
    for (shard, file) in files {
      for tensor in file.tensors {
        if let first = found.updateValue(shard, forKey: tensor.name) {
          throw .tensorInTwoShards(index: index, tensor: tensor.name, first: first, second: shard)
        }
        if shards[tensor.name] == nil { throw .tensorNotInIndex(index: index, tensor: tensor.name, shard: shard) }
      }
    }
    for (tensor, shard) in shards.sorted(by: { $0.key < $1.key }) where found[tensor] != shard {
      throw .tensorNotInShard(index: index, tensor: tensor, shard: shard)
    }
  }
}
