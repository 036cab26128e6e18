import Foundation
import TestSupport
import Testing
import Video

/// What a Matroska file says of its own length: an EBML header, and a segment whose length is bytes 12 to 19.
struct MatroskaLengthTests {
  private static let header: [UInt8] = [0x1A, 0x45, 0xDF, 0xA3, 0x83, 0x42, 0x86, 0x81]
  private static let segment: [UInt8] = [0x18, 0x53, 0x80, 0x67, 0x01, 0, 0, 0, 0, 0, 0x01, 0x00]

  @Test func bytesThatAreNotThere() {
    let file = Self.header + Self.segment
    #expect(MatroskaLength.missing(file, byteCount: 20 + 256) == nil)
    #expect(MatroskaLength.missing(file, byteCount: 20 + 255) == 1)
    #expect(MatroskaLength.missing(file, byteCount: 20) == 256)
    // Of unknown length, as a live stream's.
    #expect(
      MatroskaLength.missing(Self.header + [0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], byteCount: 20) == nil)
    // As long as a number can be.
    #expect(
      MatroskaLength.missing(Self.header + [0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE], byteCount: 20) != nil)
  }

  @Test func otherBytes() {
    let cutShort: [UInt8] = Self.header.dropLast() + [0xFF]
    let zeros = [UInt8](repeating: 0, count: 9)
    let others: [[UInt8]] = [[], [0x1A], Self.header, Array("RIFF0000WEBP".utf8), cutShort, Self.header + zeros]
    for bytes in others {
      #expect(MatroskaLength.missing(bytes, byteCount: 100) == nil)
    }
  }

  /// A file of the tests, whole and cut.
  @Test func aCutFileIsTold() throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Data")
    let directory = try TemporaryDirectory()
    for name in ["av1.mkv", "hidden_vp9.webm", "irregular.mkv"] {
      let bytes = try Data(contentsOf: folder.appendingPathComponent(name))
      let cut = try directory.write(name, bytes.prefix(bytes.count * 4 / 5))
      #expect(
        try Sampled(folder.appendingPathComponent(name).path, SamplingRequest(frames: 2)).report.warnings.allSatisfy {
          !$0.contains("before its end")
        })
      let warnings = try Sampled(cut, SamplingRequest(frames: 2)).report.warnings
      #expect(warnings.contains { $0.contains("bytes before its end") }, "\(name): \(warnings)")
    }
  }
}
