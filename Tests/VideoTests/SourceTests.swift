import Foundation
import TestSupport
import Testing
import Video

/// What is given as a clip and is none; streams; cancelling.
@Suite struct SourceTests {
  @Test func missing() throws {
    let directory = try TemporaryDirectory()
    guard case .notFound? = videoError({ _ = try MediaInput(path: directory.file("none.mp4")) }) else {
      Issue.record("expected notFound")
      return
    }
    guard case .notFound? = videoError({ _ = try MediaInput(path: "") }) else {
      Issue.record("expected notFound")
      return
    }
  }

  @Test(arguments: [".txt", ".mp4", ".nfo", ""]) func textIsNoVideo(_ ending: String) throws {
    let directory = try TemporaryDirectory()
    let text = Array(String(repeating: "This is a text about a video, and none itself.\n", count: 40).utf8)
    let path = try directory.write("text\(ending)", text)
    let error = videoError { _ = try Sampled(path, SamplingRequest(frames: 2)) }
    switch error {
    case .notVideo, .noVideoStream: break
    default: Issue.record("unexpected: \(String(describing: error))")
    }
    #expect(error.map { "\($0)".contains("text\(ending)") } ?? false)
  }

  /// Frames of two clips are no clip; a recording that goes on is one.
  @Test(arguments: ["overwritten", "cut", "grown", "replaced"], [false, true])
  func aClipThatChangesWhileItIsRead(how: String, inProcess: Bool) throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("clip.mp4")
    let content = try Data(contentsOf: URL(fileURLWithPath: TestClips.path("b_frames.mp4")))
    try content.write(to: URL(fileURLWithPath: path))
    var input = try MediaInput(path: path)
    if inProcess { input.decoder = nil }
    var isDone = false
    let error = videoError {
      _ = try input.sample(SamplingRequest(frames: 8)) { event in
        guard case .frame = event, !isDone else { return }
        isDone = true
        if how == "replaced" {
          try content.dropLast(9).write(to: URL(fileURLWithPath: directory.file("new")))
          #expect(rename(directory.file("new"), path) == 0)
          return
        }
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        switch how {
        case "cut": try file.truncate(atOffset: UInt64(content.count / 2))
        case "grown":
          try file.seekToEnd()
          try file.write(contentsOf: Data(repeating: 0, count: 100))
        default: try file.write(contentsOf: content)
        }
        try file.close()
      }
    }
    #expect(isDone)
    if how == "grown" || how == "replaced" {
      #expect(error == nil, "\(error as Any)")
      return
    }
    guard case .changedWhileReading? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  /// A recording that was cut off, or goes on: its index would come last.
  @Test func withoutAnIndex() throws {
    let directory = try TemporaryDirectory()
    func box(_ size: [UInt8], _ name: String, then bytes: [UInt8] = []) -> [UInt8] { size + Array(name.utf8) + bytes }
    let data = [UInt8](repeating: 7, count: 3000)
    let beyond: [UInt8] = [0, 0, 0xFF, 0xFF]
    let start = box([0, 0, 0, 16], "ftyp", then: Array("isom".utf8) + [0, 0, 2, 0])
    let longBox = box([0, 0, 0, 1], "mdat", then: [0, 0, 0, 0] + beyond)
    let cut: [(boxes: [UInt8], isTold: Bool)] = [
      (start + box(beyond, "mdat", then: data), true),
      (start + box([0, 0, 0, 0], "mdat", then: data), true),
      (start + longBox + data, true),
      (start + box([0, 0, 0, 8], "free") + box(beyond, "moov", then: data), false),
      (box(beyond, "wide", then: data), false),
    ]
    for (index, file) in cut.enumerated() {
      let path = try directory.write("\(index).mp4", file.boxes)
      let error = try #require(videoError { _ = try Sampled(path, SamplingRequest(frames: 1)) })
      #expect("\(error)".contains("without its index, which is written last") == file.isTold, "\(index): \(error)")
    }
  }

  /// Files that name other files are not followed.
  @Test func playlistsAreNotFollowed() throws {
    let directory = try TemporaryDirectory()
    let playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n\(TestClips.path("open_gop.ts"))\n#EXT-X-ENDLIST\n"
    let list = "ffconcat version 1.0\nfile '\(TestClips.path("b_frames.mp4"))'\n"
    for text in [playlist, list] {
      let path = try directory.write("list", Array(text.utf8))
      #expect(videoError { _ = try Sampled(path, SamplingRequest(frames: 2)) } != nil)
    }
  }

  @Test func emptyFile() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write("empty.mp4", [])
    guard case .empty? = videoError({ _ = try MediaInput(path: path) }) else {
      Issue.record("expected empty")
      return
    }
  }

  @Test func neitherFileNorDirectory() {
    guard case .notAFile? = videoError({ _ = try MediaInput(path: "/dev/null") }) else {
      Issue.record("expected notAFile")
      return
    }
  }

  @Test func unreadable() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write("secret.mp4", [1, 2, 3])
    try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: path)
    // The superuser reads everything; then it is no video.
    switch videoError({ _ = try Sampled(path, SamplingRequest(frames: 1)) }) {
    case .unreadable, .notVideo: break
    case let other: Issue.record("unexpected: \(String(describing: other))")
    }
  }

  @Test func soundOnly() throws {
    let directory = try TemporaryDirectory()
    // 0.1 s of silence: a canonical WAV header and 8-bit samples.
    func number(_ value: UInt32, _ bytes: Int) -> [UInt8] { (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
    let format = [(16, 4), (1, 2), (1, 2), (8000, 4), (8000, 4), (1, 2), (8, 2)].flatMap { number($0.0, $0.1) }
    let chunks = Array("WAVEfmt ".utf8) + format + Array("data".utf8) + number(800, 4)
    let header = Array("RIFF".utf8) + number(36 + 800, 4) + chunks
    let path = try directory.write("sound.wav", header + [UInt8](repeating: 128, count: 800))
    guard case .noVideoStream(path, let found)? = videoError({ _ = try Sampled(path, SamplingRequest(frames: 1)) }) else {
      Issue.record("expected noVideoStream")
      return
    }
    #expect(found == "1 audio stream")
  }

  @Test func streams() throws {
    let nasa = TestClips.tests.appending(path: "Clips/nasa.mp4").path
    let best = try Sampled(nasa, SamplingRequest(frames: 2))
    #expect(best.report.decodedFrames == 390 && best.frames[0].image.width == 480)
    let first = try Sampled(nasa, SamplingRequest(frames: 2, stream: 0))
    #expect(first.report.decodedFrames == 325 && first.frames[0].image.width == 320)
    guard case .noSuchStream(_, 1, [0, 3])? = videoError({ _ = try Sampled(nasa, SamplingRequest(frames: 2, stream: 1)) }) else {
      Issue.record("expected noSuchStream")
      return
    }
  }

  @Test func errorsAreOneLineWithoutControlCharacters() {
    let error = videoError { _ = try MediaInput(path: "/none/\u{1B}[31mred\nline") }
    let text = error.map { "\($0)" } ?? ""
    #expect(text.contains("red"))
    #expect(!text.unicodeScalars.contains { $0.value < 32 })
  }

  @Test(arguments: ["one_key.mp4", "hidden_vp8.webm", "b_frames.mp4"]) func cancelling(_ name: String) throws {
    let source = try MediaInput(path: TestClips.path(name))
    // Whenever it comes, it is obeyed at once.
    for limit in [0, 1, 5, 40, 200] {
      let counter = Counter()
      let error = videoError {
        _ = try source.sample(
          SamplingRequest(frames: 60),
          cancelled: {
            counter.value += 1
            return counter.value > limit
          }, onEvent: { _ in })
      }
      if counter.value > limit {
        guard case .cancelled? = error else {
          Issue.record("expected cancelled, after \(limit): \(String(describing: error))")
          return
        }
      }
    }
  }

  private final class Counter { var value = 0 }

  @Test func theCallersErrorComesBack() throws {
    struct Stop: Error {}
    let source = try MediaInput(path: TestClips.path("b_frames.mp4"))
    let error = videoError { _ = try source.sample(SamplingRequest(frames: 3)) { _ in throw Stop() } }
    guard case .consumerFailed(let inner)? = error else {
      Issue.record("expected consumerFailed")
      return
    }
    #expect(inner is Stop)
  }

  @Test func reportAsJSON() throws {
    let report = try Sampled(clip: "b_frames.mp4", 2).report
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    #expect(
      String(decoding: try encoder.encode(report), as: UTF8.self)
        == #"{"decoded_frames":40,"frames":[{"height":48,"index":0,"seconds":0,"width":64},"#
        + #"{"height":48,"index":39,"seconds":1.56,"width":64}],"rotation":0,"warnings":[]}"#)
  }
}
