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
    var scanner = JSONScanner(json, file: file)
    var shards: [String: String]?
    try scanner.object { (scanner: inout JSONScanner, key: String) throws(CheckpointError) in
      guard key == "weight_map" else { return try scanner.skipValue() }
      var map: [String: String] = [:]
      try scanner.object { (scanner: inout JSONScanner, tensor: String) throws(CheckpointError) in
        let shard = try scanner.string()
        guard Self.isFileName(shard) else { throw .shardNameIsNoFileName(index: file, shard: shard) }
        map[tensor] = shard
      }
      shards = map
    }
    try scanner.end()
    guard let shards, !shards.isEmpty else { throw .indexWithoutWeightMap(index: file) }
    self.shards = shards
  }

  private static func isFileName(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".." && !name.utf8.contains { $0 == UInt8(ascii: "/") || $0 == 0 }
  }

  /// The index and the headers of its shards must say the same: each tensor in exactly the shard that the index names.
  func check(against files: [(name: String, file: Safetensors)], index: String) throws(CheckpointError) {
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
