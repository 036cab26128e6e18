import Foundation
import Testing
import Video

/// Real clips of a directory that `SLOWFAST_CLIPS` names, with what its `expected.json` says of them: too large to come with the project.
@Suite struct ExtraClipsTests {
  struct Expected: Decodable, Sendable {
    struct Frame: Decodable, Sendable {
      let index: Int
      let seconds: Double
      let grid: [[Double]]

      private enum CodingKeys: String, CodingKey {
        case index, seconds
        case grid = "grid_rgb"
      }
    }
    let video: Bool?
    let width: Int?, height: Int?, decodedFrames: Int?, rotation: Int?
    let frames: [Frame]?

    private enum CodingKeys: String, CodingKey {
      case video, width, height, rotation, frames
      case decodedFrames = "decoded_frames"
    }
  }

  static let directory = URL(fileURLWithPath: ProcessInfo.processInfo.environment["SLOWFAST_CLIPS"] ?? "/nonexistent")
  static let clips: [String: Expected] =
    (try? JSONDecoder().decode([String: Expected].self, from: Data(contentsOf: directory.appending(path: "expected.json")))) ?? [:]

  @Test(.enabled(if: !clips.isEmpty), arguments: clips.keys.sorted()) func expectedFrames(_ name: String) throws {
    let clip = try #require(ExtraClipsTests.clips[name])
    let path = ExtraClipsTests.directory.appending(path: name).path
    guard let frames = clip.frames, let rotation = clip.rotation else {
      guard case .noVideoStream? = videoError({ _ = try Sampled(path, SamplingRequest(frames: 8)) }) else {
        Issue.record("expected noVideoStream")
        return
      }
      return
    }
    let sampled = try Sampled(path, SamplingRequest(frames: 8, stream: 0))
    #expect(sampled.report.decodedFrames == clip.decodedFrames)
    #expect(sampled.report.rotation == rotation)
    #expect(sampled.frames.map(\.index) == frames.map(\.index))
    for (frame, expected) in zip(sampled.frames, frames) {
      #expect(abs(frame.seconds - expected.seconds) < 1e-9)
      // Back to how it is stored: the rotation is counterclockwise.
      let stored = try frame.image.turned((rotation / 90 + 8) % 4)
      #expect(stored.width == clip.width && stored.height == clip.height)
      #expect(difference(stored.grid(4), expected.grid) <= 2)
    }
    #expect(sampled.report.warnings.isEmpty == (name != "damaged.mp4"))
  }
}
