import Foundation
import Testing
import Video

/// Films of many codecs, containers, pixel formats, matrices, ranges, sizes and turns against what their planes say: see
/// `Data/make_films.py`.
@Suite struct FilmTests {
  struct Described: Decodable, Sendable {
    let width: Int, height: Int, frames: Int
    /// Of every so-many-th row, every so-many-th pixel is in `pixels`.
    let step: Int
    let tolerance: Int
    let pixels: Data
  }
  static let films: [String: Described] = (try? TestClips.decode("films.json")) ?? [:]

  @Test func theFilmsAreThere() { #expect(FilmTests.films.count == 181) }

  @Test(arguments: films.keys.sorted()) func theLastFrame(_ name: String) throws {
    let expected = try #require(FilmTests.films[name])
    let sampled = try Sampled(TestClips.path("films/\(name)"), SamplingRequest(frames: expected.frames))
    #expect(sampled.report.decodedFrames == expected.frames && sampled.frames.map(\.index) == Array(0..<expected.frames))
    let image = try #require(sampled.frames.last).image
    #expect(image.width == expected.width && image.height == expected.height)
    var pixels: [UInt8] = []
    for row in stride(from: 0, to: image.height, by: expected.step) {
      for column in stride(from: 0, to: image.width, by: expected.step) {
        let start = (row * image.width + column) * 3
        pixels += image.pixels[start..<start + 3]
      }
    }
    #expect(pixels.count == expected.pixels.count)
    let difference = zip(pixels, expected.pixels).map { abs(Int($0) - Int($1)) }.max()
    #expect((difference ?? 255) <= expected.tolerance, "\(name)")
  }

  /// Frames are not stretched to square pixels, which is told.
  @Test(arguments: ["mp4", "mkv", "mov", "ts"]) func pixelsThatAreNotSquare(_ ending: String) throws {
    let warnings = try Sampled(TestClips.path("films/h264_wide_pixels.\(ending)"), SamplingRequest(frames: 1)).report.warnings
    #expect(warnings.count == 1 && warnings[0].contains("pixels are not square (16:11)"), "\(warnings)")
    #expect(try Sampled(TestClips.path("films/h264_plain.\(ending)"), SamplingRequest(frames: 1)).report.warnings.isEmpty)
  }
}
