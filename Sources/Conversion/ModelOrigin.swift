import Foundation
import Safetensors

/// Which checkpoint's weights a model has: the checkpoint's own, or what a model file's provenance tells.
package struct ModelOrigin: Sendable {
  /// The checkpoint's name.
  package var source: String
  /// Of its safetensors files, sorted: equal where they hold the same weights in the same files.
  package var fingerprints: [String]
  /// How a model file was made, in words.
  package var recipe: String?

  package init(_ checkpoint: Checkpoint) throws(ConversionError) {
    source = checkpoint.name
    fingerprints = []
    for shard in checkpoint.shards { fingerprints.append(try Provenance.Shard(shard).fingerprint) }
    fingerprints.sort()
  }

  /// nil for a provenance that does not tell.
  package init?(provenance: [UInt8]) {
    guard let record = try? JSONDecoder().decode(Record.self, from: Data(provenance)) else { return nil }
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
        return (parts + (keep ?? [])).joined(separator: ", ")
      }
    }
    var source: String
    var shards: [Shard]
    var recipe: Recipe?
  }
}
