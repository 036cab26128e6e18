import Foundation
import TestSupport
import Testing

/// Files that change while they are used, and who else may write to what is kept.
@Suite struct ChangedFilesTests {
  private let directory: TemporaryDirectory
  private static let clip = Repository.root + "/benchmarks/demo/examples/clips/003.mp4"
  /// Of random weights: what it says greedily has no end.
  private static let checkpoint = Repository.golden("clip")

  init() throws { directory = try TemporaryDirectory() }

  /// A run that answers for some seconds, once it has begun to.
  private func answering(_ model: String) throws -> Run {
    let run = try Run([
      "run", model, Self.clip, "-q", "hi", "--frames", "8", "--max-tokens", "100000", "--temperature", "0", "--repetition-penalty", "1",
    ])
    #expect(run.wait { run.outputCount > 40 })
    return run
  }

  @Test(arguments: ["cut", "overwritten"]) func aModelFileThatChanges(_ how: String) throws {
    let model = directory.file("model.sfq")
    #expect(try slowfast("convert", Self.checkpoint, model, "--bits", "16").status == 0)
    let run = try answering(model)
    try change(model, how)
    let outcome = try run.finish()
    #expect(outcome.status == 1, "\(outcome.status)")
    #expect(outcome.errors.contains("model.sfq: ") && outcome.errors.filter { $0 == "\n" }.count == 1, "\(outcome.errors)")
  }

  @Test(arguments: ["cut", "overwritten"]) func aCheckpointThatChanges(_ how: String) throws {
    let checkpoint = directory.file("checkpoint")
    try FileManager.default.copyItem(atPath: Self.checkpoint, toPath: checkpoint)
    let run = try answering(checkpoint)
    try change(checkpoint + "/model.safetensors", how)
    let outcome = try run.finish()
    #expect(outcome.status == 1 && outcome.errors.contains("model.safetensors: "), "\(outcome.status) \(outcome.errors)")
  }

  /// A model file that is replaced by renaming, or removed, is still there for who has it open.
  @Test func aModelFileThatIsReplaced() throws {
    let model = directory.file("model.sfq")
    #expect(try slowfast("convert", Self.checkpoint, model).status == 0)
    let run = try answering(model)
    #expect(try slowfast("convert", Self.checkpoint, model, "--bits", "8", "--force").status == 0)
    #expect(run.isRunning)
    kill(run.identifier, SIGINT)
    #expect(try run.finish().status == 130)
  }

  // MARK: The clip cache

  private func ask(_ clip: String, _ cache: String) throws -> Outcome {
    try slowfast(
      "run", Fixture.model(), clip, "-q", "What?", "--frames", "8", "--max-tokens", "3", "--temperature", "0", "--cache", cache, "--json")
  }

  @Test func whatIsKeptIsTheOwnersAlone() throws {
    let cache = directory.file("a/cache")
    #expect(try ask(Self.clip, cache).status == 0)
    func mode(_ path: String) throws -> Int? { try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int }
    #expect(try mode(cache) == 0o700)
    let entries = try FileManager.default.contentsOfDirectory(atPath: cache)
    #expect(entries.filter { $0.hasSuffix(".clip") }.count == 2)
    for entry in entries { #expect(try mode(cache + "/" + entry) == 0o600, "\(entry)") }
    try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: cache)
    try slowfast("run", Fixture.model(), Self.clip, "-q", "What?", "--cache", cache).expectBadInput(cache, "others may write")
  }

  /// The clip is replaced after its bytes were hashed and before they are decoded: nothing of it may stay under the first one's name.
  @Test func aClipThatIsReplacedMeanwhile() throws {
    let cache = directory.file("cache")
    let clip = directory.file("clip.mp4")
    try FileManager.default.copyItem(atPath: Self.clip, toPath: clip)
    let truth = try ask(clip, directory.file("other")).json()["answer"] as? String
    // As often as it takes to hit the moment; each time nothing wrong may be kept.
    for delay in stride(from: 0, to: 40, by: 10) {
      try? FileManager.default.removeItem(atPath: clip)
      try FileManager.default.copyItem(atPath: Self.clip, toPath: clip)
      let run = try Run(["run", Fixture.model(), clip, "-q", "What?", "--frames", "8", "--max-tokens", "3", "--cache", cache])
      usleep(useconds_t(delay * 1000))
      try FileManager.default.copyItem(atPath: Repository.clip, toPath: directory.file("new.mp4"))
      rename(directory.file("new.mp4"), clip)
      _ = try run.finish()
      #expect(try ask(Self.clip, cache).json()["answer"] as? String == truth)
      try? FileManager.default.removeItem(atPath: cache)
    }
  }

  // MARK: Processors

  /// A container's cpuset is an affinity.
  @Test func affinitySetsTheNumberOfThreads() throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [
      "taskset", "-c", "0", Run.executable, "run", try Fixture.model(), Self.clip, "-q", "What?", "--frames", "8", "--max-tokens", "1",
      "--json",
    ]
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    let json = try #require(try JSONSerialization.jsonObject(with: output) as? [String: Any])
    #expect((json["statistics"] as? [String: Any])?["threads"] as? Int == 1)
  }
}
