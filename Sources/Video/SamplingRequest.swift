/// Which frames of a clip are asked for.
public struct SamplingRequest: Sendable {
  /// More frames than any model takes, and few enough for their positions to be listed.
  public static let frameLimit = 100_000

  /// How many frames, evenly spread over the range, its first and last frame included.
  public var frames: Int
  /// Seconds from the clip's start: frames shown earlier are left out.
  public var start: Double?
  /// Seconds from the clip's start: frames shown then or later are left out.
  public var end: Double?
  /// The container's stream to decode; nil takes the one that libav holds to be the best.
  public var stream: Int?

  public init(frames: Int, start: Double? = nil, end: Double? = nil, stream: Int? = nil) {
    self.frames = frames
    self.start = start
    self.end = end
    self.stream = stream
  }

  func check() throws(VideoError) {
    guard (1...SamplingRequest.frameLimit).contains(frames) else {
      throw .invalidFrameCount(frames, limit: SamplingRequest.frameLimit)
    }
    guard start.map({ $0.isFinite && $0 >= 0 }) ?? true, end.map({ $0.isFinite && $0 > start ?? 0 }) ?? true else {
      throw .invalidRange(start: start, end: end)
    }
  }

  func contains(_ seconds: Double) -> Bool {
    start.map { seconds >= $0 } ?? true && end.map { seconds < $0 } ?? true
  }

  /// For each of the `frames` positions, which of `count` frames stands there: `int(linspace(0, count − 1, frames))` as NumPy computes
  /// it, in doubles, truncated. Never descending; indices repeat when `count` is smaller. `count` is at least 1.
  public func indices(of count: Int) -> [Int] {
    guard frames > 1 else { return [0] }
    let last = Double(count - 1)
    let step = last / Double(frames - 1)
    var indices = (0..<frames).map { Int(Double($0) * step) }
    indices[frames - 1] = count - 1
    return indices
  }
}
