import Foundation
import TestSupport
import Testing

/// Output that cannot be written: status 1 and a line, never a signal; errors that cannot be written: the right status.
@Suite struct UnwritableTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Through a shell, which names the command `$0` and makes the streams as they should be.
  private func shell(_ script: String, _ arguments: [String]) throws -> Outcome {
    try Run(script: script, arguments, environment: ["STATUS": directory.file("status")]).finish()
  }

  /// Each a way of writing: help, text, JSON, an answer piece by piece.
  static let commands = [
    ["--help"], ["--version"], ["run", "--help"], ["--generate-completion-script", "bash"], ["inspect", "MODEL"],
    ["inspect", "MODEL", "--tensors"], ["inspect", "MODEL", "--json"], ["verify", "MODEL"], ["tokenize", "MODEL", "hello"],
    ["run", "MODEL", "-q", "hi", "--max-tokens", "4"], ["run", "MODEL", "-q", "hi", "--max-tokens", "4", "--json"],
    ["run", "MODEL", "-q", "hi", "--plan"], ["frames", "CLIP", "-n", "2"], ["convert", "GOLDEN", "OUT"],
    ["convert", "GOLDEN", "--dry-run"],
    ["bench", "MODEL", "--stages", "cross", "--repeat", "1", "--frames", "2"],
  ]

  private func filled(_ words: [String]) throws -> [String] {
    try words.map { word in
      switch word {
      case "MODEL": try Fixture.model()
      case "CLIP": Repository.clip
      case "GOLDEN": Repository.golden("clip")
      case "OUT": directory.file("out")
      default: word
      }
    }
  }

  @Test(arguments: commands)
  func fullDisk(command: [String]) throws {
    let outcome = try shell("exec \"$0\" \"$@\" > /dev/full", filled(command))
    #expect(outcome.status == 1 && outcome.errors == "error: standard output: No space left on device\n", "\(outcome)")
  }

  /// Nothing of the output lands in a file that is opened in its place.
  @Test(arguments: commands)
  func closedOutput(command: [String]) throws {
    let outcome = try shell("exec \"$0\" \"$@\" >&-", filled(command))
    #expect(outcome.status == 1 && outcome.errors == "error: standard output: Bad file descriptor\n", "\(outcome)")
  }

  @Test(arguments: commands)
  func closedPipe(command: [String]) throws {
    // The reader is gone before anything is written.
    let outcome = try shell("{ sleep 1; \"$0\" \"$@\"; echo $? > \"$STATUS\"; } | true; cat \"$STATUS\"", filled(command))
    #expect(outcome.output == "1\n" && outcome.errors == "", "\(outcome)")
  }

  @Test(arguments: ["2>&-", "2> /dev/full", "2> /dev/full > /dev/full", "2>&- >&- <&-"])
  func errorsThatCannotBeWritten(streams: String) throws {
    #expect(try shell("exec \"$0\" \"$@\" \(streams)", ["verify", "/none.sfq"]).status == 1)
    #expect(try shell("exec \"$0\" \"$@\" \(streams)", ["verify"]).status == 2)
    #expect(
      try shell("exec \"$0\" \"$@\" \(streams)", ["inspect", Fixture.model()]).status
        == (streams.contains(">&- <") || streams.contains(" > ") ? 1 : 0))
  }

  /// A file that is as large as it may become is as a full disk.
  @Test(
    .enabled(if: !isEmulated, "an emulator needs longer files itself"),
    arguments: [
      ["convert", "GOLDEN", "OUT"], ["unpack", "MODEL", "OUT"], ["pack", "MODEL", "OUT"],
      ["trace", "MODEL", "--video", "CLIP", "--frames", "2", "-q", "hi", "-o", "OUT"],
      ["frames", "CLIP", "-n", "16", "--sheet", "OUT.png"],
    ])
  func fileSizeLimit(command: [String]) throws {
    let words = try filled(command).map { $0 == "OUT.png" ? directory.file("out.png") : $0 }
    let outcome = try shell("ulimit -f 16; exec \"$0\" \"$@\"", words)
    outcome.expectBadInput(directory.file("out"))
    #expect(directory.contents == [], "\(directory.contents)")
  }
}
