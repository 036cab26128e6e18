import Foundation
import TestSupport
import Testing

/// `Examples/watch`: clips that appear in a folder while it looks.
struct WatchExampleTests {
  /// A clip that was there is left alone, one that is written bit by bit is described once and whole, what is no clip is an error's line;
  /// Ctrl-C ends it with status 0.
  @Test func describesEachNewClip() throws {
    let directory = try TemporaryDirectory()
    let folder = directory.file("clips")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
    try FileManager.default.copyItem(atPath: Demonstration.clip, toPath: folder + "/old.mp4")
    let watch = URL(fileURLWithPath: Run.executable).deletingLastPathComponent().path + "/example-watch"
    let run = try Run(script: "exec \"$@\"", [watch, Demonstration.checkpoint, folder])
    #expect(run.wait { run.errorCount > 0 })  // it looks

    try Data().write(to: URL(fileURLWithPath: folder + "/new.mp4"))
    let file = try #require(FileHandle(forWritingAtPath: folder + "/new.mp4"))
    let clip = try Data(contentsOf: URL(fileURLWithPath: Demonstration.clip))
    for start in stride(from: 0, to: clip.count, by: clip.count / 4 + 1) {
      try file.write(contentsOf: clip[start..<min(clip.count, start + clip.count / 4 + 1)])
      usleep(500_000)
    }
    try file.close()
    #expect(run.wait { run.outputCount > 0 })
    try Data("no clip".utf8).write(to: URL(fileURLWithPath: folder + "/notes.txt"))
    let described = run.outputCount
    #expect(run.wait { run.outputCount > described })

    let outcome = try run.interrupt()
    #expect(outcome.status == 0, "\(outcome.errors)")
    let lines = try outcome.output.split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
    #expect(lines.compactMap { $0["clip"] as? String } == ["new.mp4", "notes.txt"])
    #expect((lines.first?["description"] as? String)?.contains("The digit 7 flashes.") == true, "\(outcome.output)")
    #expect((lines.last?["error"] as? String)?.contains("notes.txt") == true, "\(outcome.output)")
  }

  @Test func wrongUse() throws {
    let watch = URL(fileURLWithPath: Run.executable).deletingLastPathComponent().path + "/example-watch"
    #expect(try Run(script: "exec \"$@\"", [watch]).finish().status == 2)
    let outcome = try Run(script: "exec \"$@\"", [watch, "/nowhere.sfq", "/"]).finish()
    #expect(outcome.status == 1 && outcome.errors.hasPrefix("error: ") && outcome.errors.filter { $0 == "\n" }.count == 1)
  }
}
