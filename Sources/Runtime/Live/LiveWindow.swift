import Support
import Video

/// The newest frames of a source that goes on, all of which the tower has seen.
public struct LiveWindow: Sendable {
  /// A frame as the model sees it.
  public struct Frame: Sendable {
    /// Of the tower's size.
    public let image: RGBImage
    /// Seconds since 1970, when it came.
    public let time: Double
    /// On the source's clock.
    let seconds: Double
    /// On this machine's clock that only goes forward, when it came.
    let arrival: Double
    /// As it came, in pixels.
    let (width, height): (Int, Int)
    /// Counts the frames of a source, from 1.
    let number: Int
  }

  /// In the order in which they came, one at least.
  public let frames: [Frame]

  init(frames: some Sequence<Frame>) { self.frames = Array(frames) }

  /// Seconds since its newest frame came.
  public var age: Double { monotonicSeconds() - newestArrival }
  /// Seconds since 1970, when its newest frame came.
  public var time: Double { frames.last?.time ?? 0 }
  /// Counts the frames of the source that were taken up to its newest.
  public var number: Int { frames.last?.number ?? 0 }
  /// Seconds between two of its frames, in the mean; nil of one.
  public var interval: Double? {
    frames.count > 1 ? (newestArrival - frames[0].arrival) / Double(frames.count - 1) : nil
  }

  /// Its newest frames, at most so many.
  public func suffix(_ count: Int) -> LiveWindow { LiveWindow(frames: frames.suffix(max(1, count))) }

  var newestArrival: Double { frames.last?.arrival ?? 0 }

  /// Seconds from its first frame, of each. Where a connection ended between two, the next begins a frame's time later.
  package var report: SamplingReport {
    var (seconds, last) = (0.0, frames.first?.seconds ?? 0)
    let reports = frames.enumerated().map { index, frame in
      let step = frame.seconds - last
      // Clocks of two connections have nothing to do with each other.
      seconds += step >= 0 && step < 3600 ? step : 1
      last = frame.seconds
      return SamplingReport.Frame(index: index, seconds: seconds, width: frame.width, height: frame.height)
    }
    return SamplingReport(decodedFrames: frames.count, rotation: 0, frames: reports, warnings: [])
  }
}

/// The frames of a source that are waiting for the tower, and the newest ones that it has seen. The newest goes first: where the tower is
/// busy, what is asked about is fresh all the same, and what waits fills the gaps when there is time.
struct LiveFrames {
  /// Frames of a window.
  private let window: Int
  private var waiting: [LiveWindow.Frame] = []
  private var seen: [LiveWindow.Frame] = []
  /// Frames that came, and those that no tower saw.
  private(set) var (taken, dropped) = (0, 0)
  /// Counts how often the newest ones became others.
  private(set) var changes = 0

  /// Frames that wait at most: what a tower may catch up with.
  static let room = 16

  init(window: Int) { self.window = window }

  mutating func nextNumber() -> Int {
    taken += 1
    return taken
  }

  mutating func add(_ frame: LiveWindow.Frame) {
    waiting.append(frame)
    guard waiting.count > Self.room else { return }
    waiting.removeFirst()
    dropped += 1
  }

  /// The newest that waits.
  mutating func next() -> LiveWindow.Frame? {
    guard let frame = waiting.popLast() else { return nil }
    // What would stand before the window's first frame is of no use any more.
    if seen.count == window, let first = seen.first { drop { $0.number < first.number } }
    return frame
  }

  private mutating func drop(where isUseless: (LiveWindow.Frame) -> Bool) {
    let before = waiting.count
    waiting.removeAll(where: isUseless)
    dropped += before - waiting.count
  }

  /// One that went through the tower.
  mutating func insert(_ frame: LiveWindow.Frame) {
    changes += 1
    let place = seen.lastIndex { $0.number < frame.number }.map { $0 + 1 } ?? 0
    seen.insert(frame, at: place)
    if seen.count > window { seen.removeFirst() }
  }

  /// nil until the tower has seen a frame.
  var newest: LiveWindow? { seen.isEmpty ? nil : LiveWindow(frames: seen) }
}
