import Foundation
import TestSupport
import Testing

/// `frames`: what a model would see.
@Suite struct FramesTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  @Test func jsonIsExactlyAsDocumented() throws {
    let outcome = try slowfast("frames", Repository.clip, "-n", "3", "--json")
    #expect(outcome.status == 0 && outcome.errors == "")
    let json = try outcome.json()
    #expect(Set(json.keys) == ["decoded_frames", "rotation", "frames", "warnings"])
    #expect(json["decoded_frames"] as? Int == 390 && json["rotation"] as? Int == 0 && (json["warnings"] as? [String]) == [])
    let frames = try #require(json["frames"] as? [[String: Any]])
    #expect(frames.allSatisfy { Set($0.keys) == ["index", "seconds", "width", "height"] })
    #expect(frames.map { $0["index"] as? Int } == [0, 194, 389])
    #expect(frames.allSatisfy { $0["width"] as? Int == 480 && $0["height"] as? Int == 270 })
    #expect(frames.first?["seconds"] as? Double == 0)
  }

  @Test func picturesAndSheet() throws {
    let outcome = try slowfast(
      "frames", Repository.clip, "-n", "3", "-o", directory.file("pictures"), "--sheet", directory.file("sheet.png"))
    #expect(outcome.status == 0 && outcome.output.split(separator: "\n").count == 3)
    let pictures = try FileManager.default.contentsOfDirectory(atPath: directory.file("pictures")).sorted()
    #expect(pictures == ["frame-0000-000000.png", "frame-0001-000194.png", "frame-0002-000389.png"])
    #expect(directory.contents == ["pictures", "sheet.png"])
    for path in pictures.map({ directory.file("pictures/" + $0) }) + [directory.file("sheet.png")] {
      #expect(try Data(contentsOf: URL(fileURLWithPath: path)).prefix(8) == Data([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]))
    }
    // They are a clip themselves, of the same size.
    let again = try slowfast("frames", directory.file("pictures"), "-n", "3", "--json").json()
    #expect(again["decoded_frames"] as? Int == 3)
    #expect((again["frames"] as? [[String: Any]])?.allSatisfy { $0["width"] as? Int == 480 && $0["height"] as? Int == 270 } == true)
  }

  @Test func theSheetsNameDecidesItsFormat() throws {
    #expect(try slowfast("frames", Repository.clip, "-n", "2", "--sheet", directory.file("a.jpg")).status == 0)
    #expect(try Data(contentsOf: URL(fileURLWithPath: directory.file("a.jpg"))).prefix(3) == Data([0xFF, 0xD8, 0xFF]))
    let outcome = try slowfast("frames", Repository.clip, "-n", "2", "--sheet", directory.file("a.webp"))
    #expect(outcome.status == 2 && outcome.output == "", "\(outcome.errors)")
    #expect(outcome.errors.contains("a.webp") && outcome.errors.contains("ends in .png, .jpg or .jpeg"))
    #expect(directory.contents == ["a.jpg"])
  }

  @Test func rangeAndStream() throws {
    let json = try slowfast("frames", Repository.clip, "-n", "2", "--start", "2", "--end", "4", "--stream", "0", "--json").json()
    let frames = try #require(json["frames"] as? [[String: Any]])
    #expect(frames.allSatisfy { ($0["seconds"] as? Double).map { $0 >= 2 && $0 < 4 } == true && $0["width"] as? Int == 320 })
  }

  @Test func whereNothingCanBeWritten() throws {
    try slowfast("frames", Repository.clip, "-n", "1", "--sheet", directory.file("none/sheet.png")).expectBadInput("none/sheet.png")
    let file = try directory.write("file", Data())
    try slowfast("frames", Repository.clip, "-n", "1", "-o", file).expectBadInput("file")
    #expect(directory.contents == ["file"])
  }
}
