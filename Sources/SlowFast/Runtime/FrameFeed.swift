import Architecture
import Compute
import Video

/// Where a clip's frames come from.
public enum ClipSource: Sendable {
  /// A video, an image, or a directory of images.
  case visual(VisualSource)
  /// Frames that are there already: all are taken, sampling does not apply.
  case frames([RGBImage])

  /// Frames that a sampling of this source gives.
  func frameCount(_ sampling: SamplingRequest) -> Int {
    switch self {
    case .visual(let source): source.frameCount(sampling)
    case .frames(let images): images.count
    }
  }
}

/// Sampled, resized, normalised frames, one after the other in one buffer.
struct FrameFeed {
  let source: ClipSource
  let sampling: SamplingRequest
  let preprocessing: PreprocessingRecord
  let threads: Int

  enum Event {
    /// `[size², 3]`, valid until the next event.
    case pixels(Matrix)
    /// The same frame as before.
    case repeated
    /// The stream proved damaged: what came so far is void and the first frame comes next.
    case restart
  }

  /// Calls `body` for each frame in order. Returns what sampling reports.
  func forEach(
    times: inout StageTimes, isCancelled: @escaping @Sendable () -> Bool,
    body: (Event, inout StageTimes) throws(SlowFastError) -> Void
  ) throws(SlowFastError) -> SamplingReport {
    let size = preprocessing.size
    let pixels = try compute { () throws(ComputeError) in try Matrix(rows: size * size, columns: 3) }
    let (mean, deviation) = (preprocessing.mean, preprocessing.std)
    let preprocessing = try video { () throws(VideoError) in try Preprocessing(size: size, mean: mean, deviation: deviation) }
    func take(_ image: RGBImage, _ times: inout StageTimes) -> Event {
      times.measure(\.resize) {
        preprocessing.normalize(
          preprocessing.pixels(image), into: UnsafeMutableBufferPointer(start: pixels.pointer, count: 3 * size * size))
      }
      return .pixels(pixels)
    }
    switch source {
    case .frames(let images):
      var report: [SamplingReport.Frame] = []
      for (index, image) in images.enumerated() {
        if isCancelled() { throw .cancelled }
        try body(take(image, &times), &times)
        report.append(.init(index: index, seconds: 0, width: image.width, height: image.height))
      }
      return SamplingReport(decodedFrames: images.count, rotation: 0, frames: report, warnings: [])
    case .visual(let visual):
      // Time between frames is the decoder's; time inside `body` is counted by whoever spends it.
      var inner = times
      var clock = StageTimes.now
      defer { times = inner }
      do throws(VideoError) {
        var request = sampling
        request.frames = visual.frameCount(sampling)
        let report = try visual.sample(
          request, threads: threads, cancelled: isCancelled,
          onRestart: { try body(.restart, &inner) },
          onFrame: { frame in
            inner.decode += StageTimes.now - clock
            defer { clock = StageTimes.now }
            try body(frame.isRepeat ? .repeated : take(frame.image, &inner), &inner)
          })
        inner.decode += StageTimes.now - clock
        return report
      } catch {
        switch error {
        case .cancelled: throw .cancelled
        case .consumerFailed(let own as SlowFastError): throw own
        default: throw .video(error)
        }
      }
    }
  }
}

/// Runs a step of the video module, its failures as this module's.
func video<T>(_ body: () throws(VideoError) -> T) throws(SlowFastError) -> T {
  do throws(VideoError) { return try body() } catch { throw SlowFastError(error, path: "") }
}

extension VisualSource {
  /// Frames that a sampling gives: an image is a clip of one.
  func frameCount(_ sampling: SamplingRequest) -> Int { kind == .image ? 1 : sampling.frames }
}
