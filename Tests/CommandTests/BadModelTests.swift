import Foundation
import ModelFile
import TestSupport
import Testing

/// Files that are no model, or no longer: one line, status 1.
@Suite struct BadModelTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Every command that opens a model refuses it, and names it.
  private func expectRefused(_ path: String, commands: [[String]]? = nil, location: SourceLocation = #_sourceLocation) throws {
    let name = URL(fileURLWithPath: path).lastPathComponent
    let all =
      commands ?? [
        ["run", path, Repository.clip, "-q", "hi", "--frames", "2"], ["inspect", path], ["tokenize", path, "hi"], ["verify", path],
      ]
    for arguments in all { try Run(arguments).finish().expectBadInput(name, location: location) }
  }

  @Test func missing() throws { try expectRefused(directory.file("none.sfq")) }

  @Test func empty() throws { try expectRefused(directory.write("empty.sfq", Data())) }

  @Test func text() throws { try expectRefused(directory.write("letter.sfq", Data("Dear model,\n".utf8))) }

  @Test func aVideo() throws { try expectRefused(Repository.clip) }

  @Test func aDirectoryWithoutACheckpoint() throws {
    try expectRefused(
      directory.path, commands: [["run", directory.path, Repository.clip, "-q", "hi"], ["tokenize", directory.path, "hi"]])
  }

  @Test(arguments: [10, 63, 64, 5000])
  func truncated(length: Int) throws { try expectRefused(directory.write("cut.sfq", try Fixture.bytes().prefix(length))) }

  @Test func truncatedByOneByte() throws { try expectRefused(directory.write("cut.sfq", try Fixture.bytes().dropLast())) }

  /// A bit in the first bytes, and one in the table at the end.
  @Test(arguments: [3, 20, -100])
  func flippedWhereEveryCommandReads(place: Int) throws {
    var bytes = try Fixture.bytes()
    bytes[place < 0 ? bytes.count + place : place] ^= 4
    try expectRefused(directory.write("flipped.sfq", bytes))
  }

  /// A bit in the weights: found when they are read.
  @Test func flippedInTheWeights() throws {
    var bytes = try Fixture.bytes()
    let tensor = try #require(try ModelFileReader(path: Fixture.model()).tensors.first { $0.name.hasSuffix("down_proj.weight") })
    bytes[tensor.planes[0].offset + 8] ^= 4
    let path = try directory.write("flipped.sfq", bytes)
    try expectRefused(
      path, commands: [["run", path, Repository.clip, "-q", "hi", "--frames", "2"], ["unpack", path, directory.file("raw.sfq")]])
    #expect(directory.contents == ["flipped.sfq"])
  }

  /// Kernels of the machine are named where others are asked for.
  @Test func unknownKernels() throws {
    let outcome = try Run(
      ["run", try Fixture.model(), Repository.clip, "-q", "hi", "--frames", "2"], environment: ["SLOWFAST_KERNELS": "nonsense"]
    ).finish()
    #expect(outcome.status == 2, "\(outcome.errors)")
    #expect(outcome.output == "")
    #expect(outcome.errors.contains("SLOWFAST_KERNELS") && outcome.errors.contains("nonsense") && outcome.errors.contains("portable"))
  }

  @Test(.enabled(if: geteuid() != 0, "root reads everything")) func unreadable() throws {
    let path = try directory.write("locked.sfq", try Fixture.bytes())
    chmod(path, 0)
    try expectRefused(path)
  }

  @Test func aQuestionTooLongForTheContext() throws {
    let question = String(repeating: "why ", count: 5000)
    let outcome = try Run(["run", try Fixture.model(), Repository.clip, "-q", question, "--frames", "2"]).finish()
    outcome.expectBadInput("4096", "tokens")
  }
}
