import Foundation
import Runtime
import TestSupport
import Testing
import Video

/// Frames that hardly change, and frames that are decoded while others are encoded.
@Suite struct ReuseTests {
  private let model: VideoLanguageModel

  init() throws { model = try VideoLanguageModel(path: Golden.path("vanilla")) }

  private func watch(_ source: ClipSource, frames: Int, reuse: Double?) throws -> Session {
    var options = SessionOptions()
    options.reuseStatic = reuse
    let session = try Session(model, options: options)
    try session.watch([source], sampling: SamplingRequest(frames: frames))
    return session
  }

  /// A picture whose bytes are all so much brighter.
  private func brighter(_ image: RGBImage, by difference: UInt8) throws -> RGBImage {
    try RGBImage(width: image.width, height: image.height, pixels: image.pixels.map { $0 &+ difference })
  }

  private func dark() throws -> RGBImage { try RGBImage(width: 128, height: 128, pixels: (0..<128 * 128 * 3).map { UInt8($0 % 100) }) }

  @Test func differences() throws {
    let image = try dark()
    #expect(image.meanDifference(from: image) == 0)
    #expect(try image.meanDifference(from: brighter(image, by: 7)) == 7)
    #expect(try brighter(image, by: 7).meanDifference(from: image) == 7)
    var pixels = image.pixels
    pixels[5] &+= 64
    #expect(try image.meanDifference(from: RGBImage(width: 128, height: 128, pixels: pixels)) == 64 / Double(pixels.count))
    #expect(try image.meanDifference(from: RGBImage(width: 1, height: 1, pixels: [0, 0, 0])) == .infinity)
  }

  @Test func aStaticClip() throws {
    let image = try dark()
    let clip = ClipSource.frames(Array(repeating: image, count: 6))
    let plain = try watch(clip, frames: 6, reuse: nil)
    let reusing = try watch(clip, frames: 6, reuse: 0.5)
    #expect(plain.statistics.encodedFrames == 6 && plain.statistics.reusedFrames == 0)
    #expect(reusing.statistics.encodedFrames == 1 && reusing.statistics.reusedFrames == 5 && reusing.statistics.frames == 6)
    // The same frame has the same features.
    #expect(try plain.ask("What?", options: greedy(6)) == reusing.ask("What?", options: greedy(6)))
  }

  /// Each frame is compared with the last one that was encoded, not with the one before: a slow change is seen once it has gone far enough.
  @Test func aSlowChange() throws {
    let image = try dark()
    let frames = try (0..<8).map { try brighter(image, by: UInt8($0)) }
    let session = try watch(.frames(frames), frames: 8, reuse: 2.5)
    // 0, 3 and 6.
    #expect(session.statistics.encodedFrames == 3 && session.statistics.reusedFrames == 5)
    let kept = try watch(.frames([0, 0, 0, 3, 3, 3, 6, 6].map { frames[$0] }), frames: 8, reuse: nil)
    #expect(try session.ask("What?", options: greedy(6)) == kept.ask("What?", options: greedy(6)))
    // The difference itself is no longer below it.
    #expect(try watch(.frames(frames), frames: 8, reuse: 1).statistics.encodedFrames == 8)
  }

  @Test(arguments: [0, -1, 255.5, .nan]) func thresholdsOutOfRange(threshold: Double) {
    var options = SessionOptions()
    options.reuseStatic = threshold
    guard failure({ try options.validate() })?.isA(.invalidOption, "reuseStatic") == true else {
      Issue.record("expected badOption")
      return
    }
  }

  /// A film that is decoded beside the tower gives what its frames give when they are there already.
  @Test func overlapChangesNothing() throws {
    let source = try MediaInput(opening: Golden.clip)
    var images: [RGBImage] = []
    let request = SamplingRequest(frames: 9)
    let report = try source.sample(request) { if case .frame(let frame) = $0 { images.append(frame.image) } }
    let film = try watch(.visual(source), frames: 9, reuse: nil)
    let still = try watch(.frames(images), frames: 9, reuse: nil)
    #expect(film.statistics.encodedFrames == 9 && film.statistics.decodedFrames == report.decodedFrames)
    #expect(film.samplingReports[0].frames == report.frames)
    #expect(film.statistics.times.decode > 0 && film.statistics.times.resize > 0 && film.statistics.times.frameWait > 0)
    #expect(try film.ask("What?", options: greedy(6)) == still.ask("What?", options: greedy(6)))
  }

  /// Ended from outside while the decoder is ahead: its thread ends too, and the session can be used again.
  @Test func cancelledWhileDecoding() throws {
    let session = try Session(model)
    let source = try ClipSource(path: Golden.clip)
    for asked in [0, 1, 20] {
      let count = Counter()
      let error = failure({
        try session.watch([source], sampling: SamplingRequest(frames: 12), isCancelled: { count.next() > asked })
      })
      guard error?.isA(.cancelled) == true else {
        Issue.record("expected cancelled")
        return
      }
    }
    try session.watch([source], sampling: SamplingRequest(frames: 3))
    #expect(session.statistics.frames == 3)
  }

  @Test func errorsOfTheDecodingThread() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("letter.mp4")
    try Data(repeating: 7, count: 5000).write(to: URL(fileURLWithPath: path))
    let source = ClipSource.visual(try MediaInput(path: path))
    guard failure({ try Session(model).watch([source], sampling: SamplingRequest(frames: 2)) })?.isA(.invalidClip) == true else {
      Issue.record("expected a video error")
      return
    }
  }
}
