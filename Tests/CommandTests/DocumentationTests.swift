import Foundation
import TestSupport
import Testing

/// What the documents show is what there is.
struct DocumentationTests {
  /// The README's library example is `Examples/ask`, to the letter, and runs beside the demonstration's checkpoint and clip.
  @Test func theLibraryExampleRuns() throws {
    let example = try String(contentsOfFile: Repository.root + "/Examples/ask/main.swift", encoding: .utf8)
    #expect(try Self.blocks("swift", in: "README.md").contains(example))

    let directory = try TemporaryDirectory()
    let files = FileManager.default
    try files.createSymbolicLink(atPath: directory.file("checkpoint"), withDestinationPath: Demonstration.checkpoint)
    try files.createSymbolicLink(atPath: directory.file("clip.mp4"), withDestinationPath: Demonstration.clip)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: Run.executable).deletingLastPathComponent().appendingPathComponent("example-ask")
    process.currentDirectoryURL = URL(fileURLWithPath: directory.path)
    try directory.write("output", Data())
    let output = try FileHandle(forUpdating: URL(fileURLWithPath: directory.file("output")))
    process.standardOutput = output
    try process.run()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    let text = try String(contentsOfFile: directory.file("output"), encoding: .utf8)
    #expect(text.contains("frame 16 of 16\n") && text.contains("The digit 7 flashes.") && text.hasSuffix("then: 2\n"), "\(text)")
  }

  /// The Python of docs/python.md that needs no server, with the command that was built, the demonstration's clip and a converted model.
  @Test func thePythonExampleRuns() throws {
    let script = try #require(Self.blocks("python", in: "docs/python.md").first { $0.contains("slowfast") && $0.contains("subprocess") })
    let directory = try TemporaryDirectory()
    let converted = try slowfast("convert", Demonstration.checkpoint, directory.file("model.sfq"))
    #expect(converted.status == 0, "\(converted.errors)")
    try FileManager.default.createSymbolicLink(atPath: directory.file("clip.mp4"), withDestinationPath: Demonstration.clip)
    try directory.write("ask.py", Data(script.utf8))
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", "ask.py"]
    process.currentDirectoryURL = URL(fileURLWithPath: directory.path)
    let folder = URL(fileURLWithPath: Run.executable).deletingLastPathComponent().path
    process.environment = ["PATH": folder + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")]
    try directory.write("output", Data())
    process.standardOutput = try FileHandle(forUpdating: URL(fileURLWithPath: directory.file("output")))
    try process.run()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    #expect(try String(contentsOfFile: directory.file("output"), encoding: .utf8) == "2 (stop token)\n7 (stop token)\n")
  }

  /// Every file that a document links to is there.
  @Test func linksLeadSomewhere() throws {
    let folders = try ["docs", "benchmarks", "benchmarks/history", "benchmarks/kernels", "benchmarks/peers", "benchmarks/compare"].flatMap {
      folder in
      try FileManager.default.contentsOfDirectory(atPath: "\(Repository.root)/\(folder)").map { "\(folder)/\($0)" }
    }
    let documents = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"] + folders.filter { $0.hasSuffix(".md") }
    for document in documents where exists("\(Repository.root)/\(document)") {
      let text = try String(contentsOfFile: "\(Repository.root)/\(document)", encoding: .utf8)
      let folder = URL(fileURLWithPath: "\(Repository.root)/\(document)").deletingLastPathComponent()
      for match in text.matches(of: /\]\(([^)#: ]+)(?:#[^)]*)?\)/) {
        #expect(exists(folder.appendingPathComponent(String(match.1)).path), "\(document): \(match.1)")
      }
    }
  }

  /// Fenced blocks of one language, each with its last line's end.
  private static func blocks(_ language: String, in document: String) throws -> [String] {
    let text = try String(contentsOfFile: "\(Repository.root)/\(document)", encoding: .utf8)
    return text.components(separatedBy: "```\(language)\n").dropFirst().compactMap { $0.components(separatedBy: "```").first }
  }
}

/// The trained model and a clip of its world.
enum Demonstration {
  static let checkpoint = Repository.root + "/benchmarks/demo/checkpoint"
  static let clip = Repository.root + "/benchmarks/demo/examples/clips/003.mp4"
}
