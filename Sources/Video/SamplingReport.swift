import Support

/// One of the frames that were asked for.
package struct SampledFrame: Sendable {
  /// Which of the stream's decoded frames it is, in the order of presentation.
  package let index: Int
  /// When it is shown, from the clip's start.
  package let seconds: Double
  /// Upright, in the stream's own pixels: a sample aspect ratio other than 1:1 is not applied. Or what was asked to be made of it.
  package let image: RGBImage
  /// Upright, in pixels, before that.
  package let width: Int, height: Int
  /// What it took.
  package var preparingSeconds = 0.0

  package init(index: Int, seconds: Double, image: RGBImage) {
    self.init(index: index, seconds: seconds, image: image, width: image.width, height: image.height)
  }

  init(index: Int, seconds: Double, image: RGBImage, width: Int, height: Int) {
    (self.index, self.seconds, self.image, self.width, self.height) = (index, seconds, image, width, height)
  }
}

/// What happens to a clip's frames on their way from the decoder to the encoder, one event after the other; `Frame` is what a stage has
/// of one.
package enum FrameEvent<Frame> {
  /// So many frames follow, each as `frame` or `repeated`: those that were asked for, or fewer where a rule gives fewer.
  case begin(frames: Int)
  case frame(Frame)
  /// The frame before stands here too, so that what was computed from it serves again.
  case repeated
  /// All frames since `begin` are void: the stream proved damaged, and another `begin` follows. Rare, but then the number of frames,
  /// and so each index, is another one.
  case restart

  package func map<Other, Failure: Error>(_ transform: (Frame) throws(Failure) -> Other) throws(Failure) -> FrameEvent<Other> {
    switch self {
    case .begin(let frames): .begin(frames: frames)
    case .frame(let frame): .frame(try transform(frame))
    case .repeated: .repeated
    case .restart: .restart
    }
  }
}

extension FrameEvent: Sendable where Frame: Sendable {}

/// What was sampled, and what was noticed on the way. As JSON: `{"decoded_frames", "rotation", "frames", "warnings"}`.
public struct SamplingReport: Sendable, Codable {
  /// A frame that the model sees.
  public struct Frame: Sendable, Codable, Equatable {
    /// In the clip, from 0.
    public let index: Int
    /// From the clip's start.
    public let seconds: Double
    /// Upright, in pixels.
    public let width: Int
    /// Upright, in pixels.
    public let height: Int

    /// A frame that the model sees.
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
  /// Whether all frames were decoded once to count them, because the packets alone did not tell. Not written.
  package private(set) var isCounted = false
  /// Of the whole stream, as libav makes it out; nil where it has none, as images in a directory. Not written.
  package private(set) var framesPerSecond: Double?

  /// What was sampled, and how.
  public init(decodedFrames: Int, rotation: Int, frames: [Frame], warnings: [String]) {
    self.decodedFrames = decodedFrames
    self.rotation = rotation
    self.frames = frames
    self.warnings = warnings
  }

  /// As another process tells it.
  init(
    decodedFrames: Int, rotation: Int, frames: [Frame], warnings: [String], isCounted: Bool, framesPerSecond: Double?
  ) {
    self.init(decodedFrames: decodedFrames, rotation: rotation, frames: frames, warnings: warnings)
    (self.isCounted, self.framesPerSecond) = (isCounted, framesPerSecond)
  }

  init(_ result: AttemptResult, rotation: Int, frames: [Frame], moreWarnings: [String]) {
    self.init(decodedFrames: result.decodedFrames, rotation: rotation, frames: frames, warnings: result.warnings + moreWarnings)
    isCounted = result.isCounted
    framesPerSecond = result.framesPerSecond
  }

  private enum CodingKeys: String, CodingKey {
    case decodedFrames = "decoded_frames"
    case rotation, frames, warnings
  }
}

/// Hands the wanted frames to the caller, and keeps account of them.
final class FrameSink {
  private let onEvent: (FrameEvent<SampledFrame>) throws -> Void
  private let preparing: Preprocessing?
  private(set) var delivered: [SamplingReport.Frame] = []
  private var indices: [Int] = []

  init(preparing: Preprocessing?, onEvent: @escaping (FrameEvent<SampledFrame>) throws -> Void) {
    (self.preparing, self.onEvent) = (preparing, onEvent)
  }

  /// Begins with the frames to deliver, by position; again if an earlier beginning proved wrong.
  func begin(_ indices: [Int]) throws(VideoError) {
    if !self.indices.isEmpty {
      delivered = []
      try send(.restart)
    }
    self.indices = indices
    try send(.begin(frames: indices.count))
  }

  /// The frame that is due next; nil when all were delivered.
  var next: Int? { delivered.count < indices.count ? indices[delivered.count] : nil }

  /// Delivers the frame that is due at all its positions.
  func deliver(_ image: RGBImage, seconds: Double) throws(VideoError) {
    guard let index = next else { return }
    let start = monotonicSeconds()
    var frame = SampledFrame(
      index: index, seconds: seconds, image: preparing?.pixels(image) ?? image, width: image.width, height: image.height)
    if preparing != nil { frame.preparingSeconds = monotonicSeconds() - start }
    var event = FrameEvent.frame(frame)
    while next == index {
      delivered.append(SamplingReport.Frame(index: index, seconds: seconds, width: image.width, height: image.height))
      try send(event)
      event = .repeated
    }
  }

  private func send(_ event: FrameEvent<SampledFrame>) throws(VideoError) {
    do { try onEvent(event) } catch let error as VideoError { throw error } catch { throw .consumerFailed(error) }
  }
}
