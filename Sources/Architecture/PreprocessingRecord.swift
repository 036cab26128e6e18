import Foundation

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
    guard let match = name.firstMatch(of: #/frames?([0-9]{1,5})/#), let count = Int(match.1), (1...65536).contains(count) else {
      return nil
    }
    return count
  }

  package init(json: [UInt8]) throws(ArchitectureError) {
    do { self = try JSONDecoder().decode(Self.self, from: Data(json)) } catch {
      throw .configUnreadable(file: "preprocessing", reason: "the section is not as specified")
    }
    guard resampling == "bicubic" else {
      throw .configValue(file: "preprocessing", field: "resampling", found: resampling, expected: "bicubic")
    }
    guard mean.count == 3, std.count == 3, (mean + std).allSatisfy(\.isFinite), std.allSatisfy({ $0 > 0 }) else {
      throw .configValue(
        file: "preprocessing", field: "mean, std", found: "\(mean), \(std)", expected: "three numbers each, deviations above 0")
    }
    guard (32...4096).contains(size) else {
      throw .configValue(file: "preprocessing", field: "size", found: "\(size)", expected: "32 to 4096")
    }
    guard (1...65536).contains(frames) else {
      throw .configValue(file: "preprocessing", field: "frames", found: "\(frames)", expected: "1 to 65536")
    }
  }

  package func json() throws(ArchitectureError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    do { return Array(try encoder.encode(self)) } catch { throw .configUnreadable(file: "preprocessing", reason: "\(error)") }
  }
}
