import Foundation
import ModelFile
import Quantization
import Safetensors

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
  func json() throws(ConversionError) -> [UInt8] { try encodeJSON(self) }
}

extension Provenance.Recipe {
  init(_ options: ConversionOptions, _ calibration: CalibrationRecord?) {
    method = options.method
    self.calibration = calibration
    target = options.target?.description
    bits = options.bits
    group = options.group
    asymmetric = options.isAsymmetric
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
  /// Reads the header and the beginnings of the tensors.
  init(_ shard: SafetensorsFile) throws(ConversionError) {
    file = URL(fileURLWithPath: shard.file.path).lastPathComponent
    bytes = shard.file.byteCount
    do throws(CheckpointError) {
      let dataStart = shard.tensors.first?.bytes.lowerBound ?? shard.file.byteCount
      var digest = checksum(try shard.file.bytes(0..<dataStart))
      for tensor in shard.tensors {
        let start = tensor.bytes.lowerBound
        let beginning = try shard.file.bytes(start..<min(tensor.bytes.upperBound, start + 4096))
        digest = checksum(beginning + withUnsafeBytes(of: digest.littleEndian) { Array($0) })
      }
      fingerprint = digest.hexadecimal()
    } catch { throw .checkpoint(error) }
  }
}

/// Sorted keys and no slashes escaped: the same value gives the same bytes.
func encodeJSON(_ value: some Encodable) throws(ConversionError) -> [UInt8] {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
  encoder.keyEncodingStrategy = .convertToSnakeCase
  do { return Array(try encoder.encode(value)) } catch { throw .notEncodable("\(error)") }
}
