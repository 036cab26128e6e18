import Foundation
import Models
import Parallel
import Support
import Video

/// How a source that goes on is watched.
public struct LiveOptions: Sendable {
  /// Seconds between two frames.
  public var every = 2.0
  /// Frames that a question is about, at most; nil: the model's own number.
  public var window: Int?
  /// Reads the prompt up to the newest frames when nothing else is to be done, so that a question is answered at once.
  public var readsAhead = true

  /// What `every` may be, in seconds.
  public static let intervals = 0.01...3600

  /// A frame every two seconds, as many as the model sees of a clip.
  public init() {}

  package func validate() throws(SlowFastError) {
    guard Self.intervals.contains(every) else {
      throw .badOption("every", found: "\(every)", expected: "\(Self.intervals.lowerBound) to 3600 seconds")
    }
    if let window, !(1...Limits.frames).contains(window) {
      throw .badOption("window", found: "\(window)", expected: "1 to \(Limits.frames) frames")
    }
  }
}

/// How a source is doing.
public struct LiveStatus: Sendable {
  /// Whether frames come.
  public enum State: String, Sendable {
    /// It was opened, and has shown nothing yet.
    case connecting
    /// Frames come.
    case live
    /// It broke off, ended or is not there; it is tried again.
    case waiting
  }
  /// Whether frames come.
  public var state = State.connecting
  /// Why it is waited for: one line.
  public var problem: String?
  /// Times that it showed something after it was opened.
  public var connections = 0
  /// Frames that were taken, and of those the ones that no tower saw since it was busy.
  public var frames = 0
  /// Frames that were left out since the tower was busy.
  public var dropped = 0
  /// Of its newest frame that the tower has seen, in seconds; nil without one.
  public var age: Double?
}

/// Watches a source: connects again and again, takes a frame every so many seconds and sends it through the tower. Memory is the window's
/// frames and what the runner keeps of them, however long it goes on. Ends with `stop`, or when nobody has it any more.
public final class LiveWatch: Sendable {
  /// What is watched.
  public let source: LiveSource
  private let core: LiveCore
  private let context: RunContext
  private let need: LiveNeed

  init(_ context: RunContext, _ source: LiveSource, _ options: LiveOptions) throws(SlowFastError) {
    try options.validate()
    if source.isFile, let reason = FileKind(path: source.address).insteadOfVideo(source.address) {
      throw .notAClip(path: source.address, reason: reason)
    }
    self.source = source
    let preprocessing = try Preprocessing(context.model.config.pixels)
    core = LiveCore(context, source, options, preprocessing: preprocessing)
    // One that could never be asked about is told now.
    try context.checkPrompt("", about: [SampledClip(.live(core.emptyWindow), context.model.defaultSampling)])
    need = LiveNeed(context, window: core.windowSize, pixels: 3 * preprocessing.size * preprocessing.size, core.emptyWindow)
    let room = (MemoryPlan.availableBytes() ?? .max) / 2
    guard need.bytes <= room else {
      let most = need.frames(within: room)
      throw .badOption(
        "window", found: "\(core.windowSize)",
        expected: "at most \(most) frames: so many take \(formatBytes(need.bytes)), half of what is free is \(formatBytes(room))")
    }
    self.context = context
    // From here on `deinit` takes it back.
    context.liveStore.changeLimit(by: need.storeBytes)
    context.liveFrames?.changeLimit(by: need.diskBytes)
    guard core.begin() else {
      core.stop()
      throw SlowFastError(.invalidOption, "\(source.shown): the system gives no thread to watch it")
    }
  }

  deinit {
    core.stop()
    context.liveStore.changeLimit(by: -need.storeBytes)
    context.liveFrames?.changeLimit(by: -need.diskBytes)
  }

  /// Nothing is read from now on. Windows that were given out stay good.
  public func stop() { core.stop() }

  /// Frames of a window that is complete.
  public var windowSize: Int { core.windowSize }

  /// How the source is doing.
  public var status: LiveStatus { core.status }

  /// The newest frames, to be asked about: those of which the prompt was read ahead, unless newer ones are newer by twice the time that
  /// reading takes. nil until there is one.
  public var window: LiveWindow? { core.window }

  /// Windows as they come, each with a newer frame than the one before; who is busy misses those in between. Ends with the watch.
  public func windows() -> AsyncStream<LiveWindow> { core.windows() }
}

extension ModelRunner {
  /// Watches a source that goes on. Throws where questions about so many frames cannot be asked.
  public func watch(_ source: LiveSource, options: LiveOptions = LiveOptions()) throws(SlowFastError) -> LiveWatch {
    try LiveWatch(context, source, options)
  }
}

/// What is kept of a source: the frames of a window and those on their way, and prompts up to them.
private struct LiveNeed {
  /// Of one frame: what the tower makes of it, and its pixels.
  private let (features, pixels): (Int, Int)
  private let prompts: Int
  private let frames: Int
  private let isOnDisk: Bool

  init(_ context: RunContext, window: Int, pixels: Int, _ empty: LiveWindow) {
    let layout = context.config.layout(.clip(frames: window), towerSide: context.model.source.schema.tower.outputSide)
    let bits = layout.slowCount > 0 ? context.cacheType.bits : 32
    features = layout.rowsOfView * context.config.hiddenSize * bits / 8
    self.pixels = pixels
    isOnDisk = context.liveFrames != nil
    frames = window + LiveFrames.room
    let plan = context.plan([.live(empty)], sampling: context.model.defaultSampling, question: "", maximumTokens: 1)
    // The one that is there, the one that is read, and one of somebody who asked about frames before.
    prompts = 3 * (plan.cacheBytes + plan.slowCacheBytes)
  }

  /// Of a frame in memory.
  private var frameBytes: Int { pixels + (isOnDisk ? 0 : features) }

  /// In memory.
  var bytes: Int { frameBytes * frames + prompts + (1 << 20) }

  /// Of these, what is kept by content.
  var storeBytes: Int { bytes - pixels * frames }

  /// On a disk.
  var diskBytes: Int { isOnDisk ? (features + ClipCache.fileBytes(parts: 1)) * frames : 0 }

  /// Frames of a window that has room, if prompts take no less.
  func frames(within room: Int) -> Int { max(0, (room - prompts) / frameBytes - LiveFrames.room) }
}

/// What the threads of a watch share: one reads the source, one brings frames through the tower, one reads prompts ahead.
private final class LiveCore: @unchecked Sendable {
  private let context: RunContext
  private let reader: LiveReader
  private let readsAhead: Bool
  private let preprocessing: Preprocessing
  let windowSize: Int
  private let monitor = Monitor()
  // All under it.
  private var frames: LiveFrames
  private var known = LiveStatus()
  private var isStopped = false
  /// The problem that is told is the tower's, and is over when it has seen a frame.
  private var hasTowerFailed = false
  /// What a frame takes in the tower, in seconds; nil before the second.
  private var towerSeconds: Double?
  /// The newest that was read ahead, and the seconds that took.
  private var readAhead: (window: LiveWindow, seconds: Double)?
  private var listeners: [Int: AsyncStream<LiveWindow>.Continuation] = [:]
  private var nextListener = 0

  init(_ context: RunContext, _ source: LiveSource, _ options: LiveOptions, preprocessing: Preprocessing) {
    (self.context, self.preprocessing, readsAhead) = (context, preprocessing, options.readsAhead)
    windowSize = options.window ?? context.model.defaultFrameCount
    frames = LiveFrames(window: windowSize)
    reader = LiveReader(source, every: options.every)
  }

  /// As many frames as a whole one, without pictures.
  var emptyWindow: LiveWindow {
    let image = RGBImage(checkedWidth: 0, height: 0, pixels: [])
    let frame = LiveWindow.Frame(image: image, time: 0, seconds: 0, arrival: 0, width: 0, height: 0, number: 0)
    return LiveWindow(frames: Array(repeating: frame, count: windowSize))
  }

  func begin() -> Bool {
    detachThread { self.read() } && detachThread { self.encode() } && (!readsAhead || detachThread { self.readPrompts() })
  }

  func stop() {
    let ended = monitor.withLock {
      isStopped = true
      defer { listeners = [:] }
      monitor.wakeAll()
      return listeners
    }
    // Their ends take the lock as well.
    for listener in ended.values { listener.finish() }
  }

  /// After which a file that does not grow is told of.
  private static let quietSeconds = 30.0

  private var hasStopped: Bool { monitor.withLock { isStopped } }

  var status: LiveStatus {
    monitor.withLock {
      var status = known
      (status.frames, status.dropped, status.age) = (frames.taken, frames.dropped, frames.newest?.age)
      // It may go on at any time, or never.
      if status.problem == nil, status.state == .live, reader.source.isFile, status.age ?? 0 > Self.quietSeconds + reader.every {
        status.problem = "nothing was added to it for \(Int(Self.quietSeconds)) seconds"
      }
      return status
    }
  }

  var window: LiveWindow? {
    monitor.withLock {
      guard let newest = frames.newest, let ahead = readAhead, ahead.window.frames.count == newest.frames.count else {
        return frames.newest
      }
      // While the prompt about newer frames is read, these grow as old; an answer at once is worth as much again.
      return newest.newestArrival - ahead.window.newestArrival <= 2 * ahead.seconds ? ahead.window : newest
    }
  }

  func windows() -> AsyncStream<LiveWindow> {
    AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
      let id: Int? = monitor.withLock {
        if isStopped { return nil }
        nextListener += 1
        listeners[nextListener] = continuation
        if let newest = frames.newest { continuation.yield(newest) }
        return nextListener
      }
      guard let id else { return continuation.finish() }
      continuation.onTermination = { [weak self] _ in self?.monitor.withLock { _ = self?.listeners.removeValue(forKey: id) } }
    }
  }

  // MARK: Reading

  /// Connects, reads, and after each end waits longer before it tries again, half a minute at most; a second where it listens.
  private func read() {
    var pause = 1.0
    while !hasStopped {
      var problem = "it ended"
      let start = monotonicSeconds()
      do throws(VideoError) {
        try reader.run(
          isStopped: { self.hasStopped },
          onOpen: {
            pause = 1
            monitor.withLock {
              known.state = .live
              known.problem = nil
              known.connections += 1
            }
          }, onFrame: take)
      } catch {
        // Whoever asks knows what is watched, and not everybody may know where it comes from.
        let name = reader.source.shown.escaped() + ": "
        problem = "\(error)".hasPrefix(name) ? String("\(error)".dropFirst(name.count)) : "\(error)"
      }
      if hasStopped { return }
      monitor.withLock {
        known.state = .waiting
        known.problem = problem
      }
      // One that lasted was not refused, and whoever sends to a place where nobody listens may not try again.
      if reader.source.listens || monotonicSeconds() - start > 60 { pause = 1 }
      let end = monotonicSeconds() + pause
      while !hasStopped, monotonicSeconds() < end { usleep(50_000) }
      pause = min(30, pause * 2)
    }
  }

  private func take(_ frame: LiveFrame) {
    // As the model sees it: the frame's own pixels are not kept.
    let image = preprocessing.pixels(frame.image)
    monitor.withLock {
      let number = frames.nextNumber()
      frames.add(
        LiveWindow.Frame(
          image: image, time: Date().timeIntervalSince1970 - (monotonicSeconds() - frame.arrival), seconds: frame.seconds,
          arrival: frame.arrival, width: frame.image.width, height: frame.image.height, number: number))
      monitor.wakeAll()
    }
  }

  // MARK: The tower

  private func encode() {
    var isFirst = true
    while let frame = nextFrame() {
      let start = monotonicSeconds()
      do throws(SlowFastError) {
        // What is kept of one of several frames may be other than of one alone, which counts as a picture.
        let window = LiveWindow(frames: Array(repeating: frame, count: min(2, windowSize)))
        let watched = try context.watch(
          [SampledClip(.live(window), context.model.defaultSampling)], PromptOpening(), isAhead: true,
          progress: { _ in }, isCancelled: { self.hasStopped }, observer: nil)
        // The weights are read with the first, and a picture that is as before takes nothing.
        if !isFirst, watched.statistics.encodedFrames > 0 { note(towerSeconds: monotonicSeconds() - start) }
        isFirst = false
        publish(frame)
      } catch {
        if error.kind == .cancelled { return }
        // The model's file was changed, or there is no memory: the next frame may do better.
        monitor.withLock {
          known.problem = error.description
          hasTowerFailed = true
        }
        usleep(1_000_000)
      }
    }
  }

  /// The least counts, which nothing else has slowed down.
  private func note(towerSeconds seconds: Double) { monitor.withLock { towerSeconds = min(towerSeconds ?? .infinity, seconds) } }

  /// The part of the time that the tower does not take; nil where it is not known yet. Pictures that are all the same leave all of it.
  private var idleShare: Double? {
    monitor.withLock { towerSeconds.map { 1 - $0 / reader.every } ?? (frames.changes > 1 ? 1 : nil) }
  }

  /// nil when it is over.
  private func nextFrame() -> LiveWindow.Frame? {
    monitor.withLock {
      while !isStopped {
        if let frame = frames.next() { return frame }
        monitor.wait()
      }
      return nil
    }
  }

  private func publish(_ frame: LiveWindow.Frame) {
    monitor.withLock {
      let before = frames.newest?.number ?? 0
      frames.insert(frame)
      if hasTowerFailed, known.state == .live { known.problem = nil }
      hasTowerFailed = false
      guard let window = frames.newest else { return }
      if window.number > before { for listener in listeners.values { listener.yield(window) } }
      monitor.wakeAll()
    }
  }

  // MARK: The prompt

  /// Whenever nobody asks: reads the prompt up to the newest frames.
  private func readPrompts() {
    var last = 0
    while let (window, change) = nextWindow(after: last) {
      // Looked at again soon, with newer frames perhaps. A tower that is nearly always at work has no time for it.
      guard !context.isAnswering, let idle = idleShare, idle > 0.1 else {
        usleep(50_000)
        continue
      }
      last = change
      let start = monotonicSeconds()
      do throws(SlowFastError) {
        let stop: @Sendable () -> Bool = { self.hasStopped || self.context.isAnswering }
        let watched = try context.watch(
          [SampledClip(.live(window), context.model.defaultSampling)], PromptOpening(), isAhead: true, progress: { _ in },
          isCancelled: stop, observer: nil)
        let conversation = Conversation(watched, in: context)
        if watched.prefix == nil { try conversation.readClips(progress: { _ in }, isCancelled: stop) }
        let seconds = monotonicSeconds() - start
        monitor.withLock { readAhead = (window, seconds) }
        // One that there is no room for is read in vain.
        if let problem = conversation.statistics.warnings.first {
          monitor.withLock { known.problem = problem }
          return
        }
        // Frames wait meanwhile, and have their time now.
        let end = monotonicSeconds() + seconds * (1 - idle) / idle
        while !hasStopped, monotonicSeconds() < end { usleep(20_000) }
      } catch {
        // Somebody asks. Other failures are told to those who ask.
        if error.kind != .cancelled { usleep(1_000_000) }
      }
    }
  }

  /// nil when it is over.
  private func nextWindow(after change: Int) -> (LiveWindow, change: Int)? {
    monitor.withLock {
      while !isStopped {
        if let newest = frames.newest, frames.changes > change { return (newest, frames.changes) }
        monitor.wait()
      }
      return nil
    }
  }
}
