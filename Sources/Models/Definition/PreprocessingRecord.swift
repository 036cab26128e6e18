import Foundation
import Support

/// What a model file says of how frames become pixels: its `preprocessing` section.
package struct PreprocessingRecord: Sendable, Codable, Equatable {
  /// Side of the tower's square input.
  package var size: Int
  package var mean: [Float]
  package var std: [Float]
  /// The resampling filter; only `bicubic` is known.
  package var resampling: String
  /// Frames of a clip unless the user says otherwise.
  package var frames: Int

  /// CLIP's normalisation, as all published checkpoints have it. Frames: the config's own number, else one in the checkpoint's name
  /// (`…-frame64-…`), else as many as fill the fast tokens.
  package init(config: ModelConfig, checkpointName: String) {
    size = config.imageSize
    mean = [0.48145466, 0.4578275, 0.40821073]
    std = [0.26862954, 0.26130258, 0.27577711]
    resampling = "bicubic"
    frames = config.frameCount ?? Self.frames(inName: checkpointName) ?? config.defaultFrameCount
  }

  /// `slowfast-…-576-frame64-s1t4` → 64.
  private static func frames(inName name: String) -> Int? {
    guard let match = name.firstMatch(of: #/frames?([0-9]{1,5})/#), let count = Int(match.1), (1...Limits.frames).contains(count) else {
      return nil
    }
    return count
  }

  package init(json: [UInt8]) throws(ArchitectureError) {
    let fields = try ConfigFields(json: json, file: "preprocessing")
    size = try fields.integer("size", in: 32...4096)
    mean = try fields.numbers("mean").map(Float.init)
    std = try fields.numbers("std").map(Float.init)
    resampling = try fields.string("resampling")
    frames = try fields.integer("frames", in: 1...Limits.frames)
    guard resampling == "bicubic" else {
      throw .configValue(file: "preprocessing", field: "resampling", found: resampling, expected: "bicubic")
    }
    guard mean.count == 3, std.count == 3, (mean + std).allSatisfy(\.isFinite), std.allSatisfy({ $0 > 0 }) else {
      throw .configValue(
        file: "preprocessing", field: "mean, std", found: "\(mean), \(std)", expected: "three numbers each, deviations above 0")
    }
  }

  package func json() throws(ArchitectureError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    do { return Array(try encoder.encode(self)) } catch { throw .configUnreadable(file: "preprocessing", reason: "\(error)") }
  }
}
