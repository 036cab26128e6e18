import Foundation
import TestSupport
import Testing

/// `slowfast watch`: answers about a source that goes on.
@Suite struct WatchTests {
  private static let clip = Repository.root + "/Tests/Clips/levels.ts"
  private let options = ["-q", "What happens?", "--every", "0.5", "--window", "4", "--max-tokens", "4", "--greedy", "--progress", "none"]

  private func watch(_ source: String = Self.clip, _ more: String...) throws -> Run {
    try Run(["watch", try Fixture.model(), source] + options + more)
  }

  /// A recording that goes on when something was answered about its beginning.
  private func watchWhatGrows(_ more: String...) throws -> Outcome {
    let directory = try TemporaryDirectory()
    let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: Self.clip)))
    let path = try directory.write("growing.ts", bytes[..<(bytes.count / 2)])
    let run = try Run(["watch", try Fixture.model(), path] + options + ["--count", "2"] + more)
    #expect(run.wait { run.outputCount > 0 })
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    try file.seekToEnd()
    try file.write(contentsOf: bytes[(bytes.count / 2)...])
    return try run.finish()
  }

  @Test func linesOfAnswers() throws {
    let outcome = try watchWhatGrows()
    #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
    #expect(outcome.output.starts(with: /\d\d:\d\d:\d\d  .*\n/), "\(outcome.output)")
  }

  @Test func linesOfJSON() throws {
    let outcome = try watchWhatGrows("--json", "--choices", "yes,no")
    let records = try outcome.output.split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
    #expect(outcome.status == 0 && records.count == 2, "\(outcome.errors)")
    guard records.count == 2 else { return }
    #expect((records[0]["choices"] as? [[String: Any]])?.count == 2 && ["yes", "no"].contains(records[0]["answer"] as? String))
    #expect(records.allSatisfy { ($0["age"] as? Double ?? -1) >= 0 && 1...4 ~= ($0["frames"] as? Int ?? 0) })
    #expect((records[0]["frame"] as? Int ?? 0) < (records[1]["frame"] as? Int ?? 0))
  }

  /// The clip is as it was; the answers of its windows are few.
  @Test func changesAlone() throws {
    let run = try watch(Self.clip, "--changes", "--choices", "yes,no")
    #expect(run.wait { run.outputCount > 0 })
    let outcome = try run.interrupt()
    #expect(outcome.status == 130 && outcome.errors == "interrupted\n", "\(outcome.errors)")
    let answers = outcome.output.split(separator: "\n").map { $0.dropFirst(10) }
    #expect(zip(answers, answers.dropFirst()).allSatisfy { $0 != $1 }, "\(outcome.output)")
  }

  /// What is not there is told once, and waited for.
  @Test func waiting() throws {
    let run = try watch("rtsp://me:secret@127.0.0.1:1/x")
    #expect(run.wait { run.errorCount > 0 })
    let outcome = try run.interrupt()
    #expect(outcome.status == 130 && outcome.output == "")
    #expect(
      outcome.errors == "warning: rtsp://***@127.0.0.1:1/x: cannot be read: Connection refused; it is tried again\ninterrupted\n",
      "\(outcome.errors)")
  }

  @Test func wrongUsage() throws {
    let model = try Fixture.model()
    for (arguments, words) in [
      (["--every", "0"], "error: --every is 0.0, expected 0.01 to 3600"), (["--window", "0"], "error: --window is 0, expected 1 to"),
      (["--count", "0"], "--count is 0"), (["--logprobs", "3"], "--logprobs needs --json"),
    ] {
      let outcome = try Run(["watch", model, Self.clip, "-q", "What?"] + arguments).finish()
      #expect(outcome.status == 2 && outcome.errors.contains(words), "\(outcome.errors)")
    }
    let missing = try Run(["watch", model, "none.ts", "-q", "What?"]).finish()
    #expect(missing.status == 1 && missing.errors.contains("none.ts: no file that could be watched"), "\(missing.errors)")
    let address = try Run(["watch", model, "gopher://x", "-q", "What?"]).finish()
    #expect(address.status == 2 && address.errors.contains("gopher://x, expected one of http://"), "\(address.errors)")
    #expect(try Run(["watch", model, Self.clip]).finish().status == 2)
  }
}
