import Foundation
import TestSupport
import Testing

/// The scripts that let a shell complete a command line, asked as the shell asks them.
@Suite struct CompletionTests {
  private static func isThere(_ shell: String) -> Bool {
    ["/bin/", "/usr/bin/"].contains { FileManager.default.isExecutableFile(atPath: $0 + shell) }
  }
  static let hasBash = isThere("bash")
  static let hasZsh = isThere("zsh")
  static let hasFish = isThere("fish")

  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    try FileManager.default.createDirectory(atPath: directory.file("files/checkpoint"), withIntermediateDirectories: true)
    for name in ["model.sfq", "clip one.mp4", "data.jsonl"] { try directory.write("files/" + name, "") }
  }

  private func script(_ shell: String) throws -> String {
    let outcome = try slowfast("--generate-completion-script", shell)
    #expect(outcome.status == 0 && outcome.errors == "")
    return try directory.write("script", outcome.output)
  }

  private func run(_ shell: String, _ text: String, _ arguments: [String]) throws -> [String] {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [shell] + (shell == "bash" ? ["--norc", "-c"] : ["-c"]) + [text] + arguments
    process.currentDirectoryURL = URL(fileURLWithPath: directory.file("files"))
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return String(decoding: output, as: UTF8.self).split(separator: "\n").map(String.init).sorted()
  }

  private static let files = ["checkpoint", "clip one.mp4", "data.jsonl", "model.sfq"]

  /// Words of a command line, the last one unfinished, and what it may become.
  static let lines: [(words: [String], found: [String])] = [
    (["co"], ["compare", "convert"]),
    (["run", ""], files), (["run", "mod"], ["model.sfq"]), (["run", "model.sfq", "cl"], ["clip one.mp4"]),
    (["run", "model.sfq", "clip one.mp4", ""], files), (["run", "model.sfq", "--cache", ""], ["checkpoint"]),
    (["chat", "model.sfq", ""], files), (["convert", ""], ["checkpoint"]), (["convert", "checkpoint", ""], files),
    (["convert", "--bits", ""], ["16", "3", "32", "4", "8"]), (["convert", "--method", "s"], ["search"]),
    (["convert", "--calibrate", "da"], ["data.jsonl"]),
    (["convert", "--calibrate", "data.jsonl", "checkpoint", "mo"], ["model.sfq"]), (["compare", ""], files),
    (["compare", "checkpoint", ""], files),
    (["compare", "--data", ""], files), (["compare", "-o", ""], ["checkpoint"]), (["compare", "--output", "ch"], ["checkpoint"]),
    (["frames", ""], files), (["frames", "-o", ""], ["checkpoint"]), (["frames", "--sheet", ""], files), (["bench", ""], files),
    (["bench", "m", "--clip", ""], files), (["trace", ""], files), (["trace", "m", "--video", ""], files),
    (["trace", "m", "--frames", ""], files),
    (["trace", "m", "-o", ""], files), (["trace", "m", "--slow-attention", ""], ["all", "prompt"]), (["tokenize", ""], files),
    (["inspect", ""], files),
    (["verify", ""], files), (["unpack", ""], files), (["unpack", "model.sfq", ""], files), (["pack", "model.sfq", ""], files),
  ]

  @Test(.enabled(if: hasBash, "needs bash"), arguments: lines)
  func bash(words: [String], found: [String]) throws {
    let text = """
      source "$0"
      function=$(complete -p slowfast | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
      COMP_WORDS=(slowfast "$@")
      COMP_CWORD=$#
      COMP_LINE="slowfast $*"
      COMP_POINT=${#COMP_LINE}
      "$function" slowfast "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
      printf '%s\\n' "${COMPREPLY[@]}"
      """
    #expect(try run("bash", text, [script("bash")] + words).filter { !$0.hasPrefix("-") } == found)
  }

  @Test(.enabled(if: hasFish, "needs fish"), arguments: lines)
  func fish(words: [String], found: [String]) throws {
    let line = "slowfast " + words.dropLast().map { "'\($0)'" }.joined(separator: " ") + " " + words[words.count - 1]
    let text = "source '\(try script("fish"))'; complete -C \"\(line)\""
    let words = try run("fish", text, []).map { String($0.split(separator: "\t")[0]) }
    let names = words.filter { !$0.hasPrefix("-") }.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0.replacing("\\ ", with: " ") }
    #expect(Set(names) == Set(found))
  }

  @Test(.enabled(if: hasZsh, "needs zsh")) func zsh() throws {
    let script = try script("zsh")
    #expect(try String(contentsOfFile: script, encoding: .utf8).hasPrefix("#compdef slowfast"))
    #expect(
      try run("zsh", "autoload -U compinit && compinit -D && source \(script) && whence -w _slowfast", []).last == "_slowfast: function")
  }
}
