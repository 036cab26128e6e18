import Foundation
import Support
import TestSupport
import Testing
import Video

/// Names are bytes: also those that are no UTF-8 are opened, listed and written.
@Suite struct FileNameTests {
  static let names: [[UInt8]] = [
    [], Array("plain.png".utf8), Array("grün 映画 \u{1F3AC}".utf8), [0x70, 0xE9, 0x2E], [0xE9], [0xC3], [0xC3, 0x28], [0xF0, 0x9F, 0x8E],
    [0xED, 0xA0, 0x80], [0xC0, 0xAF], [0xFF, 0xFE, 0x80], Array("\u{10FEE9}\u{10FDFF}\u{10FF00}".utf8), [0xE9] + Array("\u{10FE80}é".utf8),
  ]

  @Test(arguments: names) func bytesComeBack(_ bytes: [UInt8]) {
    let name = String(fileName: bytes)
    #expect(name.fileNameBytes == bytes)
    #expect(
      name.withFileName { Array(UnsafeBufferPointer(start: $0, count: bytes.count + 1)) } == bytes.map { CChar(bitPattern: $0) } + [0])
    if let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0xF4) { #expect(name == text) }
  }

  @Test func everyByteBesideText() {
    for byte in UInt8.min...UInt8.max { #expect(String(fileName: [0x61, byte, 0x62]).fileNameBytes == [0x61, byte, 0x62]) }
  }

  @Test func messagesShowTheByte() {
    #expect(String(fileName: [0x70, 0x32, 0x5F, 0xE9, 0x2E, 0x70]).quoted == #""p2_\xe9.p""#)
  }

  @Test func filesAndEntriesAreReadAndWritten() throws {
    let directory = try TemporaryDirectory()
    let odd = directory.file(String(fileName: [0x70, 0x32, 0x5F, 0xE9]))
    for (level, path) in [directory.file("p1.png"), odd, directory.file("p3.png")].enumerated() {
      try RGBImage(width: 2, height: 2, pixels: [UInt8](repeating: UInt8(level), count: 12)).writePNG(to: path)
    }
    #expect(try Sampled(odd, SamplingRequest(frames: 1)).frames[0].image.pixels[0] == 1)
    let sampled = try Sampled(directory.path, SamplingRequest(frames: 3))
    #expect(sampled.frames.map { $0.image.pixels[0] } == [0, 1, 2] && sampled.report.warnings == [])
    var bytes: [[UInt8]] = []
    let handle = try #require(opendir(directory.path))
    while let entry = readdir(handle) { bytes.append(withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }) }
    closedir(handle)
    #expect(bytes.contains([0x70, 0x32, 0x5F, 0xE9]))
  }

  @Test func errorsNameTheByte() {
    let error = videoError { _ = try MediaInput(path: String(fileName: Array("/none/".utf8) + [0xE9])) }
    #expect(error.map { "\($0)" } == #"/none/\xe9: no such file or directory"#)
  }
}
