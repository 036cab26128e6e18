/// One of the frames that were asked for.
public struct SampledFrame: Sendable {
  /// Which of the sampling's frames this is: 0 ..< `total`.
  public let position: Int
  /// How many there are: those that were asked for, or fewer where a rule gives fewer.
  public let total: Int
  /// Which of the stream's decoded frames it is, in the order of presentation.
  public let index: Int
  /// When it is shown, from the clip's start.
  public let seconds: Double
  /// Upright, in the stream's own pixels: a sample aspect ratio other than 1:1 is not applied.
  public let image: RGBImage
  /// Whether it is the same frame as at the position before, so that what was computed from that one serves here too.
  public let isRepeat: Bool
}

/// What was sampled, and what was noticed on the way. As JSON: `{"decoded_frames", "rotation", "frames", "warnings"}`.
public struct SamplingReport: Sendable, Codable {
  public struct Frame: Sendable, Codable, Equatable {
    public let index: Int
    public let seconds: Double
    /// Upright, in pixels.
    public let width: Int
    public let height: Int

    public init(index: Int, seconds: Double, width: Int, height: Int) {
      self.index = index
      self.seconds = seconds
      self.width = width
      self.height = height
    }
  }

  /// Frames of the whole stream that decode, whatever its header says.
  public let decodedFrames: Int
  /// Degrees, as libav reads the stream's display matrix: the angle, counterclockwise, by which a frame is turned to be upright.
  public let rotation: Int
  /// One for each sampled frame, in order.
  public let frames: [Frame]
  /// Damage, and what could not be honoured; each a sentence.
  public let warnings: [String]

  public init(decodedFrames: Int, rotation: Int, frames: [Frame], warnings: [String]) {
    self.decodedFrames = decodedFrames
    self.rotation = rotation
    self.frames = frames
    self.warnings = warnings
  }

  private enum CodingKeys: String, CodingKey {
    case decodedFrames = "decoded_frames"
    case rotation, frames, warnings
  }
}

/// How far sampling is.
public enum SamplingProgress: Sendable, Equatable {
  /// The container's packets are read without being decoded; the part of the file that is behind.
  case scanning(Double)
  /// All frames are decoded once to count them, because the packets alone do not tell; frames so far.
  case counting(Int)
  /// Frames delivered, of those asked for.
  case sampling(Int, of: Int)
}
