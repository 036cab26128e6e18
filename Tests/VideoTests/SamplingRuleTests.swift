import Foundation
import TestSupport
import Testing
import Video

/// So many frames a second, at most so many, fewer where there are fewer. The indices are those of `get_frame_indices` in the published
/// evaluation's `load_video.py`, run by Python 3.11 with PyAV 18's `average_rate` and the frames that it decodes.
@Suite struct SamplingRuleTests {
  static let vectors: [(String, Double, Int, [Int])] = [
    ("b_frames.mp4", 2, 64, [0, 12, 24, 36]),
    ("b_frames.mp4", 2, 3, [0, 24, 36]),
    ("b_frames.mp4", 10, 7, [4, 10, 16, 20, 26, 32, 38]),
    ("b_frames.mp4", 4, 9, [0, 6, 12, 18, 24, 30, 36]),
    ("b_frames.mp4", 3.5, 100, [0, 7, 14, 21, 28, 35]),
    ("b_frames.mp4", 0.7, 5, [0, 36]),
    ("b_frames.mp4", 1000, 13, [2, 5, 8, 11, 14, 17, 21, 24, 27, 30, 33, 36, 39]),
    ("irregular.mkv", 2, 64, [0, 15, 30]),
    ("irregular.mkv", 2, 3, [0, 15, 30]),
    ("irregular.mkv", 10, 7, [3, 9, 15, 21, 27, 33, 39]),
    ("irregular.mkv", 0.7, 5, [0]),
    ("hidden_vp9.webm", 25, 11, [3, 6, 10, 14, 17, 21, 24, 28, 32, 35, 39]),
    ("one_key.mp4", 2, 3, [12, 24, 48]),
    ("one_key.mp4", 4, 9, [0, 6, 12, 18, 30, 36, 42, 48, 54]),
    ("motion_jpeg.avi", 25, 11, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ("motion_jpeg.avi", 2, 3, [0]),
    ("open_gop.ts", 10, 7, [2, 6, 10, 16, 20, 24, 28]),
  ]

  @Test(arguments: vectors.indices, [false, true]) func asThePublishedEvaluation(_ vector: Int, jumps: Bool) throws {
    let (name, rate, frames, expected) = Self.vectors[vector]
    let sampled = try Sampled(TestClips.path(name), SamplingRequest(frames: frames, rule: .rate(rate)), jumps: jumps)
    #expect(sampled.frames.map(\.index) == expected && sampled.report.frames.map(\.index) == expected, "\(name) \(rate) \(frames)")
    #expect(sampled.total == expected.count && sampled.frames.allSatisfy { !$0.isRepeat })
  }

  @Test func ofOneStream() throws {
    let nasa = TestClips.tests.appending(path: "Clips/nasa.mp4").path
    let sampled = try Sampled(nasa, SamplingRequest(frames: 9, rule: .rate(4), stream: 0))
    #expect(sampled.frames.map(\.index) == [30, 66, 102, 138, 180, 216, 252, 288, 324])
  }

  /// The frames of a range are a clip of their own: 25 frames of 25 a second.
  @Test func ofARange() throws {
    let sampled = try Sampled(TestClips.path("one_key.mp4"), SamplingRequest(frames: 64, rule: .rate(4), start: 0.8, end: 1.8))
    #expect(sampled.frames.map(\.index) == [20, 26, 32, 38, 44])
  }

  /// A directory's images come one a second, an image is one frame.
  @Test func ofImages() throws {
    let directory = try TemporaryDirectory()
    let picture = try Data(contentsOf: TestClips.data.appending(path: "images/plain.png"))
    for number in 1...5 { _ = try directory.write("\(number).png", [UInt8](picture)) }
    #expect(try Sampled(directory.path, SamplingRequest(frames: 64, rule: .rate(2))).frames.map(\.index) == [0, 1, 2, 3, 4])
    #expect(try Sampled(directory.path, SamplingRequest(frames: 2, rule: .rate(2))).frames.map(\.index) == [2, 4])
    #expect(try Sampled(directory.file("1.png"), SamplingRequest(frames: 64, rule: .rate(2))).frames.map(\.index) == [0])
  }

  /// SmolVLM2's way: those of transformers 5.2's `sample_frames` for the same numbers of frames and rates.
  @Test func spread() throws {
    let directory = try TemporaryDirectory()
    let picture = try Data(contentsOf: TestClips.data.appending(path: "images/plain.png"))
    for number in 1...67 { _ = try directory.write("\(number).png", [UInt8](picture)) }
    func indices(_ frames: Int, _ perSecond: Double = 1, end: Double? = nil) throws -> [Int] {
      try Sampled(directory.path, SamplingRequest(frames: frames, rule: .spread(perSecond), end: end)).frames.map(\.index)
    }
    let most = try indices(64)
    #expect(most.count == 64 && most.prefix(6) == [1, 2, 3, 4, 5, 6] && most.suffix(3) == [63, 64, 66])
    #expect(try indices(3) == [1, 33, 66])
    let whole = try indices(64, end: 66)
    #expect(whole.count == 64 && whole.prefix(3) == [0, 1, 2] && whole.suffix(3) == [62, 63, 65])
    #expect(try indices(70) == Array(0...66) && indices(70, 0.01) == [1] && indices(200, 3) == Array(0...66))
    #expect(try indices(1) == [1])
    let nasa = TestClips.tests.appending(path: "Clips/nasa.mp4").path
    let clip = try Sampled(nasa, SamplingRequest(frames: 4, rule: .spread(1)))
    #expect(clip.frames.map(\.index) == [29, 139, 249, 360] && clip.total == 4)
  }

  @Test(arguments: [0, -1, .infinity, .nan]) func noRate(_ rate: Double) {
    guard
      case .invalidRate? = videoError({ _ = try Sampled(TestClips.path("b_frames.mp4"), SamplingRequest(frames: 2, rule: .rate(rate))) })
    else {
      Issue.record("expected invalidRate")
      return
    }
  }
}
