import Foundation
import TestSupport
import Testing
import Video

/// Whatever the process that decodes a clip says: it has read the clip, and may be its author's. Each saying is one of `Data/hostile.py`.
@Suite(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/env"), "needs env")) struct HostileDecoderTests {
  private let directory: TemporaryDirectory
  private let clip = TestClips.path("b_frames.mp4")

  init() throws { directory = try TemporaryDirectory() }

  /// What sampling two frames gives: the pictures' sizes and warnings, or the error.
  private func told(_ saying: String, seconds: Int = 4 * 3600, patience: Double = 20) throws -> String {
    let program = directory.file(saying)
    try FileManager.default.createSymbolicLink(atPath: program, withDestinationPath: TestClips.path("hostile.py"))
    var input = try MediaInput(path: clip)
    input.decoder = DecoderProcesses(program: program, seconds: seconds, patience: patience)
    do {
      var sizes: [String] = []
      let report = try input.sample(SamplingRequest(frames: 2)) { event in
        if case .frame(let frame) = event { sizes.append("\(frame.image.width)×\(frame.image.height)") }
      }
      return "\(sizes) \(report.warnings)"
    } catch { return "\(error)" }
  }

  @Test(arguments: [
    "garbage", "nothing-long", "too-long", "unknown", "cut-short", "more-behind", "frame-first", "repeated-first", "restart-first",
    "twice-begun", "no-frames", "too-many", "negative", "one-too-many", "backwards", "huge", "overflowing", "flat", "other-size",
    "pixels-inside", "no-such-file", "negative-file", "too-early", "no-begin", "fewer-than-shown", "many-warnings", "huge-error", "memory",
    "for-ever-again",
  ])
  func nonsense(_ saying: String) throws {
    #expect(try told(saying) == "\(clip): not decoded: its decoder says what makes no sense")
  }

  @Test func textIsEscaped() throws {
    #expect(try told("control") == "\(clip): the image does not decode: \\u{1b}[31mred\\nline\\u{0}")
    #expect(try told("other-name") == "\(clip): the image does not decode: no")
    #expect(try told("warning") == #"["64×64", "64×64"] ["\\u{1b}[31mred"]"#)
  }

  @Test func silence() throws {
    #expect(try told("silent", patience: 1) == "\(clip): not decoded: its decoder gives no sign for 1 seconds")
  }

  /// It says that it is at work, and never does any.
  @Test func onlyAlive() throws {
    #expect(
      try told("alive", seconds: 1, patience: 1) == "\(clip): not decoded: its decoder takes more than twice the 1 seconds that it may")
  }
}
