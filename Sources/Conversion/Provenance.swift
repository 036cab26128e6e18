import Foundation
import ModelFile
import Models
import Quantization
import Runtime
import Safetensors
import Support
import Synchronization
import Tokenizer

/// What a model file holds beside its tensors.
struct Sections {
  /// Names and contents, in the order in which they are written.
  private(set) var entries: [(name: String, bytes: [UInt8])] = []

  var lengths: [(name: String, byteCount: Int)] { entries.map { ($0.name, $0.bytes.count) } }

  /// All but the provenance, which depends on the plan.
  init(_ checkpoint: Checkpoint, _ config: ModelConfig, tokenizer: [UInt8], slowAttention: SlowAttention?) throws(SlowFastError) {
    entries.append(("config.json", checkpoint.config))
    if let generation = checkpoint.generationConfig { entries.append(("generation_config.json", generation)) }
    entries.append(("tokenizer", tokenizer))
    entries += try classified { () throws(ArchitectureError) in
      var records = [("preprocessing", try PreprocessingRecord(config: config, checkpointName: checkpoint.name).json())]
      if let vision = config.vision { records.append(("vision", try vision.json(config.pixels))) }
      let generation = try checkpoint.generationConfig.map { json throws(ArchitectureError) in try GenerationConfig(json: json) }
      let record = GenerationRecord(
        generation, slowAttention: slowAttention ?? config.slowAttention, isGreedy: config.answersGreedily)
      return records + [("generation", try record.json())]
    }
  }

  mutating func add(_ provenance: Provenance) throws(SlowFastError) { entries.append(("provenance", try provenance.json())) }
}

/// What conversions of a checkpoint take of its small files and of its weights' beginnings, whatever their options: read once, when it is
/// first asked for.
final class CheckpointContents: Sendable {
  private let checkpoint: Checkpoint
  private let contents = Mutex<Read?>(nil)

  /// `tokenizer`: as a model file holds it.
  typealias Read = (config: ModelConfig, tokenizer: [UInt8], shards: [Provenance.Shard])

  init(_ checkpoint: Checkpoint) { self.checkpoint = checkpoint }

  func read() throws(SlowFastError) -> Read {
    try contents.withLock { contents throws(SlowFastError) in
      if let contents { return contents }
      let config = try classified { () throws(ArchitectureError) in try ModelConfig(checkpoint.configFiles) }
      let tokenizer = try classified { () throws(TokenizerError) in
        let tokenizer = try Tokenizer(checkpoint: checkpoint.directory)
        try tokenizer.checkFits(rows: config.vocabularySize, config.promptTemplate, checkpoint.directory)
        return tokenizer.serialized()
      }
      var shards: [Provenance.Shard] = []
      for shard in checkpoint.shards { shards.append(try Provenance.Shard(shard, of: checkpoint)) }
      contents = (config, tokenizer, shards)
      return (config, tokenizer, shards)
    }
  }
}

/// How a model file was made: its `provenance` section. The same checkpoint and options give the same bytes.
struct Provenance: Codable {
  struct Shard: Codable {
    var file: String
    var bytes: Int
    /// XXH3-64 of the header and of the first 4096 bytes of each tensor, in hexadecimal: tells checkpoints apart without reading all.
    var fingerprint: String
  }

  struct Recipe: Codable {
    var method: QuantizationMethod
    var bits: Int
    var group: Int?
    var asymmetric: Bool
    /// `uneven`; nil where they are even.
    var levels: String?
    /// `PATTERN=BITS`
    var keep: [String]
    var compression: String
    var allowNonfinite: Bool
    /// What bits and groups were chosen for; nil where the options alone say them.
    var target: String?
    /// nil where the model was not run.
    var calibration: CalibrationRecord?
  }

  struct Part: Codable {
    var name: String
    var weights: Int
    var bytes: Int
    var bitsPerWeight: Double
  }

  /// Name and version.
  var program: String
  /// The last component of the checkpoint's path.
  var source: String
  var shards: [Shard]
  var recipe: Recipe
  var parts: [Part]

  init(_ checkpoint: Checkpoint, _ plan: ConversionPlan, _ options: ConversionOptions, _ calibration: CalibrationRecord?, shards: [Shard]) {
    program = options.program
    source = checkpoint.name
    self.shards = shards
    recipe = Recipe(options, calibration)
    parts = plan.parts.map {
      // Rounded, so that the text does not depend on the last bit.
      Part(name: $0.name, weights: $0.weightCount, bytes: $0.byteCount, bitsPerWeight: ($0.bitsPerWeight * 1000).rounded() / 1000)
    }
  }

  /// The section's contents.
  func json() throws(SlowFastError) -> [UInt8] { try encodeJSON(self) }
}

extension Provenance.Recipe {
  init(_ options: ConversionOptions, _ calibration: CalibrationRecord?) {
    method = options.method
    self.calibration = calibration
    target = options.target?.description
    bits = options.bits
    group = options.group
    asymmetric = options.isAsymmetric
    levels = options.isUneven ? "uneven" : nil
    keep = options.keep.map { "\($0.pattern)=\($0.bits)" }
    compression =
      switch options.compression {
      case .none: "none"
      case .zstd(let level, let codes): "zstd \(level)\(codes ? "" : ", raw codes")"
      }
    allowNonfinite = options.allowsNonfinite
  }
}

extension Provenance.Shard {
  /// Reads the header and the beginnings of the tensors. A file of another directory than the checkpoint's, as a tower's may be, is named
  /// with it.
  init(_ shard: SafetensorsFile, of checkpoint: Checkpoint) throws(SlowFastError) {
    let url = URL(fileURLWithPath: shard.file.path).standardizedFileURL
    let folder = url.deletingLastPathComponent()
    let isOwn = folder.path == URL(fileURLWithPath: checkpoint.directory).standardizedFileURL.path
    file = isOwn ? url.lastPathComponent : "\(folder.lastPathComponent)/\(url.lastPathComponent)"
    bytes = shard.file.byteCount
    fingerprint = try classified { () throws(CheckpointError) in
      let dataStart = shard.tensors.first?.bytes.lowerBound ?? shard.file.byteCount
      var digest = checksum(try shard.file.bytes(0..<dataStart))
      for tensor in shard.tensors {
        let start = tensor.bytes.lowerBound
        let beginning = try shard.file.bytes(start..<min(tensor.bytes.upperBound, start + 4096))
        digest = checksum(beginning + withUnsafeBytes(of: digest.littleEndian) { Array($0) })
      }
      return digest.hexadecimal()
    }
  }
}

/// Sorted keys and no slashes escaped: the same value gives the same bytes.
func encodeJSON(_ value: some Encodable) throws(SlowFastError) -> [UInt8] {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
  encoder.keyEncodingStrategy = .convertToSnakeCase
  do { return Array(try encoder.encode(value)) } catch { throw .conversion(.notEncodable("\(error)")) }
}

/// Which checkpoint's weights a model has: the checkpoint's own, or what a model file's provenance tells.
package struct ModelOrigin: Sendable {
  /// The checkpoint's name.
  package var source: String
  /// Of its safetensors files, sorted: equal where they hold the same weights in the same files.
  package var fingerprints: [String]
  /// How a model file was made, in words.
  package var recipe: String?

  package init(_ checkpoint: Checkpoint) throws(SlowFastError) {
    source = checkpoint.name
    fingerprints = []
    for shard in checkpoint.shards { fingerprints.append(try Provenance.Shard(shard, of: checkpoint).fingerprint) }
    fingerprints.sort()
  }

  /// nil for a provenance that does not tell.
  package init?(provenance: [UInt8]) {
    guard let record = try? JSONReader.decode(Record.self, provenance) else { return nil }
    source = record.source
    fingerprints = record.shards.map(\.fingerprint).sorted()
    recipe = record.recipe?.words
  }

  /// Of a provenance, what any version of it has.
  private struct Record: Decodable {
    struct Shard: Decodable { var fingerprint: String }
    struct Recipe: Decodable {
      var method: String?
      var bits: Int?
      var group: Int?
      var asymmetric: Bool?
      var levels: String?
      var keep: [String]?
      var target: String?
      var calibration: Calibration?
      struct Calibration: Decodable {}

      var words: String {
        var parts = [bits.map { "\($0) bits" }, method].compactMap { $0 }
        if calibration != nil { parts.append("calibrated") }
        if let target { parts.append("target \(target)") }
        if let group { parts.append("group \(group)") }
        if asymmetric == true { parts.append("asymmetric") }
        if let levels { parts.append("\(levels) levels") }
        return (parts + (keep ?? [])).joined(separator: ", ")
      }
    }
    var source: String
    var shards: [Shard]
    var recipe: Recipe?
  }
}
