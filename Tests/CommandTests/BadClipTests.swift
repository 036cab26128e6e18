import Foundation
import TestSupport
import Testing

/// Files that are no video: one line, status 1, nothing written.
@Suite struct BadClipTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func expectRefused(_ path: String, _ words: String..., location: SourceLocation = #_sourceLocation) throws {
    let sheet = directory.file("sheet.png")
    for arguments in [
      ["run", try Fixture.model(), path, "-q", "hi", "--frames", "2"], ["frames", path, "-n", "2", "--sheet", sheet],
      ["trace", try Fixture.model(), "--video", path, "-q", "hi", "-o", directory.file("trace.safetensors")],
    ] {
      let outcome = try Run(arguments).finish()
      outcome.expectBadInput(URL(fileURLWithPath: path).lastPathComponent, location: location)
      for word in words { #expect(outcome.errors.contains(word), "\(outcome.errors)", sourceLocation: location) }
    }
    #expect(!directory.contents.contains("sheet.png") && !directory.contents.contains("trace.safetensors"), sourceLocation: location)
  }

  @Test func missing() throws { try expectRefused(directory.file("none.mp4"), "no such file") }

  @Test func empty() throws { try expectRefused(directory.write("empty.mp4", Data()), "empty") }

  @Test func text() throws {
    try expectRefused(directory.write("novel.mp4", Data(String(repeating: "It was a dark night.\n", count: 50).utf8)))
  }

  @Test func emptyDirectory() throws {
    let path = directory.file("pictures")
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try expectRefused(path, "no image")
  }

  /// A second of silence, with the header that says so.
  @Test func soundOnly() throws {
    func little(_ value: UInt32, _ count: Int) -> Data { Data((0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt32($0))) }) }
    let samples: UInt32 = 16000
    var wave = Data("RIFF".utf8) + little(36 + samples, 4)
    wave += Data("WAVEfmt ".utf8) + little(16, 4)
    for (value, count) in [(1, 2), (1, 2), (8000, 4), (16000, 4), (2, 2), (16, 2)] { wave += little(UInt32(value), count) }
    wave += Data("data".utf8) + little(samples, 4)
    wave += Data(count: Int(samples))
    try expectRefused(directory.write("sound.wav", wave), "no video stream")
  }

  @Test(.enabled(if: geteuid() != 0, "root reads everything")) func unreadable() throws {
    let path = try directory.write("locked.mp4", try Data(contentsOf: URL(fileURLWithPath: Repository.clip)))
    chmod(path, 0)
    try expectRefused(path)
  }

  @Test func noSuchStream() throws {
    try slowfast("frames", Repository.clip, "-n", "2", "--stream", "99").expectBadInput("nasa.mp4", "99")
  }

  @Test func noFrameInTheRange() throws {
    try slowfast("frames", Repository.clip, "-n", "2", "--start", "1000").expectBadInput("nasa.mp4", "1000")
  }

  /// A name that would colour the terminal and break the line is printed escaped.
  @Test func controlCharactersInAName() throws {
    for arguments in [
      ["frames", directory.file("a\u{1B}[31m\nb.mp4"), "-n", "2"], ["inspect", directory.file("a\u{1B}[31m\nb.mp4")],
      ["convert", directory.file("a\u{1B}[31m\nb.mp4"), directory.file("out")],
    ] {
      let outcome = try Run(arguments).finish()
      outcome.expectBadInput("a\\u{1b}[31m\\")
      #expect(!outcome.errors.contains("\u{1B}"))
    }
  }
}
