import Foundation
import TestSupport
import Testing
import Video

/// Images that could give wrong pixels without a word: animations, cut files, sizes, and what libav decodes to something else.
@Suite struct UnusualImageTests {
  private func report(_ name: String, _ frames: Int = 1) throws -> Sampled {
    try Sampled(TestClips.path(name), SamplingRequest(frames: frames))
  }

  private func message(_ bytes: [UInt8]) throws -> String {
    let directory = try TemporaryDirectory()
    let path = try directory.write("picture", bytes)
    let text = videoError { _ = try Sampled(path, SamplingRequest(frames: 1)) }.map { "\($0)" } ?? ""
    return text.replacingOccurrences(of: path, with: "picture")
  }

  @Test(arguments: ["four_colours.png", "four_colours.gif"]) func animationsGiveTheirFrames(_ name: String) throws {
    let sampled = try report(name, 4)
    #expect(sampled.report.decodedFrames == 4)
    #expect(sampled.frames.map { Array($0.image.pixels.prefix(3)) } == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]])
  }

  @Test func animatedWebPIsRefused() throws {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: TestClips.path("four_colours.webp"))))
    #expect(try message(bytes) == "picture: animated WebP is not supported; save it as GIF, animated PNG or video")
  }

  @Test(arguments: ["half_baseline.jpg", "half_progressive.jpg"]) func halfAJPEGHasAWarning(_ name: String) throws {
    let sampled = try report(name)
    #expect(sampled.frames[0].image.width == 64 && sampled.frames[0].image.height == 64)
    #expect(
      sampled.report.warnings == [
        "\(TestClips.path(name)): damaged: the file ends before its picture does; the rest is made up by the decoder"
      ])
  }

  /// The product of two such sides is no number that an `Int` holds.
  @Test(arguments: [
    [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52]
      + [UInt8](repeating: 0xFF, count: 8) + [8, 2, 0, 0, 0, 0, 0, 0, 0],
    Array("P6 9223372036854775807 9223372036854775807 255\n".utf8),
  ])
  func sidesBeyondAllMeasure(_ bytes: [UInt8]) throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write("picture", bytes)
    #expect(try MediaInput(path: path).pictureSize == nil)
    for input in [try MediaInput(path: path), try MediaInput(path: directory.path)] {
      _ = try? input.decodingMemory()
      #expect(videoError { _ = try input.sample(SamplingRequest(frames: 1)) { _ in } } != nil)
    }
  }

  @Test func halfAQOI() throws {
    let directory = try TemporaryDirectory()
    let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: TestClips.path("images/plain.qoi"))))
    let path = try directory.write("a.qoi", Array(whole.prefix(whole.count / 2)))
    let warnings = try Sampled(path, SamplingRequest(frames: 1)).report.warnings
    #expect(warnings == ["\(path): damaged: the file ends before its picture does; the rest is made up by the decoder"])
  }

  /// Every other format: an error.
  @Test(arguments: [
    "plain.png", "plain.bmp", "plain_lzw.tif", "grey_16.tif", "turned_1.webp", "half_chroma.webp", "full.avif", "plain.heic", "plain.jp2",
    "plain.ppm",
  ])
  func halfAnImage(_ name: String) throws {
    let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: TestClips.path("images/\(name)"))))
    #expect(try message(Array(whole.prefix(whole.count / 2))).hasPrefix("picture: the image does not decode: "))
  }

  @Test func jpegLS() throws {
    let header: [UInt8] = [0xFF, 0xD8, 0xFF, 0xF7, 0, 11, 8, 0, 2, 0, 2, 1, 1, 0x11, 0]
    #expect(try message(header) == "picture: JPEG-LS is not supported; save it as PNG")
  }

  @Test func largeFilmsAreNamed() throws {
    #expect(
      try message(Array("YUV4MPEG2 W16320 H12240 F25:1 Ip C420\nFRAME\n".utf8) + [UInt8](repeating: 0, count: 1000))
        == "picture: 16320×12240 pixels (200 megapixels) are too large; at most 134 megapixels are taken")
  }

  /// What follows a whole picture is no damage: other pictures, rubbish, zeros.
  @Test func wholeJPEGsHaveNone() throws {
    for name in ["plain.jpg", "progressive.jpg", "rubbish_behind.jpg", "turned_6.jpg"] {
      #expect(try report("images/\(name)").report.warnings == [])
    }
  }

  /// The size is looked at before anything is decoded: these are headers only.
  @Test func largePicturesAreNamed() throws {
    func big(_ number: Int, _ count: Int = 4) -> [UInt8] { (0..<count).reversed().map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }
    // In parts of one type: a sum of so many literals is beyond Swift 6.2's type checker.
    func joined(_ parts: [[UInt8]]) -> [UInt8] { parts.flatMap { $0 } }
    func little(_ number: Int, _ count: Int = 4) -> [UInt8] { big(number, count).reversed() }
    func text(_ text: String) -> [UInt8] { Array(text.utf8) }
    let png = joined([[0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A], big(13), text("IHDR"), big(16320), big(12240), [1, 0, 0, 0, 0]])
    let jpeg = joined([[0xFF, 0xD8, 0xFF, 0xC0], big(17, 2), [8], big(12240, 2), big(16320, 2), [UInt8](repeating: 0, count: 10)])
    let webp = joined([text("RIFF"), [22, 0, 0, 0], text("WEBPVP8X"), [10, 0, 0, 0, 0, 0, 0, 0], little(16319, 3), little(12239, 3)])
    let bmp = joined([
      text("BM"), [UInt8](repeating: 0, count: 12), [40, 0, 0, 0], little(16320), little(-12240), [1, 0, 24, 0, 0, 0, 0, 0],
    ])
    let pixmap = Array("P6\n# from a camera\n16320 12240\n255\n".utf8)
    for bytes in [png, jpeg, webp, bmp, pixmap, tiff([256: 16320, 257: 12240])] {
      #expect(try message(bytes) == "picture: 16320×12240 pixels (200 megapixels) are too large; at most 134 megapixels are taken")
    }
  }

  @Test(arguments: [
    ([259: 7], "with JPEG inside"), ([259: 6], "with JPEG inside"), ([259: 50000], "with Zstandard inside"),
    ([259: 50001], "with WebP inside"),
    ([259: 34712], "with JPEG 2000 inside"), ([259: 34887], "with LERC inside"), ([259: 4711], "of compression 4711"),
    ([322: 16, 323: 16], "in tiles"), ([339: 2], "of signed numbers"), ([339: 3], "of floating-point numbers"),
    ([258: 12, 262: 1, 277: 1], "of 12-bit grey"), ([258: 32, 262: 1, 277: 1], "of 32-bit grey"), ([258: 32], "of 32-bit RGB"),
    ([262: 8], "of CIE L*a*b* with 3 components"), ([262: 6], "of YCbCr with 3 components"),
    ([262: 32803, 277: 1], "of photometric interpretation 32803 with 1 components"),
    ([277: 5], "of RGB with 5 components"),
    ([284: 2, 258: 16], "in planes of 16-bit components"), ([284: 2, 262: 5, 277: 4], "in planes of 8-bit CMYK"),
    ([50706: 1], "of raw sensor data (DNG)"), ([254: 1], "whose first picture is a thumbnail (a raw photograph?)"),
  ]) func tiffsThatLibavDoesNotDecodeRight(_ tags: [Int: Int], _ kind: String) throws {
    #expect(try message(tiff(tags)) == "picture: TIFF \(kind) is not supported; save it as PNG")
  }

  @Test func bigTIFF() throws {
    #expect(
      try message([0x49, 0x49, 0x2B, 0, 8, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0])
        == "picture: BigTIFF is not supported; save it as TIFF or PNG")
  }

  /// The same TIFF with a few tags as they should be: decodes, so that the others are refused for their tag alone.
  @Test func thePlainTIFFDecodes() throws {
    let directory = try TemporaryDirectory()
    let sampled = try Sampled(try directory.write("a", tiff([:])), SamplingRequest(frames: 1))
    #expect(sampled.frames[0].image.pixels == (0..<12).map { UInt8($0) } && sampled.report.warnings == [])
  }

  /// 2 × 2 pixels 0 … 11 of RGB, tags replaced or added.
  private func tiff(_ tags: [Int: Int]) -> [UInt8] {
    let all = [256: 2, 257: 2, 258: 8, 259: 1, 262: 2, 273: 8, 277: 3, 278: 2, 279: 12].merging(tags) { $1 }
    func little(_ number: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }
    var bytes: [UInt8] = [0x49, 0x49, 0x2A, 0]
    bytes += little(20, 4)
    bytes += (0..<12).map { UInt8($0) }
    bytes += little(all.count, 2)
    for (tag, value) in all.sorted(by: { $0.key < $1.key }) {
      for (number, count) in [(tag, 2), (4, 2), (1, 4), (value, 4)] { bytes += little(number, count) }
    }
    return bytes + little(0, 4)
  }

  /// Ten bits in five columns of 16: 0, 64, 512, 940, 1023. The values are by hand: v · 255 / 1023, and (v − 64) · 255 / 876 where the
  /// range is limited.
  @Test(arguments: [
    ("grey_10.mkv", [0, 16, 128, 234, 255]), ("grey_10_full.mkv", [0, 16, 128, 234, 255]), ("grey_10_limited.mkv", [0, 0, 130, 255, 255]),
  ]) func greyOfTenBits(_ name: String, _ levels: [UInt8]) throws {
    let image = try report(name).frames[0].image
    let row = 8 * image.width
    let found = (0..<5).map { (column: Int) -> UInt8 in image.pixels[(row + column * 16 + 8) * 3] }
    #expect(found == levels)
  }

  /// A decoder that refuses its settings has not run out of memory: the image is damaged.
  @Test func damagedSettings() throws {
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: TestClips.path("images/plain.heic"))))
    let name = Array("hvcC".utf8)
    let place = try #require((0..<bytes.count - 50).first { bytes[$0..<$0 + 4].elementsEqual(name) })
    // The number of bytes of the first parameter set.
    bytes[place + 4 + 26] = 0xFF
    let directory = try TemporaryDirectory()
    let path = try directory.write("damaged.heic", bytes)
    guard case .damagedImage? = videoError({ _ = try Sampled(path, SamplingRequest(frames: 1)) }) else {
      Issue.record("expected damagedImage")
      return
    }
  }

  /// Whatever is changed or cut in an image, there is a picture or an error of this module; never a trap.
  @Test(arguments: [
    "turned_6.avif", "tiles.avif", "alpha.avif", "plain.heic", "plain_lzw.tif", "turned_5.png", "turned_3.webp", "plain.jp2",
    "turned_6.jpg", "plain.qoi",
  ])
  func anyDamage(_ name: String) throws {
    let directory = try TemporaryDirectory()
    let original = [UInt8](try Data(contentsOf: URL(fileURLWithPath: TestClips.path("images/\(name)"))))
    var random = SeededNumbers(UInt64(name.utf8.count))
    for round in 0..<60 {
      var bytes = original
      if round % 3 == 0 { bytes.removeLast(Int(random.next() % UInt64(bytes.count))) }
      // Containers are at the beginning, coded pictures behind.
      let reach = round % 2 == 0 ? min(bytes.count, 400) : bytes.count
      for _ in 0..<(round % 5 + 1) where reach > 0 { bytes[Int(random.next() % UInt64(reach))] = UInt8(truncatingIfNeeded: random.next()) }
      let path = try directory.write("damaged", bytes)
      do { _ = try Sampled(path, SamplingRequest(frames: 1)) } catch { #expect(error is VideoError) }
    }
  }
}
