import Foundation
import TestSupport
import Testing

/// Clips in a process of their own, as the command has it.
@Suite struct IsolationTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  @Test func theSameEitherWay() throws {
    for clip in [Repository.clip, Repository.root + "/Tests/VideoTests/Data/four_colours.png"] {
      let (apart, here) = (directory.file("apart"), directory.file("here"))
      let one = try slowfast("frames", clip, "-n", "3", "-o", apart, "--json")
      let other = try slowfast("frames", clip, "-n", "3", "-o", here, "--json", "--in-process")
      #expect(one.status == 0 && one.output == other.output && one.errors == "", "\(one.errors)")
      for name in try FileManager.default.contentsOfDirectory(atPath: here) {
        #expect(FileManager.default.contentsEqual(atPath: "\(apart)/\(name)", andPath: "\(here)/\(name)"), "\(name)")
      }
      for folder in [apart, here] { try FileManager.default.removeItem(atPath: folder) }
    }
    // Where files may not become as long as a picture is, pixels take another way.
    let limited = try Run(script: "ulimit -f 8; exec \"$0\" \"$@\"", ["frames", Repository.clip, "-n", "3"]).finish()
    #expect(try limited.output == slowfast("frames", Repository.clip, "-n", "3").output && limited.status == 0, "\(limited.errors)")
  }

  /// What a process does once it has its clip: `strace` sees no file opened and no socket made, and nothing run.
  @Test(.enabled(if: canTrace, "strace is missing, or may not trace here"))
  func confinedCalls() throws {
    for name in ["Clips/nasa.mp4", "Clips/levels.ts", "VideoTests/Data/images/plain.heic", "VideoTests/Data/open_gop_hevc.mp4"] {
      let clip = Repository.root + "/Tests/" + name
      let log = directory.file("calls")
      let outcome = try Run(
        script: "exec strace -f -qq -o '\(log)' \"$0\" \"$@\"", ["frames", clip, "-n", "2", "--json"]
      ).finish()
      #expect(outcome.status == 0, "\(outcome.errors)")
      // PID CALL(…) = RESULT
      let calls = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n").map { line in
        (process: line.prefix { $0 != " " }, call: line.drop { $0 != " " }.drop { $0 == " " })
      }
      // Its threads have numbers of their own.
      var confined: Set<Substring> = []
      var seen = 0
      for (process, call) in calls {
        if call.hasPrefix("prctl(PR_SET_SECCOMP") { confined.insert(process) }
        guard confined.contains(process) else { continue }
        if call.hasPrefix("clone"), let thread = call.split(separator: " ").last { confined.insert(thread) }
        seen += 1
        let isOpened = (call.hasPrefix("open") || call.hasPrefix("<... open")) && !call.contains("= -1 ") && !call.contains("<unfinished")
        let others = ["socket", "connect", "bind", "listen", "accept", "execve", "fork", "vfork", "ptrace", "process_vm", "kill("]
        #expect(!isOpened && !others.contains { call.hasPrefix($0) }, "\(call)")
      }
      #expect(seen > 10, "\(name): no confined process is seen")
      // The clip is opened by the process that was named it, and by no other.
      let openers = Set(calls.filter { $0.call.hasPrefix("openat(") && $0.call.contains(clip) }.map(\.process))
      #expect(openers.count >= 1 && openers.isDisjoint(with: confined))
    }
  }

  /// Nothing of it is left when the command ends, whatever ends it.
  @Test func nothingStays() throws {
    let run = try Run(["frames", Repository.clip, "-n", "64", "-o", directory.file("frames")])
    func processes() -> [Int32] { Processes.descendants(of: run.identifier) }
    #expect(run.wait { processes().count > 1 })
    let started = processes()
    run.kill()
    _ = try run.finish()
    let start = Date()
    while started.contains(where: { kill($0, 0) == 0 && !Processes.isZombie($0) }), Date().timeIntervalSince(start) < 10 { usleep(10_000) }
    for process in started { #expect(kill(process, 0) != 0 || Processes.isZombie(process)) }
  }
}

/// Of this machine, as /proc shows them.
enum Processes {
  private static func status(_ process: Int32) -> [Substring]? {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8), let end = text.lastIndex(of: ")") else {
      return nil
    }
    return text[end...].split(separator: " ").dropFirst().map { $0 }
  }

  static func isZombie(_ process: Int32) -> Bool { status(process)?.first == "Z" }

  static func descendants(of process: Int32) -> [Int32] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { Int32($0) } ?? []
    var parents: [Int32: Int32] = [:]
    for each in all { parents[each] = status(each)?.dropFirst().first.flatMap { Int32($0) } }
    var found: [Int32] = []
    var next = [process]
    while let parent = next.popLast() {
      let children = parents.filter { $0.value == parent }.map(\.key)
      found += children
      next += children
    }
    return found
  }
}
