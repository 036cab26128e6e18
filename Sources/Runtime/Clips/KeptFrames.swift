import Support
import Synchronization
import Video

/// Frames as they came out of clips' files, for further models that see the same clips: each is decoded once, as far as the memory goes.
package final class KeptFrames: Sendable {
  private struct Clip {
    var number: Int
    var sampling: SamplingRequest
    /// nil: frames in their own size.
    var preprocessing: Preprocessing?
    var recording: Recording
    var report: SamplingReport
  }

  /// What a feed told of one clip so far.
  package struct Recording: Sendable {
    package private(set) var events: [FrameEvent<RGBImage>] = []
    private(set) var bytes = 0

    package init() {}

    package mutating func add(_ event: FrameEvent<RGBImage>) {
      switch event {
      case .restart: (events, bytes) = ([], 0)
      case .frame(let image):
        bytes += image.pixels.count
        events.append(event)
      case .begin, .repeated: events.append(event)
      }
    }
  }

  private let limit: Int
  private let state = Mutex<(clips: [Clip], bytes: Int)>(([], 0))

  /// For so many bytes of frames.
  package init(limit: Int) { self.limit = limit }

  /// Bytes of the frames that are kept.
  package var byteCount: Int { state.withLock { $0.bytes } }

  /// Whether it would be kept as far as it is.
  package func hasRoom(for recording: Recording) -> Bool { state.withLock { $0.bytes + recording.bytes <= limit } }

  /// What was kept of the clip of that number, if it was sampled and prepared in the same way.
  package func find(
    _ number: Int, _ sampling: SamplingRequest, _ preprocessing: Preprocessing?
  ) -> (events: [FrameEvent<RGBImage>], report: SamplingReport)? {
    state.withLock { state in
      let clip = state.clips.first { $0.number == number && $0.sampling == sampling && $0.preprocessing == preprocessing }
      return clip.map { ($0.recording.events, $0.report) }
    }
  }

  /// Keeps a clip that has been told to its end, where there is room.
  package func keep(
    _ recording: Recording, _ report: SamplingReport, of number: Int, _ sampling: SamplingRequest, _ preprocessing: Preprocessing?
  ) {
    state.withLock { state in
      guard state.bytes + recording.bytes <= limit else { return }
      state.bytes += recording.bytes
      state.clips.append(
        Clip(number: number, sampling: sampling, preprocessing: preprocessing, recording: recording, report: report))
    }
  }
}
