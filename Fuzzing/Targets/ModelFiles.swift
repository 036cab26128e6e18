import Compute
import Foundation
import ModelFile
import Models
import Parallel
import Runtime
import TestSupport
import Tokenizer

private let pool = ThreadPool(threadCount: 1)

extension FuzzTarget {
  /// The table, the planes and the chunks of a model file.
  static let modelFile = FuzzTarget(
    name: "model-file", seeds: { try Repository.files("Formats/conformance", [".sfq"]) }, mutate: ModelFileBytes.mutate,
    repair: ModelFileBytes.repair,
    read: { bytes in
      let reader = try ModelFileReader(path: Scratch.file("model.sfq", bytes))
      for section in reader.sections { _ = try? reader.section(section.name) }
      // A table may promise more than there is; only what is small is loaded here.
      for tensor in reader.tensors where tensor.rawByteCount < 1 << 22 {
        guard let loaded = try? reader.load(tensor.name, pool: pool) else { continue }
        // Every byte that is handed out can be read.
        for plane in loaded.planes { _ = checksum(plane.bytes) }
        guard let rows = try? reader.rows(of: tensor.name), rows.columns < 1 << 20 else { continue }
        var values = [Float](repeating: 0, count: rows.columns)
        _ = values.withUnsafeMutableBufferPointer { buffer in
          buffer.baseAddress.map { try? rows.read(row: rows.rows - 1, into: $0) }
        }
      }
      for damage in try reader.verify(pool: pool) { require(!damage.description.contains("\n")) }
    })

  /// The tokenizer as a model file has it.
  static let tokenizerSection = FuzzTarget(
    name: "tokenizer-section",
    seeds: { try TokenizerFolders.all.map { try Tokenizer(checkpoint: $0).serialized() }.filter { $0.count < 1 << 16 } },
    mutate: { bytes, numbers in
      // The header's counts, or what they count.
      let isHeader = Int.random(in: 0..<3, using: &numbers) == 0
      ByteMutation.apply(&bytes, in: isHeader ? 4..<32 : 32..<max(33, bytes.count), &numbers)
    },
    read: { bytes in
      let tokenizer = try Tokenizer(serialized: bytes)
      require((try? Tokenizer(serialized: tokenizer.serialized()).serialized()) == tokenizer.serialized())
      let ids = tokenizer.encode("A caf\u{E9}'s  \u{1F388} 12345\n\n<|im_end|> I'll")
      _ = tokenizer.decode(ids + [0, 1, -1, .max, .min])
      _ = tokenizer.decode(ids, skipSpecial: true)
      for id in ids.prefix(8) { _ = tokenizer.bytes(of: id) }
    })

  /// The sections of a model file that are JSON, and `generation_config.json`.
  static let records = FuzzTarget(
    name: "records",
    seeds: {
      [
        #"{"temperature":0.2,"top_p":1,"top_k":50,"repetition_penalty":1,"max_new_tokens":1024,"slow_attention":"prompt"}"#,
        #"{"do_sample":true,"top_k":20,"repetition_penalty":1.05,"eos_token_id":[151645,151643]}"#,
        #"{"size":384,"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5],"fit":"longest","longest_side":512,"resampling":"lanczos","#
          + #""picture_side":2048,"frames":64,"frames_per_second":1}"#,
        #"{"image_size":384,"num_attention_heads":16,"num_hidden_layers":27,"layer_norm_eps":1e-6,"hidden_act":"gelu_pytorch_tanh","#
          + #""pixels":{"size":384,"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5],"fit":"stretch","resampling":"bicubic"}}"#,
      ].map { Array($0.utf8) }
    },
    mutate: { JSONMutation.apply(&$0, words: ["crop", "stretch", "longest", "all", "prompt", "gelu", "quick_gelu", "bilinear"], &$1) },
    read: { bytes in
      if let record = try? GenerationRecord(json: bytes) { require((try? GenerationRecord(json: record.json())) == record) }
      if let record = try? PreprocessingRecord(json: bytes) { require((try? PreprocessingRecord(json: record.json())) == record) }
      _ = try? TowerSettings(json: bytes)
      _ = try GenerationConfig(json: bytes)
    })

  /// Entries of a clip cache: of a clip, of a prompt, and packs of frames.
  static let cache = FuzzTarget(
    name: "cache", seeds: { try CacheFolder.entries() }, mutate: ModelFileBytes.mutate, repair: ModelFileBytes.repair,
    read: { bytes in
      let cache = try ClipCache(ClipCacheOptions(directory: CacheFolder.make(bytes)))
      switch cache.lookup(CacheFolder.key, pool: pool) {
      case .none: break
      case .damaged(let reason): require(!reason.contains("\n"))
      case .found(let entry):
        if let kept = KeptClip(entry, frames: 0...64) { _ = kept.info.frames + kept.info.slowTokens + kept.info.fastTokens }
        for type in [KeyValueType.float32, .float16] {
          guard let prefix = CachedPrefix(entry, config: CacheFolder.config, type: type) else { continue }
          let caches = try DecoderCaches(config: CacheFolder.config, capacity: prefix.tokens, type: type)
          prefix.restore(caches)
          _ = try prefix.slowCaches(config: CacheFolder.config, type: type)
        }
      }
      let frames = cache.frames(CacheFolder.key, pool: pool)
      for name in ["frame", "other", ""] { frames.find(name)?.withBytes { _ = checksum($0) } }
      for problem in frames.problems { require(!problem.contains("\n")) }
    })
}

/// Model files as their mutations see them.
enum ModelFileBytes {
  static func mutate(_ bytes: inout [UInt8], _ numbers: inout SeededNumbers) {
    let table = min(bytes.count, Int(clamping: bytes.integer(UInt64.self, at: 16) ?? 0))
    // Mostly in the table, where the fields are; in the prelude seldom, in chunks for their frames.
    switch Int.random(in: 0..<8, using: &numbers) {
    case 0: ByteMutation.apply(&bytes, in: 0..<56, &numbers)
    case 1, 2: ByteMutation.apply(&bytes, in: 64..<max(65, table), &numbers)
    default: ByteMutation.apply(&bytes, in: table..<max(table + 1, bytes.count), origin: table, &numbers)
    }
  }

  /// Lengths and checksums, those of the chunks too, as far as the table can be followed.
  static func repair(_ bytes: inout [UInt8]) {
    guard let offset = bytes.integer(UInt64.self, at: 16), offset >= 64, offset < UInt64(bytes.count), bytes.count >= 80 else { return }
    let table = Int(offset)
    if let tensors = bytes.integer(UInt32.self, at: table + 4), let sections = bytes.integer(UInt32.self, at: table + 8) {
      var record = table + 16
      for index in 0..<min(1 << 12, Int(tensors) + Int(sections)) {
        guard let length = bytes.integer(UInt32.self, at: record), length >= 8, Int(length) <= bytes.count - record else { break }
        if index < tensors {
          let (rank, planes) = (Int(bytes[record + 7]), Int(record + 9 < bytes.count ? bytes[record + 9] : 0))
          var plane = record + 16 + 8 * rank
          for _ in 0..<min(3, planes) { repairPlane(&bytes, &plane, before: record + Int(length)) }
        } else {
          var plane = record + 8
          repairPlane(&bytes, &plane, before: record + Int(length))
        }
        record += Int(length)
      }
    }
    bytes.set(UInt64(bytes.count - table), at: 24)
    bytes.set(checksum(bytes[table...]), at: 32)
    bytes.set(UInt64(bytes.count), at: 40)
    bytes.set(checksum(bytes[..<56]), at: 56)
  }

  private static func repairPlane(_ bytes: inout [UInt8], _ plane: inout Int, before end: Int) {
    guard let start = bytes.integer(UInt64.self, at: plane), let count = bytes.integer(UInt32.self, at: plane + 16) else { return }
    var chunk = Int(clamping: start)
    plane += 24
    for _ in 0..<min(64, count) {
      guard plane + 16 <= end, let stored = bytes.integer(UInt32.self, at: plane) else { return }
      guard chunk >= 0, chunk <= bytes.count, Int(stored) <= bytes.count - chunk else { return }
      bytes.set(checksum(bytes[chunk..<chunk + Int(stored)]), at: plane + 8)
      chunk = (chunk + Int(stored) + 63) / 64 * 64
      plane += 16
    }
  }
}

/// A clip cache with one entry.
enum CacheFolder {
  static let key = CacheKey.prefix(text: [1, 2], clips: [], cacheType: .float32)
  static let config: ModelConfig = {
    // Layers of one head, so that an entry is small.
    var config = try? ModelConfig(json: Repository.bytes("Tests/Golden/vanilla/config.json"))
    config?.layerCount = 1
    config?.keyValueHeadCount = 1
    config?.headDimension = 4
    guard let config else { preconditionFailure("started elsewhere than in the repository's root") }
    return config
  }()

  /// The folder, in which the entry stands under the names of all kinds.
  static func make(_ entry: [UInt8]) throws -> String {
    let folder = "\(Scratch.folder)/cache"
    try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    _ = Scratch.file("cache/\(key.name).clip", entry)
    _ = Scratch.file("cache/\(key.name)-0.frames", entry)
    return folder
  }

  /// Valid ones.
  static func entries() throws -> [[UInt8]] {
    let folder = "\(Scratch.folder)/made"
    let cache = try ClipCache(ClipCacheOptions(directory: folder))
    let values = [Float](repeating: 0.5, count: 64)
    return try values.withUnsafeBytes { bytes in
      func entry(_ info: String, _ parts: [(String, Int)]) throws -> [UInt8] {
        let parts = parts.map { ClipEntry.Part(name: $0, type: .float32, pieces: [UnsafeRawBufferPointer(rebasing: bytes[..<$1])]) }
        _ = cache.store(key, info: Array(info.utf8), parts, pool: pool)
        return try Repository.bytes("\(folder)/\(key.name).clip")
      }
      let report = #"{"decoded_frames":4,"rotation":0,"frames":[{"index":0,"seconds":0,"width":8,"height":8}],"warnings":[]}"#
      let clip = #"{"report":\#(report),"frames":4,"slowTokens":2,"fastTokens":2,"reusedFrames":0,"framesPerSecond":25}"#
      return [
        try entry(#"{"info":\#(clip),"views":["frame","other"]}"#, []),
        try entry(#"{"tokens":2,"slowTokens":0,"clips":[\#(clip)]}"#, [("own.0", 64)]),
        try entry("", [("frame", 64), ("other", 32)]),
      ]
    }
  }
}

/// Checkpoints that have a tokenizer.
enum TokenizerFolders {
  static let all = ["vanilla", "smolvlm", "onevision-hf", "llava-next-onevision"].map { "Tests/Golden/\($0)" }
}
