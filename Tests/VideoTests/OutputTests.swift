import Foundation
import TestSupport
import Testing
import Video

/// PNG files and the contact sheet.
@Suite struct OutputTests {
  private func noise(_ width: Int, _ height: Int) throws -> RGBImage {
    var random = SeededNumbers(7)
    let pixels = (0..<width * height * 3).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    return try RGBImage(width: width, height: height, pixels: pixels)
  }

  @Test(arguments: [(1, 1), (37, 5), (64, 48), (3, 100)]) func pngsReadBack(_ width: Int, _ height: Int) throws {
    let directory = try TemporaryDirectory()
    let image = try noise(width, height)
    try image.writePNG(to: directory.file("a.png"))
    #expect(try Sampled(directory.file("a.png"), SamplingRequest(frames: 1)).frames[0].image == image)
    // Nothing else is left there, and a second writing replaces the first.
    try noise(2, 2).writePNG(to: directory.file("a.png"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["a.png"])
  }

  /// The file is a JPEG of its first bytes, as near to the picture as such a file is: within two levels in the mean.
  @Test(arguments: [(64, 48), (17, 9), (1, 1)]) func jpegsReadBack(_ width: Int, _ height: Int) throws {
    let directory = try TemporaryDirectory()
    var pixels: [UInt8] = []
    for y in 0..<height {
      for x in 0..<width { pixels += [UInt8(x * 255 / width), UInt8(y * 255 / height), UInt8((x + y) % 256)] }
    }
    let image = try RGBImage(width: width, height: height, pixels: pixels)
    try image.write(.jpeg, to: directory.file("a.jpg"))
    #expect(try Data(contentsOf: URL(fileURLWithPath: directory.file("a.jpg"))).prefix(3) == Data([0xFF, 0xD8, 0xFF]))
    let sampled = try Sampled(directory.file("a.jpg"), SamplingRequest(frames: 1))
    let read = sampled.frames[0].image
    #expect(read.width == width && read.height == height && sampled.report.warnings == [])
    let error = zip(read.pixels, pixels).map { abs(Int($0) - Int($1)) }.reduce(0, +)
    #expect(error <= 2 * pixels.count)
  }

  @Test func namesTellTheFormat() {
    #expect(["a.png", "b/c.PNG", ".x.jpg", "a.b.JPEG"].map { PictureFormat(path: $0) } == [.png, .png, .jpeg, .jpeg])
    for name in ["", "a", "png", "a.png/", "a.png/b", "a.webp", "a.pngx", "a."] { #expect(PictureFormat(path: name) == nil) }
  }

  @Test func whereNothingCanBeWritten() throws {
    let directory = try TemporaryDirectory()
    for path in [directory.file("none/a.png"), directory.path, ""] {
      guard case .output? = videoError({ try noise(2, 2).writePNG(to: path) }) else {
        Issue.record("expected a refusal: \(path)")
        return
      }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == [])
  }

  @Test func sheetShowsEveryFrame() throws {
    let frames = try Sampled(clip: "b_frames.mp4", 7).frames
    var sheet = try ContactSheet(count: 7, first: frames[0].image, thumbnailWidth: 128)
    let empty = sheet.image
    for frame in frames {
      let before = sheet.image
      sheet.add(frame.sampled, at: frame.position)
      #expect(sheet.image != before)
    }
    #expect(sheet.image.width == empty.width && sheet.image.height == empty.height)
    // The label's ink.
    #expect(sheet.image.pixels.contains(230))
  }

  @Test func sheetsStayWithinTheirLimits() throws {
    let tall = try noise(4, 4000)
    for count in [1, 2, 63, 1000] {
      let image = try ContactSheet(count: count, first: tall).image
      #expect(image.width <= ContactSheet.sideLimit && image.height <= ContactSheet.sideLimit)
    }
    for count in [0, -1, Int.max] {
      guard case .invalidSheet(count, _)? = videoError({ _ = try ContactSheet(count: count, first: tall) }) else {
        Issue.record("expected invalidSheet")
        return
      }
    }
  }

  /// Frames of another shape than the first fit into its box.
  @Test func framesOfAnyShape() throws {
    let frames = try Sampled(clip: "two_sizes.ts", 20).frames
    var sheet = try ContactSheet(count: 20, first: frames[0].image)
    for frame in frames { sheet.add(frame.sampled, at: frame.position) }
    #expect(Set(frames.map(\.image.width)) == [64, 80])
  }
}
