import Foundation
import TestSupport
import Testing

/// Paths of the repository.
enum Repository {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
  static let clip = root + "/Tests/Clips/nasa.mp4"
  static func golden(_ name: String) -> String { "\(root)/Tests/Golden/\(name)" }
}

/// What a run of the command did.
struct Outcome {
  var status: Int32
  var output: String
  var errors: String
  var seconds: Double

  func json() throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any], "\(output)")
  }

  /// Status 1 and one line on the error stream, with everything in it that is asked for; nothing on standard output.
  func expectBadInput(_ words: String..., location: SourceLocation = #_sourceLocation) {
    #expect(status == 1, "\(errors)", sourceLocation: location)
    #expect(output == "", sourceLocation: location)
    #expect(errors.hasSuffix("\n") && errors.filter { $0 == "\n" }.count == 1, "\(errors)", sourceLocation: location)
    for word in words { #expect(errors.contains(word), "\(errors)", sourceLocation: location) }
  }
}

/// How much longer than a machine of its own this one takes: where it is emulated, or shared.
let slowness = ProcessInfo.processInfo.environment["SLOWFAST_TEST_SLOWNESS"].flatMap(Double.init) ?? 1

/// Whether each program has an emulator of its own, on a machine of another kind: what the system does is then that machine's.
let isEmulated = ProcessInfo.processInfo.environment["SLOWFAST_TEST_EMULATED"] != nil

/// A run of the built command, which lies beside this test's own program.
final class Run {
  private let process = Process()
  private let directory: TemporaryDirectory
  private let start = Date()

  static let executable = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path + "/slowfast"

  /// With a `script` a shell runs it, and has the command as `$0`, its arguments as `$@`.
  init(script: String? = nil, _ arguments: [String], input: String = "", environment: [String: String] = [:]) throws {
    directory = try TemporaryDirectory()
    process.executableURL = URL(fileURLWithPath: script == nil ? Self.executable : "/bin/sh")
    process.arguments = (script.map { ["-c", $0, Self.executable] } ?? []) + arguments
    process.environment = ProcessInfo.processInfo.environment.filter { $0.key != "SLOWFAST_KERNELS" }
      .merging(environment) { _, new in new }
    process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: directory.write("input", Data(input.utf8))))
    // Files, not pipes: they never fill up.
    process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: directory.write("output", Data())))
    process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: directory.write("errors", Data())))
    try process.run()
    // A run that hangs fails its test instead of all of them.
    let identifier = process.processIdentifier
    DispatchQueue.global().asyncAfter(deadline: .now() + 120 * slowness) { [weak process] in
      if process?.isRunning == true { Glibc.kill(identifier, SIGKILL) }
    }
  }

  var isRunning: Bool { process.isRunning }
  var identifier: Int32 { process.processIdentifier }
  /// Bytes of the answer so far.
  var outputCount: Int { count("output") }
  var errorCount: Int { count("errors") }
  /// What it has said on the error stream.
  var errors: String { (try? String(contentsOfFile: directory.file("errors"), encoding: .utf8)) ?? "" }
  private func count(_ name: String) -> Int {
    (try? FileManager.default.attributesOfItem(atPath: directory.file(name))[.size] as? Int) ?? 0
  }

  /// Until `condition` holds; false if the run ends before that.
  func wait(until condition: () -> Bool) -> Bool {
    while !condition() {
      if !isRunning { return false }
      usleep(10_000)
    }
    return true
  }

  func kill() { Glibc.kill(process.processIdentifier, SIGKILL) }

  /// Sends Ctrl-C's signal and says how long the end took.
  func interrupt() throws -> Outcome {
    let sent = Date()
    Glibc.kill(process.processIdentifier, SIGINT)
    var outcome = try finish()
    outcome.seconds = Date().timeIntervalSince(sent)
    return outcome
  }

  func finish() throws -> Outcome {
    process.waitUntilExit()
    func text(_ name: String) throws -> String {
      String(decoding: try Data(contentsOf: URL(fileURLWithPath: directory.file(name))), as: UTF8.self)
    }
    // A process that a signal killed has the status that a shell would show.
    let status = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
    var errors = try text("errors")
    // Which an emulator does not.
    if isEmulated { errors.replace(/warning: this system filters no calls[^\n]*\n/, with: "") }
    // What takes half a minute is followed, a line each: "encoding frame 1 of 8".
    if slowness != 1 { errors.replace(/^[a-z]+ing [^\n]*\n/.anchorsMatchLineEndings(), with: "") }
    return Outcome(status: status, output: try text("output"), errors: errors, seconds: Date().timeIntervalSince(start))
  }
}

func slowfast(_ arguments: String..., input: String = "", environment: [String: String] = [:]) throws -> Outcome {
  try Run(arguments, input: input, environment: environment).finish()
}

/// The clip checkpoint with 8 bits, converted once.
enum Fixture {
  private static let shared: Result<TemporaryDirectory, any Error> = Result {
    let directory = try TemporaryDirectory()
    let outcome = try slowfast("convert", Repository.golden("clip"), directory.file("model.sfq"), "--bits", "8")
    try #require(outcome.status == 0, "\(outcome.errors)")
    // What a global holds is never given back by itself.
    atexit { Fixture.remove() }
    return directory
  }

  static func model() throws -> String { try shared.get().file("model.sfq") }

  static func bytes() throws -> Data { try Data(contentsOf: URL(fileURLWithPath: model())) }

  private static func remove() { try? FileManager.default.removeItem(atPath: shared.get().path) }
}

func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

/// A file as somebody leaves it who writes to it in place: `cut`, or with other bytes from its middle on.
func change(_ path: String, _ how: String) throws {
  let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
  if how == "cut" {
    try file.truncate(atOffset: 4096)
  } else {
    let count = try file.seekToEnd()
    try file.seek(toOffset: count / 2)
    try file.write(contentsOf: Data(repeating: 0xA5, count: Int(count / 4)))
  }
  try file.close()
}
