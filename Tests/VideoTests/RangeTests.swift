import Support
import Testing
import Video

/// `start` and `end`.
@Suite struct RangeTests {
  @Test func rangesAreHalfOpen() throws {
    // 25 frames a second: 0.4 is frame 10, 0.8 is frame 20.
    let sampled = try Sampled(clip: "b_frames.mp4", 3, start: 0.4, end: 0.8)
    #expect(sampled.frames.map(\.index) == [10, 14, 19])
    #expect(sampled.report.decodedFrames == 40)
  }

  @Test func oneSideMayBeOpen() throws {
    #expect(try Sampled(clip: "b_frames.mp4", 2, start: 1).frames.map(\.index) == [25, 39])
    #expect(try Sampled(clip: "b_frames.mp4", 2, end: 1).frames.map(\.index) == [0, 24])
  }

  /// Also where frames have to be counted by decoding.
  @Test func rangesOfCountedClips() throws {
    #expect(try Sampled(clip: "no_times.h264", 2, start: 0.4, end: 0.8).frames.map(\.index) == [10, 19])
    #expect(try Sampled(clip: "broken_packet.mp4", 2, start: 1).frames.map(\.seconds).allSatisfy { $0 >= 1 })
  }

  @Test func emptyRangesNameWhatThereIs() {
    let error = videoError { _ = try Sampled(clip: "b_frames.mp4", 2, start: 7, end: 9) }
    guard case .noFramesInRange(_, let start, let end, let first, let last)? = error else {
      Issue.record("expected noFramesInRange")
      return
    }
    #expect(start == 7 && end == 9 && first == 0 && abs(last - 1.56) < 1e-6)
  }

  @Test(arguments: [(2.0, 1.0), (-1, 1), (.nan, 1), (0, .infinity), (1, 1)]) func rangesThatAreNone(_ start: Double, _ end: Double) {
    guard case .invalidRange? = videoError({ _ = try Sampled(clip: "b_frames.mp4", 2, start: start, end: end) }) else {
      Issue.record("expected invalidRange")
      return
    }
  }

  @Test(arguments: [0, -1, Limits.frames + 1, Int.max, Int.min]) func frameCountsThatAreNone(_ frames: Int) {
    guard case .invalidFrameCount(frames, _)? = videoError({ _ = try Sampled(clip: "b_frames.mp4", frames) }) else {
      Issue.record("expected invalidFrameCount")
      return
    }
  }
}
