import Foundation
import TestSupport
import Testing
import Video

/// What a directory holds beside the usual pictures: taken or named.
@Suite struct ImageDirectoryTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func copy(_ source: String, _ name: String) throws {
    try directory.write(name, [UInt8](Data(contentsOf: URL(fileURLWithPath: TestClips.path(source)))))
  }

  private func sampled(_ frames: Int) throws -> Sampled { try Sampled(directory.path, SamplingRequest(frames: frames)) }

  @Test func picturesOfEveryFormatAreTaken() throws {
    for (place, name) in ["plain.bmp", "turned_1.avif", "plain.heic", "plain.jp2", "plain.ppm", "plain.qoi", "turned_1.webp"].enumerated() {
      try copy("images/\(name)", "\(place).\(name)")
    }
    let sampled = try sampled(7)
    #expect(sampled.report.decodedFrames == 7 && sampled.report.warnings == [])
    #expect(sampled.frames.map { $0.image.width } == [7] + [Int](repeating: 24, count: 6))
  }

  @Test func anAnimationGivesItsFirstPicture() throws {
    try copy("four_colours.gif", "a.gif")
    try copy("four_colours.png", "b.png")
    let sampled = try sampled(2)
    #expect(sampled.frames.map { Array($0.image.pixels.prefix(3)) } == [[255, 0, 0], [255, 0, 0]])
    #expect(
      sampled.report.warnings
        == ["a.gif", "b.png"].map { "\(directory.file($0)): the first of its pictures is taken, 3 more are left out" })
  }

  @Test func otherFilesAreNamed() throws {
    try copy("images/plain.png", "a.png")
    for name in ["1.tga", "2.mp4", "3.txt", "4", "5", "6", ".hidden"] { try directory.write(name, Array("no picture at all".utf8)) }
    try directory.write("empty.png", "")
    try FileManager.default.createSymbolicLink(atPath: directory.file("nowhere.png"), withDestinationPath: "/none/a.png")
    try FileManager.default.createDirectory(atPath: directory.file("more"), withIntermediateDirectories: true)
    #expect(
      try sampled(1).report.warnings == [
        "\(directory.path): 6 files are of no known image format and left out: \"1.tga\", \"2.mp4\", \"3.txt\", \"4\", \"5\" and 1 more",
        "left out: \(directory.file("empty.png")): the file is empty",
        "left out: \(directory.file("nowhere.png")): no such file or directory",
      ])
  }

  @Test func picturesThatAreRefusedAreNamed() throws {
    try copy("images/plain.png", "a.png")
    try copy("four_colours.webp", "b.webp")
    let sampled = try sampled(2)
    #expect(sampled.report.decodedFrames == 1)
    #expect(
      sampled.report.warnings == [
        "left out: \(directory.file("b.webp")): animated WebP is not supported; save it as GIF, animated PNG or video"
      ])
  }

  @Test func withoutImagesTheErrorSaysWhatIsThere() throws {
    func found() -> String { videoError { _ = try MediaInput(path: directory.path) }.map { "\($0)" } ?? "" }
    let start = "\(directory.path): no image in this directory"
    #expect(found() == "\(start), which is empty")
    try directory.write("notes.txt", "no image")
    try FileManager.default.createDirectory(atPath: directory.file("more"), withIntermediateDirectories: true)
    #expect(found() == "\(start), only 1 file of other kinds (\"notes.txt\") and 1 directory")
    try FileManager.default.removeItem(atPath: directory.file("notes.txt"))
    try directory.write("empty.png", "")
    #expect(found() == "\(start), only 1 that cannot be read (\(directory.file("empty.png")): the file is empty) and 1 directory")
  }
}
