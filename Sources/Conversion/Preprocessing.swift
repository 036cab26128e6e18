import Architecture
import Diagnostics
import Foundation

/// How frames become the tower's input: the `preprocessing` section of a model file.
public struct Preprocessing: Codable, Sendable, Equatable {
  /// Side in pixels of the square that the tower sees: the shorter side of a frame is resized to it, then the centre is cut out.
  public var imageSize: Int
  /// Subtracted from red, green and blue in 0 ... 1.
  public var mean: [Double]
  /// What the differences are divided by.
  public var standardDeviation: [Double]
  /// Always this: Pillow's bicubic filter, antialiased, on bytes.
  public var resampling: String
  /// Frames of a clip, unless the user says otherwise.
  public var frames: Int

  enum CodingKeys: String, CodingKey {
    case imageSize = "image_size"
    case mean
    case standardDeviation = "standard_deviation"
    case resampling, frames
  }

  /// Of a model with this config, whose checkpoint has this name. Frames: what the config says, else the number after `frame` in the
  /// name (`…-frame64-s1t4`), else as many as fill the fast tokens.
  public init(config: ModelConfig, checkpointName: String) {
    imageSize = config.imageSize
    // Of CLIP, which the towers were trained with.
    mean = [0.48145466, 0.4578275, 0.40821073]
    standardDeviation = [0.26862954, 0.26130258, 0.27577711]
    resampling = "bicubic"
    frames = config.frameCount ?? Self.frames(named: checkpointName) ?? config.defaultFrameCount
  }

  /// The section's contents.
  public init(json: [UInt8]) throws(PreprocessingError) {
    do { self = try JSONDecoder().decode(Preprocessing.self, from: Data(json)) } catch { throw .unreadable }
    guard (1...Self.frameLimit).contains(frames) else { throw .frames(frames) }
    guard resampling == "bicubic" else { throw .resampling(resampling) }
    guard mean.count == 3, standardDeviation.count == 3, (mean + standardDeviation).allSatisfy(\.isFinite),
      !standardDeviation.contains(0)
    else { throw .colours }
  }

  private static let frameLimit = 65536

  /// The number after the last `frame` that a number follows.
  static func frames(named name: String) -> Int? {
    let matches = name.lowercased().matches(of: /frame([0-9]{1,5})/)
    guard let digits = matches.last?.output.1, let frames = Int(digits), (1...frameLimit).contains(frames) else { return nil }
    return frames
  }
}

/// How a `preprocessing` section can be wrong.
public enum PreprocessingError: Error, Equatable, CustomStringConvertible {
  case unreadable
  case frames(Int)
  case resampling(String)
  case colours

  public var description: String {
    switch self {
    case .unreadable: "preprocessing: expected a JSON object with image_size, mean, standard_deviation, resampling and frames"
    case .frames(let count): "preprocessing: \(count) frames, expected 1 to 65536"
    case .resampling(let name): "preprocessing: resampling \(name.quoted), expected \"bicubic\""
    case .colours: "preprocessing: mean and standard_deviation: expected three numbers each, the latter not 0"
    }
  }
}
