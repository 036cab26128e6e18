import Foundation
import TestSupport
import Testing

/// Killed, or with a disk that fails, at each call that matters; and the order of these calls. Seen and done by `strace`.
@Suite(.enabled(if: canTrace, "strace is missing, or may not trace here")) struct EveryStepTests {
  private let directory: TemporaryDirectory
  private static let clip = Repository.root + "/benchmarks/demo/examples/clips/003.mp4"
  /// Calls that give or take a name; those that an architecture has not are left out.
  private static let naming = ["link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat"]

  init() throws { directory = try TemporaryDirectory() }

  private struct Traced {
    var status: Int32
    var errors: String
    var calls: [String]
    /// A call was made to fail, or the process killed; those that decode clips for it end so always.
    var isHit: Bool { status == 128 + SIGKILL || calls.contains { $0.contains("(INJECTED)") } }
  }

  private func trace(_ arguments: [String], _ calls: [String], _ fault: String? = nil) throws -> Traced {
    let log = directory.file("calls")
    let set = calls.map { "?" + $0 }.joined(separator: ",")
    let options = ["-f", "-qq", "-y", "-s", "0", "-o", log, "-e", "trace=" + set] + (fault.map { ["-e", "inject=\(set):\($0)"] } ?? [])
    let script = "exec strace " + (options + ["--"]).map { "'\($0)'" }.joined(separator: " ") + " \"$0\" \"$@\""
    let outcome = try Run(script: script, arguments).finish()
    defer { try? FileManager.default.removeItem(atPath: log) }
    let lines = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n").map(String.init)
    return Traced(status: outcome.status, errors: outcome.errors, calls: lines)
  }

  /// Every file below `out`, answers without what differs between runs.
  private func contents() throws -> [String: String] {
    var files: [String: String] = [:]
    let out = directory.file("out")
    for name in FileManager.default.enumerator(atPath: out)?.compactMap({ $0 as? String }) ?? [] {
      guard let data = FileManager.default.contents(atPath: out + "/" + name) else { continue }
      let text = String(decoding: data, as: UTF8.self)
      let answers = text.matches(of: /"answer":"[^"]*"/).map { String($0.output) }
      files[name] = name.hasPrefix("answers") ? answers.joined() : "\(data.count) \(data.hashValue)"
    }
    return files
  }

  private func start() throws {
    try? FileManager.default.removeItem(atPath: directory.file("out"))
    try FileManager.default.createDirectory(atPath: directory.file("out"), withIntermediateDirectories: false)
  }

  enum Command: CaseIterable { case convert, convertOver, pack, frames, framesOver, batch, compare }

  private func arguments(_ command: Command) throws -> [String] {
    let out = directory.file("out")
    let golden = Repository.golden("slowfast-clip")
    let frames = ["frames", Self.clip, "-n", "2", "-o", out + "/frames"]
    let question = "{\"video\":\"\(Self.clip)\",\"question\":\"Which digit flashes?\",\"answer\":\"7\"}\n"
    let data = try directory.write("questions.jsonl", question)
    switch command {
    case .convert: return ["convert", golden, out + "/model.sfq"]
    case .convertOver: return ["convert", golden, out + "/model.sfq", "--force"]
    case .pack: return ["pack", try Fixture.model(), out + "/model.sfq"]
    case .frames: return frames
    case .framesOver: return frames + ["--force"]
    case .batch: return ["batch", Demonstration.checkpoint, data, "-o", out + "/answers.jsonl", "--frames", "4", "--greedy"]
    case .compare:
      return [
        "compare", golden, "--variants", "8", "--parts", "none", "--data", data, "--frames", "2", "--max-tokens", "2",
        "-o", out + "/report",
      ]
    }
  }

  /// The next run leaves what an undisturbed one does, and nothing else. A comparison takes minutes of it: `Tests/torture` kills those.
  @Test(arguments: Command.allCases.filter { $0 != .compare }) func killedAtEachName(command: Command) throws {
    let arguments = try arguments(command)
    try start()
    #expect(try Run(arguments).finish().status == 0)
    let expected = try contents()
    for call in Self.naming {
      for number in 1... {
        // What is written over is there already.
        if command != .convertOver, command != .framesOver { try start() }
        let killed = try trace(arguments, [call], "signal=KILL:when=\(number)")
        guard killed.isHit else { break }
        let next = try Run(arguments).finish()
        #expect(next.status == 0 || next.errors.contains("exists already"), "\(call) \(number): \(next.errors)")
        let found = try contents()
        #expect(found == expected, "\(call) \(number): \(found.keys.sorted())")
      }
    }
  }

  /// Bytes are on the disk before a name leads to them, and the name before the command says that it is done.
  @Test(arguments: Command.allCases) func bytesComeBeforeNames(command: Command) throws {
    for _ in 0..<2 {
      try start()
      if command == .convertOver || command == .framesOver { _ = try Run(arguments(command)).finish() }
      let traced = try trace(
        try arguments(command), Self.naming + ["write", "pwrite64", "writev", "ftruncate", "fsync", "fdatasync"])
      #expect(traced.status == 0, "\(traced.errors)")
      var order = WriteOrder(directory.file("out"))
      for call in traced.calls { order.see(call) }
      #expect(order.problems.isEmpty && order.undurable.isEmpty, "\(order.problems) \(order.undurable)")
      #expect(order.published > 0)
    }
  }

  /// A disk that cannot make bytes durable, or has no room for a name, is told, and nothing is left.
  @Test(arguments: [
    (Command.convert, "fsync"), (.convert, "pwrite64"), (.pack, "fsync"), (.pack, "pwrite64"), (.frames, "fsync"), (.frames, "linkat"),
  ])
  func aCallThatFails(command: Command, call: String) throws {
    let error = call == "fsync" ? "EIO" : "ENOSPC"
    for number in [1, 2, 3, 9, 40] {
      try start()
      let traced = try trace(try arguments(command), [call], "error=\(error):when=\(number)")
      guard traced.isHit else {
        #expect(number > 1)
        break
      }
      #expect(traced.status == 1, "\(number): \(traced.status) \(traced.errors)")
      #expect(traced.errors.hasPrefix("error: ") && traced.errors.filter { $0 == "\n" }.count == 1, "\(traced.errors)")
      // What was whole before, of several files, stays.
      let left = try contents().keys.filter { command != .frames || !$0.hasSuffix(".png") }
      // A name whose durability alone failed is there.
      #expect(left.isEmpty || left == ["frames"] || left == ["model.sfq"] && call == "fsync", "\(number): \(left)")
    }
  }
}

/// Follows what `strace -y` says of the files below a directory.
private struct WriteOrder {
  private(set) var problems: [String] = []
  /// Directories in which names were given that are not on the disk yet.
  private(set) var undurable: Set<String> = []
  private(set) var published = 0
  /// Paths of open files with bytes that are not on the disk, by descriptor.
  private var unsynchronized: [String: String] = [:]
  private let root: String

  init(_ root: String) { self.root = root }

  mutating func see(_ line: String) {
    guard let call = line.firstMatch(of: /^\d+ +(\w+)\((.*)$/), !line.contains(" = -1 ") else { return }
    let (name, rest) = (String(call.1), String(call.2))
    let file = rest.firstMatch(of: /^(\d+)<([^>]*)>/).map { (descriptor: String($0.1), path: String($0.2)) }
    switch name {
    case "write", "pwrite64", "writev", "ftruncate":
      if let file, file.path.hasPrefix(root) { unsynchronized[file.descriptor] = file.path }
    case "fsync", "fdatasync":
      guard let file else { return }
      unsynchronized[file.descriptor] = nil
      undurable.remove(file.path)
    case "link", "linkat", "rename", "renameat", "renameat2":
      let names = rest.matches(of: /"([^"]*)"/).map { String($0.1) }
      guard names.count == 2, names[1].hasPrefix(root) else { return }
      let source = names[0].split(separator: "/").last.map(String.init) ?? ""
      let isPending = names[0].hasPrefix("/proc/self/fd/") ? unsynchronized[source] != nil : unsynchronized.values.contains(names[0])
      if isPending { problems.append(line) }
      undurable.insert(String(names[1][..<(names[1].lastIndex(of: "/") ?? names[1].startIndex)]))
      published += 1
    default: break
    }
  }
}
