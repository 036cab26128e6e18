import Foundation
import TestSupport
import Testing
import Video

/// Image files and directories of them.
@Suite struct ImageTests {
  struct Described: Decodable, Sendable {
    let width: Int, height: Int
    let pixels: Data
  }
  static let images: [String: Described] = (try? TestClips.decode("images.json")) ?? [:]

  @Test func theImagesAreThere() { #expect(ImageTests.images.count == 96) }

  /// Lossless formats of 8 bits exactly; JPEG within three levels of Pillow's decoder, AVIF and HEIC within one of theirs; 16 bits of
  /// colour and CMYK within one, which Pillow rounds down.
  @Test(arguments: images.keys.sorted()) func pixels(_ name: String) throws {
    let expected = try #require(ImageTests.images[name])
    let path = TestClips.path("images/\(name)")
    #expect(try MediaInput(path: path).kind == .image)
    let sampled = try Sampled(path, SamplingRequest(frames: 1))
    let image = sampled.frames[0].image
    #expect(image.width == expected.width && image.height == expected.height)
    let difference = zip(image.pixels, expected.pixels).map { abs(Int($0) - Int($1)) }.max()
    #expect((difference ?? 255) <= tolerance(name))
  }

  private func tolerance(_ name: String) -> Int {
    if name.hasSuffix(".jpg") { return 3 }
    return name.hasSuffix(".avif") || ["half_chroma.webp", "luma_and_chroma.jp2"].contains(name) || name.hasSuffix(".heic")
      || name.hasPrefix("cmyk") || name.contains("_16") && !name.hasPrefix("grey") ? 1 : 0
  }

  @Test(arguments: ["png", "webp", "tif", "avif"]) func rotationOfOtherFormats(_ ending: String) throws {
    let turns = try [1, 3, 6, 8].map {
      try Sampled(TestClips.path("images/turned_\($0).\(ending)"), SamplingRequest(frames: 1)).report.rotation
    }
    #expect(turns == [0, -180, -90, 90])
  }

  @Test func rotationOfAPhotograph() throws {
    #expect(try Sampled(TestClips.path("images/turned_6.jpg"), SamplingRequest(frames: 1)).report.rotation == -90)
    #expect(try Sampled(TestClips.path("images/turned_8.jpg"), SamplingRequest(frames: 1)).report.rotation == 90)
    #expect(try Sampled(TestClips.path("images/turned_1.jpg"), SamplingRequest(frames: 1)).report.rotation == 0)
  }

  @Test func anImageIsAClipOfOneFrame() throws {
    let sampled = try Sampled(TestClips.path("images/plain.png"), SamplingRequest(frames: 3))
    #expect(sampled.frames.map(\.index) == [0, 0, 0])
    #expect(sampled.frames.map(\.isRepeat) == [false, true, true])
    #expect(sampled.report.decodedFrames == 1)
  }

  @Test func aBrokenImage() throws {
    let directory = try TemporaryDirectory()
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: TestClips.path("images/plain.png"))))
    let path = try directory.write("cut.png", Array(bytes.prefix(30)))
    guard case .damagedImage(path, _)? = videoError({ _ = try Sampled(path, SamplingRequest(frames: 1)) }) else {
      Issue.record("expected damagedImage")
      return
    }
  }

  @Test func aDirectoryInNaturalOrder() throws {
    let directory = try TemporaryDirectory()
    // The level of each image is its place.
    for (level, name) in ["a1.png", "a2.png", "a10.png", "a10b.png", "b.png"].enumerated() {
      try RGBImage(width: 2, height: 2, pixels: [UInt8](repeating: UInt8(level), count: 12)).writePNG(to: directory.file(name))
    }
    try directory.write("notes.txt", Array("no image".utf8))
    try directory.write(".hidden.png", [0x89])
    let sampled = try Sampled(directory.path, SamplingRequest(frames: 5))
    #expect(sampled.frames.map { $0.image.pixels[0] } == [0, 1, 2, 3, 4])
    #expect(sampled.frames.map(\.seconds) == [0, 1, 2, 3, 4])
    #expect(try Sampled(directory.path, SamplingRequest(frames: 2, start: 1, end: 3)).frames.map(\.index) == [1, 2])
  }

  @Test func brokenImagesOfADirectoryAreLeftOut() throws {
    let directory = try TemporaryDirectory()
    for level in 0..<4 {
      try RGBImage(width: 2, height: 2, pixels: [UInt8](repeating: UInt8(level), count: 12)).writePNG(to: directory.file("\(level).png"))
    }
    try directory.write("2.png", [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0, 0])
    let sampled = try Sampled(directory.path, SamplingRequest(frames: 4))
    #expect(sampled.frames.map { $0.image.pixels[0] } == [0, 0, 1, 3])
    #expect(sampled.report.decodedFrames == 3)
    #expect(sampled.report.warnings.count == 1 && sampled.report.warnings[0].contains("2.png"))
  }
}
