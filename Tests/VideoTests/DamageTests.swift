import Foundation
import TestSupport
import Testing
import Video

/// Broken streams: what decodes is used, and the report says so.
@Suite struct DamageTests {
  @Test(arguments: ["cut.mp4", "broken_packet.mp4", "broken_slice.mp4", "broken_blocks.mp4"]) func damageIsReported(_ name: String) throws {
    let sampled = try Sampled(clip: name, 5)
    #expect(sampled.report.warnings.contains { $0.hasPrefix("damaged: ") })
  }

  @Test func soundClipsHaveNoWarning() throws {
    for name in ["b_frames.mp4", "open_gop.ts", "irregular.mkv", "hidden_vp8.webm", "no_times.h264"] {
      #expect(try Sampled(clip: name, 5).report.warnings == [])
    }
  }

  /// What an edit list hides is not missing. PyAV 18 decodes so many frames of each.
  @Test(arguments: [
    ("trimmed_33.mp4", 33), ("trimmed.mp4", 17), ("trimmed_both.mp4", 17), ("trimmed_open_gop.mp4", 29), ("trimmed_hevc.mp4", 27),
    ("trimmed_vp9.mp4", 15), ("trimmed_av1.mp4", 15),
  ])
  func trimmedClipsHaveNoWarning(_ name: String, _ frames: Int) throws {
    for jumps in [false, true] {
      let sampled = try Sampled(clip: name, 5, jumps: jumps)
      #expect(sampled.report.decodedFrames == frames && sampled.report.warnings == [])
      #expect(sampled.isCounted == SamplingTests.counted.contains(name))
    }
  }

  /// MPEG-4 part 2 is counted by decoding: nothing that is hidden is missed there either.
  @Test func trimmedAndCounted() throws {
    let sampled = try Sampled(clip: "damaged/trimmed_mpeg4.mp4", 5)
    #expect(sampled.report.decodedFrames == 5 && sampled.isCounted && !sampled.report.warnings.contains { $0.contains("promises") })
  }

  @Test func theHeaderPromisesMore() throws {
    #expect(try Sampled(clip: "cut.mp4", 2).report.warnings.contains { $0.contains("promises 40 frames") })
  }

  /// Damage that only the decoder sees, after frames have been delivered: all begins again, and the second run counts.
  @Test func samplingBeginsAgain() throws {
    let sampled = try Sampled(clip: "broken_blocks.mp4", 60)
    #expect(sampled.restarts == 1)
    #expect(sampled.frames.map(\.position) == Array(0..<60))
    #expect(sampled.report.frames.count == 60)
  }

  /// Damage that the packets show is found before anything is delivered.
  @Test(arguments: ["cut.mp4", "broken_packet.mp4", "broken_slice.mp4", "hidden_vp8.webm", "two_sizes.ts"])
  func noRestartWhenPacketsTell(_ name: String) throws {
    #expect(try Sampled(clip: name, 5).restarts == 0)
  }

  @Test func notOneFrame() {
    guard case .noFrames(let path, _)? = videoError({ _ = try Sampled(clip: "no_frames.mp4", 3) }) else {
      Issue.record("expected noFrames")
      return
    }
    #expect(path.hasSuffix("no_frames.mp4"))
  }

  /// An AVI file of no known codec, whose pictures have sides of 2³¹ − 1.
  @Test func sidesBeyondAllMeasure() throws {
    let text =
      "UklGRuQAAABBVkkgTElTVMAAAABoZHJsYXZpaDgAAABAnAAAAAAAAAAAAAAQAAAAAQAAAAAAAAABAAAAAAAAABAAAAAQAAAAAAAAAAAAAAAAAAAA"
      + "AAAAAExJU1R0AAAAc3RybHN0cmg4AAAAdmlkc/////8AAAAAAAAAAAAAAAABAAAAGQAAAAAAAAABAAAAAAAAAP////8AAAAAAAAAAAAAAABzdHJm"
      + "KAAAACgAAAD///9/////fwEAEAD/////AAAAAAAAAAAAAAAAAAAAAAAAAABMSVNUEAAAAG1vdmkwMGRjBAAAAAAAAAA="
    let directory = try TemporaryDirectory()
    let path = try directory.write("clip.avi", [UInt8](try #require(Data(base64Encoded: text))))
    let input = try MediaInput(path: path)
    guard case .tooLarge(path, 2_147_483_647, 2_147_483_647, _)? = videoError({ _ = try input.decodingMemory() }) else {
      Issue.record("expected tooLarge")
      return
    }
    #expect(videoError { _ = try input.sample(SamplingRequest(frames: 1)) { _ in } } != nil)
  }

  /// Whatever is changed or cut, there is a result or an error of this module; never a trap.
  @Test(arguments: ["b_frames.mp4", "open_gop_hevc.mp4", "hidden_vp9.webm", "hidden_vp8.webm", "motion_jpeg.avi", "open_gop.ts", "av1.mkv"])
  func anyDamage(_ name: String) throws {
    try checkDamage(name, rounds: 12)
  }

  /// Decoders of the H.263 family return damaged frames together with an error, which threads that each decode a frame do not survive.
  /// The clips are `testsrc2` at 128 × 96, by FFmpeg 5.1.
  @Test(arguments: ["mpeg4.avi", "mpeg4_partitions.avi", "h263.3gp", "msmpeg4.avi", "wmv2.asf", "flv1.flv", "rv20.rm"])
  func anyDamageOfTheH263Family(_ name: String) throws {
    let sound = try Sampled(clip: "damaged/\(name)", 4)
    #expect(sound.report.decodedFrames == 15 && !sound.report.warnings.contains { $0.hasPrefix("damaged") })
    try checkDamage("damaged/\(name)", rounds: 40)
  }

  /// A damaged clip that ended the process; FFmpeg 5.1 on one thread decodes 20 frames of its 20 packets.
  @Test(arguments: [1, 2, 3, 8]) func damagedMPEG4(_ threads: Int) throws {
    let sampled = try Sampled(TestClips.path("damaged/abort_mpeg4.avi"), SamplingRequest(frames: 4), threads: threads)
    #expect(sampled.frames.count == 4 && sampled.report.decodedFrames == 20)
    #expect(sampled.report.warnings.contains { $0.hasPrefix("damaged: ") })
  }

  private func checkDamage(_ name: String, rounds: Int) throws {
    let directory = try TemporaryDirectory()
    let original = [UInt8](try Data(contentsOf: URL(fileURLWithPath: TestClips.path(name))))
    var random = SeededNumbers(UInt64(name.utf8.count))
    for round in 0..<rounds {
      var bytes = original
      if round % 3 == 0 { bytes.removeLast(Int(random.next() % UInt64(bytes.count))) }
      for _ in 0..<4 {
        let at = Int(random.next() % UInt64(max(1, bytes.count)))
        for offset in at..<min(bytes.count, at + Int(random.next() % 40)) { bytes[offset] = UInt8(truncatingIfNeeded: random.next()) }
      }
      let path = try directory.write("damaged", bytes)
      do {
        let sampled = try Sampled(path, SamplingRequest(frames: 4))
        #expect(sampled.frames.count == 4)
      } catch {
        #expect(error is VideoError)
      }
    }
  }
}
