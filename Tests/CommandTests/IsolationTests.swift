import Foundation
import Synchronization
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
    // An emulator needs longer files itself.
    if isEmulated { return }
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

#if Server
  /// What happens to decoders does not happen to the server.
  @Suite struct ServerIsolationTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func theServerGoesOn() throws {
      for name in ["one.mp4", "two.mp4", "three.mp4"] {
        // Other bytes, so that none is known already; what follows the film's boxes is ignored.
        var film = try Data(contentsOf: URL(fileURLWithPath: Repository.clip))
        film += Data([0, 0, 0, 16] + Array("free".utf8) + Array("\(name)xxx".utf8.prefix(8)))
        _ = try directory.write(name, film)
      }
      let run = try Run(["serve", Demonstration.checkpoint, "--port", "0", "--media", directory.path, "--threads", "1"])
      defer { run.kill() }
      #expect(run.wait { run.errors.contains("/v1") })
      let port = try #require(run.errors.firstMatch(of: /:(\d+)\/v1/)).output.1
      #expect(run.errors.filter { $0 == "\n" }.count == 1, "\(run.errors)")
      #expect(try ask("one.mp4", port).hasPrefix("200 "))

      // Whatever is started meanwhile dies.
      let stops = Atomic(false)
      let nurseries = Processes.children(of: run.identifier)
      let killer = DispatchQueue(label: "killer")
      killer.async {
        while !stops.load(ordering: .relaxed) {
          for child in nurseries.flatMap(Processes.children) { Glibc.kill(child, SIGSEGV) }
          usleep(500)
        }
      }
      let failed = try ask("two.mp4", port)
      stops.store(true, ordering: .relaxed)
      killer.sync {}
      // A server tells no names of files; the parameter tells which clip it was.
      #expect(failed.hasPrefix("422 ") && failed.contains("Not decoded: its decoder crashed"), "\(failed)")
      #expect(failed.contains("messages[0].content[0].video_url"), "\(failed)")
      #expect(try ask("two.mp4", port).hasPrefix("200 "))

      for nursery in Processes.children(of: run.identifier) { Glibc.kill(nursery, SIGKILL) }
      #expect(try ask("three.mp4", port).hasPrefix("200 "))
      #expect(run.isRunning)
    }

    /// Status and answer.
    private func ask(_ clip: String, _ port: Substring) throws -> String {
      let body = try directory.write(
        "request.json",
        #"{"max_tokens": 2, "messages": [{"role": "user", "content": [{"type": "video_url", "video_url": "file://"#
          + directory.file(clip) + #""}, {"type": "text", "text": "What?"}]}]}"#)
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = [
        "python3", "-c",
        "import sys, urllib.request, urllib.error\n"
          + "request = urllib.request.Request(sys.argv[1], open(sys.argv[2], 'rb').read(), {'Content-Type': 'application/json'})\n"
          + "try: answer = urllib.request.urlopen(request)\n"
          + "except urllib.error.HTTPError as error: answer = error\n"
          + "print(answer.status, answer.read().decode())",
        "http://127.0.0.1:\(port)/v1/chat/completions", body,
      ]
      let output = Pipe()
      process.standardOutput = output
      try process.run()
      let data = output.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      return String(decoding: data, as: UTF8.self)
    }
  }
#endif

/// Of this machine, as /proc shows them.
enum Processes {
  private static func status(_ process: Int32) -> [Substring]? {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8), let end = text.lastIndex(of: ")") else {
      return nil
    }
    return text[end...].split(separator: " ").dropFirst().map { $0 }
  }

  static func isZombie(_ process: Int32) -> Bool { status(process)?.first == "Z" }

  static func children(of process: Int32) -> [Int32] {
    // Of its first thread, which starts them in a nursery; not every system shows it.
    if let list = try? String(contentsOfFile: "/proc/\(process)/task/\(process)/children", encoding: .utf8), !list.isEmpty {
      return list.split(separator: " ").compactMap { Int32($0) }
    }
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { Int32($0) } ?? []
    return all.filter { status($0)?.dropFirst().first.flatMap { Int32($0) } == process }
  }

  static func descendants(of process: Int32) -> [Int32] {
    var found: [Int32] = []
    var next = [process]
    while let parent = next.popLast() {
      let children = children(of: parent)
      found += children
      next += children
    }
    return found
  }
}
