import Foundation
import TestSupport
import Testing

/// A system that gives no more threads: fewer do the work, or one line says so; nothing waits for ever.
@Suite(.serialized, .enabled(if: canLimitThreads, "prlimit or setpriv (util-linux) is missing")) struct FewThreadsTests {
  /// The superuser's threads are not limited: it runs the command as nobody, who has no other processes.
  @Test(arguments: Array(1...10) + [13, 20]) func fewThreads(_ limit: Int) throws {
    // The main thread alone can do everything.
    #expect(try status(limit, "--in-process") == 0)
    // A process counts as a thread does, and there may be none left to decode in.
    let apart = try status(limit)
    #expect(apart == 0 || apart == 1 && limit < 20)
  }

  private func status(_ limit: Int, _ place: String...) throws -> Int32? {
    let arguments = [
      "run", Repository.golden("clip"), Repository.root + "/Tests/VideoTests/Data/b_frames.mp4", "-q", "What happens?", "--frames", "4",
      "--greedy", "--max-tokens", "2", "--threads", "6",
    ]
    let unlimited = try Run(arguments).finish()
    let process = Process()
    let directory = try TemporaryDirectory()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = limiter(limit) + [Run.executable] + arguments + place
    process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: directory.write("output", Data())))
    process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: directory.write("errors", Data())))
    try process.run()
    let end = Date(timeIntervalSinceNow: 100 * slowness)
    while process.isRunning, Date() < end { usleep(20_000) }
    if process.isRunning {
      Issue.record("hangs with \(limit) threads")
      kill(process.processIdentifier, SIGKILL)
      return nil
    }
    let output = try String(contentsOfFile: directory.file("output"), encoding: .utf8)
    let errors = try String(contentsOfFile: directory.file("errors"), encoding: .utf8)
    #expect(process.terminationReason == .exit, "\(errors)")
    if process.terminationStatus == 0 {
      #expect(output == unlimited.output)
    } else {
      #expect(process.terminationStatus == 1 && errors.filter { $0 == "\n" }.count == 1, "\(errors)")
    }
    return process.terminationStatus
  }
}

private func limiter(_ limit: Int) -> [String] {
  let limits = ["prlimit", "--nproc=\(limit):\(limit)"]
  return geteuid() == 0 ? limits + ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : limits
}

private let canLimitThreads: Bool = {
  // An emulator has threads of its own.
  if isEmulated { return false }
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = limiter(8) + ["test", "-x", Run.executable]
  process.standardError = FileHandle.nullDevice
  guard (try? process.run()) != nil else { return false }
  process.waitUntilExit()
  return process.terminationStatus == 0
}()
