import Foundation
import Testing
import Video

/// Every synthetic clip against a full decoding of it.
@Suite struct SamplingTests {
  static let clips: [String: TestClips.Described] = (try? TestClips.described()) ?? [:]
  static let playable = clips.filter { !$0.value.frames.isEmpty }.keys.sorted()

  @Test func theClipsAreThere() { #expect(SamplingTests.playable.count >= 24) }

  @Test(arguments: playable) func everyFrame(_ name: String) throws {
    let clip = try #require(SamplingTests.clips[name])
    try check(name, clip, frames: clip.frames.count)
  }

  @Test(arguments: playable, [1, 2, 7]) func someFrames(_ name: String, _ frames: Int) throws {
    try check(name, try #require(SamplingTests.clips[name]), frames: frames)
  }

  @Test(arguments: playable) func moreFramesThanThereAre(_ name: String) throws {
    let clip = try #require(SamplingTests.clips[name])
    try check(name, clip, frames: clip.frames.count * 2 + 3)
  }

  /// From key frame to key frame, as long clips are sampled: the same frames to the last bit.
  @Test(arguments: playable, [1, 2, 3, 5, 9, 17]) func jumping(_ name: String, _ frames: Int) throws {
    // What is broken where no wanted frame needs it is not found by jumping.
    guard name != "broken_blocks.mp4" else { return }
    try check(name, try #require(SamplingTests.clips[name]), frames: frames, jumps: true)
    let whole = try Sampled(clip: name, frames)
    let jumped = try Sampled(clip: name, frames, jumps: true)
    let isEqual = whole.frames.map(\.image) == jumped.frames.map(\.image)
    #expect(isEqual)
    #expect(whole.isCounted == SamplingTests.counted.contains(name) && jumped.isCounted == SamplingTests.counted.contains(name))
  }

  /// Those whose packets do not tell the number of frames.
  static let counted = [
    "broken_blocks.mp4", "broken_packet.mp4", "broken_slice.mp4", "cut.mp4", "grey.mkv", "no_times.h264", "odd_size.mkv", "two_sizes.ts",
    // Begins with a key frame that is no IDR picture.
    "trimmed_open_gop.mp4",
  ]

  /// Encoded in two passes, with frames that are never shown: packets of their own in VP8 (79 in all), parts of packets in VP9 (78
  /// pictures in 75). The clips are three seconds of `testsrc2` at 64 × 48, by FFmpeg 5.1 with `-auto-alt-ref 1 -lag-in-frames 16`.
  @Test(arguments: ["two_pass_vp8.webm", "two_pass_vp9.webm"], [4, 75]) func hiddenFrames(_ name: String, _ frames: Int) throws {
    let whole = try Sampled(clip: name, frames)
    let jumped = try Sampled(clip: name, frames, jumps: true)
    for sampled in [whole, jumped] {
      #expect(sampled.report.decodedFrames == 75 && !sampled.isCounted && sampled.report.warnings == [])
      #expect(sampled.frames.map(\.index) == SamplingRequest(frames: frames).indices(of: 75))
    }
    let isEqual = whole.frames.map(\.image) == jumped.frames.map(\.image)
    #expect(isEqual)
  }

  /// A range begins in the middle.
  @Test(arguments: ["b_frames.mp4", "open_gop.mp4", "open_gop_hevc.mp4", "hidden_vp9.webm"]) func jumpingIntoARange(_ name: String) throws {
    let whole = try Sampled(clip: name, 3, start: 0.7, end: 1.3)
    let jumped = try Sampled(clip: name, 3, start: 0.7, end: 1.3, jumps: true)
    let isEqual = whole.frames.map(\.image) == jumped.frames.map(\.image)
    #expect(isEqual && whole.frames.map(\.index) == jumped.frames.map(\.index))
  }

  private func check(_ name: String, _ clip: TestClips.Described, frames: Int, jumps: Bool = false) throws {
    let sampled = try Sampled(clip: name, frames, jumps: jumps)
    #expect(sampled.report.decodedFrames == clip.frames.count)
    #expect(sampled.frames.map(\.position) == Array(0..<frames))
    let indices = SamplingRequest(frames: frames).indices(of: clip.frames.count)
    #expect(sampled.frames.map(\.index) == indices)
    #expect(sampled.report.frames.map(\.index) == indices)
    var last: Int?
    for frame in sampled.frames {
      let expected = clip.frames[frame.index]
      #expect(abs(frame.seconds - expected.seconds) < 1e-5)
      #expect(frame.isRepeat == (last == frame.index))
      last = frame.index
      let stored = try asStored(frame.image, name)
      #expect(stored.width == expected.width && stored.height == expected.height)
      // More than 8 bits: FFmpeg's versions differ by up to three levels.
      let tolerance = name == "ten_bits.mp4" ? 4.0 : 2.0
      if stored.width % 2 == 0, stored.height % 2 == 0 {
        #expect(difference(stored.grid(2), expected.quarters) <= tolerance, "\(name), frame \(frame.index)")
      }
    }
  }

  /// The frame as it was before it was made upright.
  private func asStored(_ image: RGBImage, _ name: String) throws -> RGBImage {
    switch name {
    case "turned.mp4": try image.turned(3)
    case "mirrored.mp4": try image.mirrored()
    default: image
    }
  }

  @Test func framesAreUpright() throws {
    let turned = try Sampled(clip: "turned.mp4", 1)
    #expect(turned.report.rotation == -90)
    #expect(turned.report.frames[0] == .init(index: 0, seconds: 0, width: 48, height: 64))
    let mirrored = try Sampled(clip: "mirrored.mp4", 1)
    #expect(mirrored.report.rotation == 0)
  }

  /// The number of threads changes nothing.
  @Test(arguments: ["b_frames.mp4", "open_gop_hevc.mp4", "av1.mkv", "hidden_vp9.webm"]) func threads(_ name: String) throws {
    let one = try Sampled(TestClips.path(name), SamplingRequest(frames: 9), threads: 1)
    let four = try Sampled(TestClips.path(name), SamplingRequest(frames: 9), threads: 4)
    #expect(one.frames.map(\.image) == four.frames.map(\.image))
  }

  @Test func indicesAreNumPys() {
    #expect(SamplingRequest(frames: 1).indices(of: 100) == [0])
    #expect(SamplingRequest(frames: 2).indices(of: 100) == [0, 99])
    #expect(SamplingRequest(frames: 8).indices(of: 325) == [0, 46, 92, 138, 185, 231, 277, 324])
    #expect(SamplingRequest(frames: 8).indices(of: 4) == [0, 0, 0, 1, 1, 2, 2, 3])
    #expect(SamplingRequest(frames: 3).indices(of: 1) == [0, 0, 0])
    // Where 3 × (49 / 49) is a hair below 3 in doubles, NumPy truncates; these are its own numbers.
    #expect(SamplingRequest(frames: 50).indices(of: 50).last == 49)
    #expect(SamplingRequest(frames: 64).indices(of: 14064)[..<5] == [0, 223, 446, 669, 892])
  }
}
