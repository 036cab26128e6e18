import Foundation
import TestSupport
import Testing

/// `packaging/require.sh`, which `make` asks first: on machines that lack something.
@Suite struct RequireTests {
  private let directory: TemporaryDirectory

  /// A machine with these programs of its own, and a few of the system.
  init() throws {
    directory = try TemporaryDirectory()
    try FileManager.default.createDirectory(atPath: directory.file("bin"), withIntermediateDirectories: true)
    for tool in ["bash", "env", "grep", "head", "cut", "sort"] {
      let path = try #require(["/bin/", "/usr/bin/"].map { $0 + tool }.first(where: FileManager.default.isExecutableFile(atPath:)))
      try FileManager.default.createSymbolicLink(atPath: directory.file("bin/" + tool), withDestinationPath: path)
    }
  }

  private func program(_ name: String, _ text: String) throws {
    let path = try directory.write("bin/" + name, "#!/bin/bash\n" + text + "\n")
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
  }

  private func require(_ arguments: String...) throws -> Outcome {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/bash")
    process.arguments = [Repository.root + "/packaging/require.sh"] + arguments
    process.environment = ["PATH": directory.file("bin")]
    let (output, errors) = (Pipe(), Pipe())
    (process.standardOutput, process.standardError) = (output, errors)
    try process.run()
    let text = try [output, errors].map { String(decoding: try $0.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self) }
    process.waitUntilExit()
    return Outcome(status: process.terminationStatus, output: text[0], errors: text[1], seconds: 0)
  }

  @Test func withoutSwift() throws {
    let outcome = try require("swift")
    #expect(outcome.status == 1)
    #expect(
      outcome.errors.hasPrefix(
        "error: Swift 6.2 or newer is needed, found none on PATH. It comes from\n  https://www.swift.org/install/linux/\n"))
    #expect(outcome.errors.contains("apt-get install binutils git gcc g++ libcurl4-openssl-dev "))
  }

  @Test(arguments: [
    ("Apple Swift version 5.10.1 (swiftlang)", false), ("Swift version 6.1.2 (swift-6.1.2-RELEASE)", false),
    ("Swift version 6.2 (swift-6.2-RELEASE)", true),
    ("Swift version 6.2.1 (swift-6.2.1-RELEASE)\nTarget: x86_64", true), ("Swift version 6.10 (swift-6.10-RELEASE)", true),
    ("Swift version 7.0-dev", true),
  ])
  func versionsOfSwift(text: String, isEnough: Bool) throws {
    try program("swift", "echo '\(text)'")
    let outcome = try require("swift")
    #expect(outcome.status == (isEnough ? 0 : 1) && outcome.errors.isEmpty == isEnough, "\(outcome.errors)")
  }

  @Test func nothingIsMissing() throws {
    try program("dpkg", "echo 'Status: install ok installed'")
    let outcome = try require("packages", "one", "two")
    #expect(outcome.status == 0 && outcome.output == "" && outcome.errors == "")
  }

  @Test func withoutRootOrSudo() throws {
    try program("dpkg", "[ $2 = one ] && echo 'Status: install ok installed' || echo 'Status: deinstall ok config-files'")
    try program("id", "echo 1000")
    let outcome = try require("packages", "one", "two", "three")
    #expect(outcome.status == 1 && outcome.output == "")
    #expect(
      outcome.errors
        == "error: missing two three; without root or sudo they cannot be installed here. "
        + "As root: apt-get update && apt-get install two three\n"
    )
  }

  @Test func withSudo() throws {
    try program("dpkg", "exit 1")
    try program("id", "echo 1000")
    try program("sudo", #"echo "$@" >>"${0%/*}/../asked"; exec "$@""#)
    try program("apt-get", "exit 0")
    #expect(try require("packages", "two").status == 0)
    #expect(
      try String(contentsOfFile: directory.file("asked"), encoding: .utf8)
        == "apt-get update -qq\nenv DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends two\n")
    try program("sudo", "echo 'sudo: a password is required' >&2; exit 1")
    let outcome = try require("packages", "two")
    #expect(outcome.status == 1)
    #expect(outcome.errors == "sudo: a password is required\nerror: cannot install two. As root: apt-get update && apt-get install two\n")
  }
}
