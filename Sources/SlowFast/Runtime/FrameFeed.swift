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
    case .visual(let source): source.isImage ? 1 : sampling.frames
    case .frames(let images): images.count
    }
  }
}

/// Sampled, resized, normalised frames, one after the other in one buffer.
struct FrameFeed {
  let source: ClipSource
  let sampling: SamplingRequest
  let imageSize: Int
  let threads: Int

  enum Frame {
    /// `[imageSize², 3]`, valid until the next frame.
    case pixels(Matrix)
    /// The same frame as before.
    case repeated
  }

  /// Calls `body` for each frame in order. Returns what sampling reports.
  func forEach(
    times: inout StageTimes, isCancelled: @escaping @Sendable () -> Bool,
    body: (Frame, inout StageTimes) throws(SlowFastError) -> Void
  ) throws(SlowFastError) -> SamplingReport {
    let size = imageSize
    let pixels = try compute { () throws(ComputeError) in try Matrix(rows: size * size, columns: 3) }
    func take(_ image: RGBImage, _ times: inout StageTimes) throws(SlowFastError) -> Frame {
      try times.measure(\.resize) { () throws(SlowFastError) in
        do throws(VideoError) {
          let square = try image.preprocessed(size: size)
          square.normalize(into: UnsafeMutableBufferPointer(start: pixels.pointer, count: 3 * size * size))
        } catch { throw .video(error) }
      }
      return .pixels(pixels)
    }
    switch source {
    case .frames(let images):
      var report: [SamplingReport.Frame] = []
      for (index, image) in images.enumerated() {
        if isCancelled() { throw .cancelled }
        try body(try take(image, &times), &times)
        report.append(.init(index: index, seconds: 0, width: image.width, height: image.height))
      }
      return SamplingReport(decodedFrames: images.count, rotation: 0, frames: report, warnings: [])
    case .visual(let visual):
      return try sample(visual, times: &times, isCancelled: isCancelled) { (frame, times) throws(SlowFastError) in
        try body(frame.isRepeat ? .repeated : try take(frame.image, &times), &times)
      }
    }
  }

  /// Time between frames is the decoder's; time inside `body` is counted by whoever spends it.
  private func sample(
    _ visual: VisualSource, times: inout StageTimes, isCancelled: @escaping @Sendable () -> Bool,
    body: (SampledFrame, inout StageTimes) throws(SlowFastError) -> Void
  ) throws(SlowFastError) -> SamplingReport {
    var inner = times
    var clock = StageTimes.now
    do throws(VideoError) {
      let report = try visual.sample(sampling, threads: threads, isCancelled: isCancelled) { frame in
        inner.decode += StageTimes.now - clock
        defer { clock = StageTimes.now }
        try body(frame, &inner)
      }
      inner.decode += StageTimes.now - clock
      times = inner
      return report
    } catch {
      times = inner
      switch error {
      case .cancelled: throw .cancelled
      case .consumerFailed(let own as SlowFastError): throw own
      default: throw .video(error)
      }
    }
  }
}
