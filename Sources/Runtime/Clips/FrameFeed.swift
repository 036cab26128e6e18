import Models
import Parallel
import Support
import Video

/// Where a clip's frames come from.
public enum ClipSource: Sendable {
  /// A video, an image, or a directory of images.
  case visual(MediaInput)
  /// Frames that are there already: all are taken, sampling does not apply.
  case frames([RGBImage])
  /// A picture that is there already.
  case picture(RGBImage)
  /// The newest frames of a source that goes on: all are taken.
  case live(LiveWindow)

  /// Frames that a sampling of this source gives; with a rule that may give fewer, at most so many.
  package func frameCount(_ sampling: SamplingRequest) -> Int {
    switch self {
    case .visual(let source): source.frameCount(sampling)
    case .frames(let images): images.count
    case .live(let window): window.frames.count
    case .picture: 1
    }
  }

  /// No clip: a single picture.
  public var isPicture: Bool {
    switch self {
    case .visual(let source): source.kind == .image
    case .frames, .live: false
    case .picture: true
    }
  }

  /// What is made of it serves for a while only.
  package var isLive: Bool { if case .live = self { true } else { false } }
}

/// Sampled and resized frames, one after the other. A clip is decoded and resized by a thread of its own while its earlier frames are
/// encoded.
package struct FrameFeed: Sendable {
  package let source: ClipSource
  package let sampling: SamplingRequest
  /// nil: frames come in their own size.
  package let preprocessing: Preprocessing?
  package let threads: Int
  /// Bytes that decoding may take.
  package var memory: Int?
  /// Where frames of a video are looked for and kept, and under which number; nil: nowhere.
  package var kept: (frames: KeptFrames, number: Int)?

  package init(source: ClipSource, sampling: SamplingRequest, preprocessing: Preprocessing?, threads: Int, memory: Int? = nil) {
    self.source = source
    self.sampling = sampling
    self.preprocessing = preprocessing
    self.threads = threads
    self.memory = memory
  }

  private func pixels(_ image: RGBImage) -> RGBImage { preprocessing?.pixels(image) ?? image }

  /// Calls `body` with what happens to the frames, each of `size` × `size` pixels. Returns what sampling reports.
  package func forEach(
    times: inout StageTimes, isCancelled: @escaping @Sendable () -> Bool,
    body: (FrameEvent<RGBImage>, inout StageTimes) throws(SlowFastError) -> Void
  ) throws(SlowFastError) -> SamplingReport {
    switch source {
    case .picture(let image):
      return try FrameFeed(source: .frames([image]), sampling: sampling, preprocessing: preprocessing, threads: threads)
        .forEach(times: &times, isCancelled: isCancelled, body: body)
    case .frames(let images):
      var report: [SamplingReport.Frame] = []
      try body(.begin(frames: images.count), &times)
      for (index, image) in images.enumerated() {
        if isCancelled() { throw .cancelled }
        let frame = times.measure(\.resize) { pixels(image) }
        try body(.frame(frame), &times)
        report.append(.init(index: index, seconds: 0, width: image.width, height: image.height))
      }
      return SamplingReport(decodedFrames: images.count, rotation: 0, frames: report, warnings: [])
    case .live(let window):
      try body(.begin(frames: window.frames.count), &times)
      for frame in window.frames {
        if isCancelled() { throw .cancelled }
        try body(.frame(times.measure(\.resize) { pixels(frame.image) }), &times)
      }
      return window.report
    case .visual(let visual): return try forEachKept(visual, times: &times, isCancelled: isCancelled, body: body)
    }
  }

  /// What is kept of it, or else decoded and kept.
  private func forEachKept(
    _ visual: MediaInput, times: inout StageTimes, isCancelled: @escaping @Sendable () -> Bool,
    body: (FrameEvent<RGBImage>, inout StageTimes) throws(SlowFastError) -> Void
  ) throws(SlowFastError) -> SamplingReport {
    guard let kept else { return try forEachDecoded(visual, times: &times, isCancelled: isCancelled, body: body) }
    if let known = kept.frames.find(kept.number, sampling, preprocessing) {
      for event in known.events {
        if isCancelled() { throw .cancelled }
        try body(event, &times)
      }
      return known.report
    }
    var recording: KeptFrames.Recording? = KeptFrames.Recording()
    let report = try forEachDecoded(visual, times: &times, isCancelled: isCancelled) { (event, times) throws(SlowFastError) in
      recording?.add(event)
      if let own = recording, !kept.frames.hasRoom(for: own) { recording = nil }
      try body(event, &times)
    }
    if let recording { kept.frames.keep(recording, report, of: kept.number, sampling, preprocessing) }
    return report
  }

  private func forEachDecoded(
    _ visual: MediaInput, times: inout StageTimes, isCancelled: @escaping @Sendable () -> Bool,
    body: (FrameEvent<RGBImage>, inout StageTimes) throws(SlowFastError) -> Void
  ) throws(SlowFastError) -> SamplingReport {
    let queue = FrameQueue()
    guard detachThread({ decode(visual, to: queue, isCancelled) }) else {
      return try forEachOnThisThread(visual, times: &times, isCancelled: isCancelled, body: body)
    }
    while true {
      let item = times.measure(\.frameWait) { queue.take() }
      do throws(SlowFastError) {
        switch item {
        case .event(let event): try body(event, &times)
        case .end(let result, let decoding):
          times.decode += decoding.decode
          times.resize += decoding.resize
          return try result.get()
        }
      } catch {
        if case .end = item {} else { queue.stop() }
        throw error
      }
    }
  }

  /// Where the system gives no thread: each frame is decoded when the one before is encoded.
  private func forEachOnThisThread(
    _ visual: MediaInput, times: inout StageTimes, isCancelled: @escaping @Sendable () -> Bool,
    body: (FrameEvent<RGBImage>, inout StageTimes) throws(SlowFastError) -> Void
  ) throws(SlowFastError) -> SamplingReport {
    var clock = StageTimes.now
    do throws(VideoError) {
      let report = try visual.sample(
        request(visual), preparing: preprocessing, threads: 1, memory: memory, cancelled: isCancelled,
        onEvent: { event in
          times.decode += StageTimes.now - clock
          try body(event.map { frame in prepared(frame, &times) }, &times)
          clock = StageTimes.now
        })
      times.decode += StageTimes.now - clock
      return report
    } catch {
      switch error {
      case .cancelled: throw .cancelled
      case .consumerFailed(let inner as SlowFastError): throw inner
      default: throw SlowFastError(error)
      }
    }
  }

  /// What the decoder made of a frame; the time that it took for it is not the decoder's.
  private func prepared(_ frame: SampledFrame, _ times: inout StageTimes) -> RGBImage {
    // A process of its own prepares frames while nobody waits for them, too.
    times.decode -= min(times.decode, frame.preparingSeconds)
    times.resize += frame.preparingSeconds
    return frame.image
  }

  private func request(_ visual: MediaInput) -> SamplingRequest {
    var request = sampling
    request.frames = visual.frameCount(sampling)
    return request
  }

  /// The decoding thread. It and the codec's threads, which it starts, run only as far ahead as the queue lets them: beside the tower,
  /// whose threads are as many as there are processors already, they wait nearly all the time. The pool's loops lose nothing when a thread
  /// has to stand back for a while.
  private func decode(_ visual: MediaInput, to queue: FrameQueue, _ isCancelled: @escaping @Sendable () -> Bool) {
    var times = StageTimes()
    var clock = StageTimes.now
    let result: Result<SamplingReport, SlowFastError>
    do throws(VideoError) {
      let report = try visual.sample(
        request(visual), preparing: preprocessing, threads: threads, memory: memory, cancelled: { isCancelled() || queue.isStopped },
        onEvent: { event in
          // Time between frames is the decoder's; waiting for room is nobody's.
          times.decode += StageTimes.now - clock
          queue.put(.event(event.map { frame in prepared(frame, &times) }))
          clock = StageTimes.now
        })
      times.decode += StageTimes.now - clock
      result = .success(report)
    } catch {
      if case .cancelled = error { result = .failure(.cancelled) } else { result = .failure(SlowFastError(error)) }
    }
    queue.put(.end(result, times))
  }
}

/// Hands frames from the thread that decodes them to the one that encodes them. Holds a few at most: who is ahead waits.
private final class FrameQueue: @unchecked Sendable {
  enum Item: Sendable {
    /// Frames as the model sees them, before their bytes become numbers.
    case event(FrameEvent<RGBImage>)
    /// Nothing comes after it.
    case end(Result<SamplingReport, SlowFastError>, StageTimes)
  }

  /// Frames that wait: with the one that is being decoded enough to keep the tower busy, few enough to be no burden.
  static let capacity = 2

  private let monitor = Monitor()
  // All under it.
  private var items: [Item] = []
  private var stopped = false
  private var ended = false

  var isStopped: Bool { monitor.withLock { stopped } }

  /// Waits for room; what comes after `stop` is dropped.
  func put(_ item: Item) {
    monitor.withLock {
      if case .event(.restart) = item { items = [] }
      while items.count >= Self.capacity && !stopped { monitor.wait() }
      if case .end = item { ended = true }
      if !stopped { items.append(item) }
      monitor.wakeAll()
    }
  }

  /// Waits for the next item; not to be called after the end.
  func take() -> Item {
    monitor.withLock {
      while items.isEmpty { monitor.wait() }
      monitor.wakeAll()
      return items.removeFirst()
    }
  }

  /// Wants nothing more, and returns when the other thread has put its end.
  func stop() {
    monitor.withLock {
      stopped = true
      items = []
      monitor.wakeAll()
      while !ended { monitor.wait() }
    }
  }
}

extension MediaInput {
  /// Frames that a sampling gives, at most: an image is a clip of one, and where a rule gives fewer, only decoding tells.
  package func frameCount(_ sampling: SamplingRequest) -> Int {
    switch kind {
    case .image: 1
    case .directory(let images) where sampling.rule != .uniform: min(images.count, sampling.frames)
    case .video, .directory: sampling.frames
    }
  }
}

extension Preprocessing {
  package init(_ pixels: PixelConfig) throws(SlowFastError) {
    let fit: Fit =
      switch pixels.fit {
      case .crop: .crop
      case .stretch: .stretch
      case .longest: .longest(pixels.longestSide ?? pixels.size)
      }
    let resampling: Resampling =
      switch pixels.resampling {
      case .bicubic: .bicubic
      case .bilinear: .bilinear
      case .lanczos: .lanczos
      }
    self = try classified { () throws(VideoError) in
      try Preprocessing(size: pixels.size, mean: pixels.mean, deviation: pixels.std, fit: fit, resampling: resampling)
    }
  }
}
