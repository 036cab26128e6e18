import Foundation
import Support

/// What a model file says of how frames become pixels: its `preprocessing` section.
package struct PreprocessingRecord: Sendable, Equatable {
  package var pixels: PixelConfig
  /// Frames of a clip unless the user says otherwise.
  package var frames: Int

  /// Frames: the config's own number, else one in the checkpoint's name (`…-frame64-…`), else as many as fill the fast tokens.
  package init(config: ModelConfig, checkpointName: String) {
    pixels = config.pixels
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
    pixels = try PixelConfig(record: fields)
    frames = try fields.integer("frames", in: 1...Limits.frames)
  }

  package func json() throws(ArchitectureError) -> [UInt8] {
    struct Section: Encodable {
      var size: Int
      var mean: [Float]
      var std: [Float]
      var fit: PixelConfig.Fit?
      var resampling: PixelConfig.Resampling
      var frames: Int
    }
    let section = Section(
      size: pixels.size, mean: pixels.mean, std: pixels.std, fit: pixels.fit == .crop ? nil : pixels.fit, resampling: pixels.resampling,
      frames: frames)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    do { return Array(try encoder.encode(section)) } catch { throw .configUnreadable(file: "preprocessing", reason: "\(error)") }
  }
}
