import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: SmallDisk.isPossible, "needs the right to mount a tmpfs"))
struct DiskFullTests {
  /// The command's output on a disk too small for it.
  private func expectFull(_ name: String, _ arguments: (String) throws -> [String], location: SourceLocation = #_sourceLocation) throws {
    let disk = try #require(SmallDisk(kibibytes: 256))
    let output = "\(disk.path)/\(name)"
    try Run(try arguments(output)).finish().expectBadInput(name, location: location)
    #expect(try FileManager.default.contentsOfDirectory(atPath: disk.path) == [], sourceLocation: location)
  }

  @Test func convert() throws { try expectFull("model.sfq") { ["convert", Repository.golden("clip"), $0, "--bits", "16"] } }

  /// Room for one file more, where a conversion begins two.
  @Test func noRoomForAName() throws {
    for names in [1, 2] {
      let disk = try #require(SmallDisk(kibibytes: 4096, names: names))
      try slowfast("convert", Repository.golden("slowfast-clip"), disk.path + "/model.sfq").expectBadInput("model.sfq")
      #expect(try FileManager.default.contentsOfDirectory(atPath: disk.path) == [], "\(names)")
    }
  }

  @Test func unpack() throws { try expectFull("raw.sfq") { ["unpack", try Fixture.model(), $0] } }

  @Test func trace() throws {
    try expectFull("trace.safetensors") {
      ["trace", try Fixture.model(), "--video", Repository.clip, "--frames", "4", "-q", "hi", "-o", $0]
    }
  }

  @Test func sheet() throws { try expectFull("sheet.png") { ["frames", Repository.clip, "-n", "16", "--sheet", $0] } }
}
