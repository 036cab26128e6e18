import Foundation
import TestSupport
import Testing

/// Help, and what is refused whatever the files hold.
@Suite struct UsageTests {
  static let commands = ["convert", "run", "chat", "compare", "frames", "bench", "trace", "tokenize", "inspect", "verify", "unpack", "pack"]

  @Test(arguments: commands)
  func help(command: String) throws {
    let outcome = try slowfast(command, "--help")
    #expect(outcome.status == 0 && outcome.errors == "")
    #expect(outcome.output.contains("USAGE: slowfast \(command)"))
  }

  @Test(arguments: commands)
  func manualPage(command: String) throws {
    let page = try String(contentsOfFile: Repository.root + "/packaging/slowfast.1", encoding: .utf8)
    #expect(page.contains("\n.B \(command)\n"))
  }

  @Test func helpOfAll() throws {
    let outcome = try slowfast("--help")
    #expect(outcome.status == 0)
    for command in Self.commands { #expect(outcome.output.contains("\n  \(command)"), "\(command)") }
    let version = try slowfast("--version")
    #expect(version.status == 0 && version.output.contains("."))
  }

  /// MODEL and CLIP stand for good ones, OUT for a path where nothing is.
  static let wrong = [
    "run MODEL", "run MODEL CLIP", "run -q hi", "run MODEL CLIP -q hi --frames 0", "run MODEL CLIP -q hi --frames x",
    "run MODEL CLIP -q hi --frames 65537", "run MODEL CLIP -q hi --nonsense", "run MODEL CLIP -q hi --temperature -1",
    "run MODEL CLIP -q hi --temperature=-1", "run MODEL CLIP -q hi --temperature nan", "run MODEL CLIP -q hi --top-p 1.5",
    "run MODEL CLIP -q hi --top-k=-1", "run MODEL CLIP -q hi --repetition-penalty 0", "run MODEL CLIP -q hi --max-tokens 0",
    "run MODEL CLIP -q hi --max-tokens 9223372036854775807", "run MODEL CLIP -q hi --slow-attention sometimes",
    "run MODEL CLIP -q hi --threads 0", "run MODEL CLIP -q hi --start 5 --end 2", "run MODEL CLIP -q hi --start=-1",
    "run MODEL CLIP -q hi --seed=-1", "run MODEL CLIP -q hi --reuse-static 0", "run MODEL CLIP -q hi --reuse-static 256",
    "chat MODEL CLIP --reuse-static x", "run MODEL CLIP -q hi --cache OUT --cache-size 0", "run MODEL CLIP -q hi --cache OUT --cache-size 5X",
    "run MODEL CLIP -q hi --cache OUT --cache-size 99999999999G", "bench", "bench MODEL --stages tower,wheel", "bench MODEL --repeat 0",
    "chat", "chat MODEL CLIP --frames 0", "frames CLIP", "frames CLIP -n 0", "frames CLIP -n -1", "frames -n 2",
    "convert GOLDEN", "convert GOLDEN OUT --bits 5", "convert GOLDEN OUT --bits x", "convert GOLDEN OUT --group 33",
    "convert GOLDEN OUT --keep tower", "convert GOLDEN OUT --keep tower=7", "convert GOLDEN OUT --compress gzip",
    "convert GOLDEN OUT --threads 0", "convert GOLDEN OUT --method best", "convert GOLDEN OUT --method gptq",
    "convert GOLDEN OUT --method rtn --calibrate CLIP", "convert GOLDEN OUT --calibrate", "convert GOLDEN OUT --act-order",
    "convert GOLDEN OUT --no-fold", "convert GOLDEN OUT --calibrate CLIP --damping 0", "convert GOLDEN OUT --calibrate CLIP --damping nan",
    "convert GOLDEN OUT --calibrate CLIP --calibration-clips 0", "convert GOLDEN OUT --calibrate CLIP --calibration-frames 0",
    "convert GOLDEN OUT --target-bits 0", "convert GOLDEN OUT --target-bits 33", "convert GOLDEN OUT --target-bits nan",
    "convert GOLDEN OUT --target-bits some", "convert GOLDEN OUT --target-size 0", "convert GOLDEN OUT --target-size 5X",
    "convert GOLDEN OUT --target-size 1e300", "convert GOLDEN OUT --target-size 0.1", "convert GOLDEN OUT --target-bits 5 --target-size 5GB",
    "trace MODEL -q hi -o OUT", "trace MODEL --video CLIP --frames some -q hi -o OUT",
    "trace MODEL --video CLIP --frames 0 -q hi -o OUT", "trace MODEL --video CLIP -q hi", "trace MODEL --video CLIP -q hi -o OUT --generate=-1",
    "tokenize", "tokenize MODEL --decode x", "tokenize MODEL --decode 99999", "inspect", "verify", "unpack MODEL", "pack MODEL", "explain",
  ]

  @Test(arguments: wrong)
  func wrongUsage(line: String) throws {
    let directory = try TemporaryDirectory()
    let arguments = try line.split(separator: " ").map { word in
      switch word {
      case "MODEL": try Fixture.model()
      case "CLIP": Repository.clip
      case "GOLDEN": Repository.golden("clip")
      case "OUT": directory.file("out")
      default: String(word)
      }
    }
    let outcome = try Run(arguments).finish()
    #expect(outcome.status == 2, "\(outcome.errors)")
    #expect(outcome.output == "" && outcome.errors != "")
    #expect(directory.contents == [])
  }
}
