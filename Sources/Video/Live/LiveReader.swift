import CLibAV
import Support

/// A frame of a live source.
package struct LiveFrame: Sendable {
  /// Upright, in the stream's own pixels.
  package var image: RGBImage
  /// On the source's clock, which begins anew with each connection.
  package var seconds: Double
  /// When it came, on this machine's clock that only goes forward.
  package var arrival: Double

  package init(image: RGBImage, seconds: Double, arrival: Double) {
    (self.image, self.seconds, self.arrival) = (image, seconds, arrival)
  }
}

/// Reads a live source for as long as it goes on: one frame every so many seconds.
package struct LiveReader: Sendable {
  package var source: LiveSource
  /// Seconds between the frames that are taken, on the source's clock.
  package var every: Double
  /// Without a packet for so long a connection counts as dead. A file is waited for.
  package var patience = 10.0
  /// For decoding.
  package var threads: Int?

  package init(_ source: LiveSource, every: Double) { (self.source, self.every) = (source, every) }

  /// One connection: returns when the source ends it, throws when it breaks off. `onOpen` is told when it shows something.
  package func run(
    isStopped: @escaping () -> Bool, onOpen: () -> Void, onFrame: (LiveFrame) -> Void
  ) throws(VideoError) {
    let file = source.kind == .file ? source.address : nil
    let watchdog = Watchdog(patience: file == nil ? patience : .infinity, file: file, isStopped: isStopped)
    do throws(VideoError) { try read(watchdog, onOpen, onFrame) } catch {
      if case .cancelled = error, !isStopped() {
        if watchdog.hasLostFile {
          throw .unreadable(path: source.shown, reason: "it was removed, or another file has its name")
        }
        throw .unreadable(path: source.shown, reason: "nothing came for \(Int(patience)) seconds")
      }
      throw error
    }
  }

  private func read(_ watchdog: Watchdog, _ onOpen: () -> Void, _ onFrame: (LiveFrame) -> Void) throws(VideoError) {
    let container = try Container(source, cancelled: { watchdog.ends })
    watchdog.feed()
    // Parts of a frame at a time, so that none is held back.
    let reader = try FrameReader(container, stream: nil, limits: DecoderLimits(threads: threads), threading: .slices)
    let converter = FrameConverter(path: source.shown)
    var keys = KeyFrames(every: every)
    var clock = FrameClock(every: every)
    // Pictures one after the other, as cameras send JPEGs: libav makes up 25 a second, however many come.
    let hasClock = source.kind == .file || !container.inventsTimes
    reader.onPacket = { packet in
      watchdog.feed()
      keys.note(isKey: packet.isKey, seconds: hasClock ? reader.stream.timeOf(packet.pts) : monotonicSeconds())
      reader.takesKeysOnly = keys.areEnough
    }
    defer { reader.onPacket = { _ in } }
    var isFirst = true
    while try AttemptFailure.unwrapped({ () throws(AttemptFailure) in try reader.next() }) {
      let arrival = monotonicSeconds()
      let seconds = hasClock ? reader.stream.timeOf(reader.frame.time) ?? arrival : arrival
      if isFirst { onOpen() }
      isFirst = false
      // What is made up of parts that were lost is nothing to answer from.
      guard !reader.frame.isCorrupt, clock.takes(seconds) else { continue }
      let image = reader.stream.orientation.upright(try converter.image(reader.frame))
      onFrame(LiveFrame(image: image, seconds: seconds, arrival: arrival))
    }
  }
}

/// Ends a wait that takes too long, or is for a file that nobody can write to any more.
private final class Watchdog {
  private let patience: Double
  private let isStopped: () -> Bool
  private var last = monotonicSeconds()
  private let file: (path: String, status: FileStatus)?
  private var lastLook = monotonicSeconds()
  /// The name is another file's, or none's.
  private(set) var hasLostFile = false

  init(patience: Double, file: String?, isStopped: @escaping () -> Bool) {
    (self.patience, self.isStopped) = (patience, isStopped)
    self.file = file.flatMap { path in FileStatus(path: path).map { (path, $0) } }
  }

  func feed() { last = monotonicSeconds() }

  var ends: Bool { isStopped() || monotonicSeconds() - last > patience || losesFile() }

  private func losesFile() -> Bool {
    guard let file, !hasLostFile, monotonicSeconds() - lastLook > 1 else { return hasLostFile }
    lastLook = monotonicSeconds()
    hasLostFile = FileStatus(path: file.path).map { !$0.isSameFile(as: file.status) } ?? true
    return hasLostFile
  }
}

/// Which frames are taken: the first, then those at or after each multiple of an interval. A clock that goes back begins anew.
package struct FrameClock {
  private let every: Double
  private var due = -Double.infinity
  private var last = -Double.infinity

  package init(every: Double) { self.every = every }

  package mutating func takes(_ seconds: Double) -> Bool {
    if seconds < last { due = seconds }
    last = seconds
    // Times are fractions that were rounded.
    guard seconds >= due - 1e-4 else { return false }
    due += every
    // A first frame, or one after a gap.
    if !(due > seconds) { due = seconds + every }
    return true
  }
}

/// Whether a stream sends key frames so often that no others need be decoded.
package struct KeyFrames {
  private let every: Double
  private var last: Double?
  /// Seconds between key frames, of the newest few.
  private var intervals: [Double] = []

  package init(every: Double) { self.every = every }

  package mutating func note(isKey: Bool, seconds: Double?) {
    guard let seconds else { return }
    guard let last, seconds >= last else {
      // A first one, or a clock that began anew.
      intervals = []
      if isKey { self.last = seconds }
      return
    }
    guard isKey else {
      if seconds - last > every { intervals = [] }
      return
    }
    intervals = (intervals + [seconds - last]).suffix(3)
    self.last = seconds
  }

  /// Three in a row, none further from the one before than frames are taken.
  package var areEnough: Bool { intervals.count == 3 && intervals.allSatisfy { $0 <= every } }
}

extension VideoStream {
  /// Seconds on the stream's own clock; nil without one.
  fileprivate func timeOf(_ timestamp: Int64) -> Double? { timestamp == lav_no_timestamp ? nil : seconds(timestamp, index: 0) }
}
