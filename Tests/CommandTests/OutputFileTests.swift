import Foundation
import TestSupport
import Testing

/// What `-o`, `--sheet` and the other outputs may and may not be written to.
@Suite struct OutputFileTests {
  private let directory: TemporaryDirectory
  private static let clip = Repository.root + "/benchmarks/demo/examples/clips/003.mp4"

  init() throws { directory = try TemporaryDirectory() }

  /// Commands that write one file, each to `output`, of a model and a clip of their own.
  private func commands(_ output: String, model: String, clip: String) -> [(name: String, arguments: [String])] {
    [
      ("frames", ["frames", clip, "-n", "2", "--sheet", output]),
      ("trace", ["trace", model, "--video", clip, "--frames", "2", "-q", "What?", "-o", output]),
      ("pack", ["pack", model, output]),
      ("unpack", ["unpack", model, output]),
      ("convert", ["convert", Repository.golden("clip"), output]),
    ]
  }

  private func run(_ arguments: [String], _ more: String...) throws -> Outcome { try Run(arguments + more).finish() }

  private func copies() throws -> (model: String, clip: String) {
    let model = directory.file("model.sfq")
    let clip = directory.file("clip.png")
    try FileManager.default.copyItem(atPath: Fixture.model(), toPath: model)
    try FileManager.default.copyItem(atPath: Self.clip, toPath: clip)
    return (model, clip)
  }

  private func bytes(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

  @Test func aFileThatIsThereStaysWithoutForce() throws {
    let (model, clip) = try copies()
    let output = try directory.write("output.png", "mine")
    for (name, arguments) in commands(output, model: model, clip: clip) {
      try run(arguments).expectBadInput("output.png: exists already", "--force")
      #expect(try bytes(output) == Data("mine".utf8), "\(name)")
    }
    for (name, arguments) in commands(output, model: model, clip: clip) {
      let outcome = try run(arguments, "--force")
      #expect(outcome.status == 0, "\(name): \(outcome.errors)")
      #expect(try bytes(output).count > 100, "\(name)")
      #expect(directory.contents == ["clip.png", "model.sfq", "output.png"], "\(name)")
    }
  }

  /// Under its own name, another spelling of it, a symbolic and a hard link.
  @Test func theInputIsNeverWrittenOver() throws {
    let (model, clip) = try copies()
    let before = try (bytes(model), bytes(clip))
    try FileManager.default.createSymbolicLink(atPath: directory.file("soft.png"), withDestinationPath: "clip.png")
    try FileManager.default.createSymbolicLink(atPath: directory.file("soft.sfq"), withDestinationPath: "model.sfq")
    try FileManager.default.linkItem(atPath: clip, toPath: directory.file("hard.png"))
    try FileManager.default.linkItem(atPath: model, toPath: directory.file("hard.sfq"))
    let files = directory.contents
    for (suffix, names) in [("png", ["frames", "trace"]), ("sfq", ["trace", "pack", "unpack"])] {
      let own = suffix == "png" ? clip : model
      for output in [
        own, directory.path + "/./" + (own as NSString).lastPathComponent, directory.file("soft." + suffix),
        directory.file("hard." + suffix),
      ] {
        for (name, arguments) in commands(output, model: model, clip: clip) where names.contains(name) {
          try run(arguments, "--force").expectBadInput("read")
          #expect(directory.contents == files, "\(name)")
        }
      }
    }
    #expect(try bytes(model) == before.0 && bytes(clip) == before.1)
  }

  @Test func theCheckpointIsNeverWrittenOver() throws {
    let checkpoint = directory.file("checkpoint")
    try FileManager.default.copyItem(atPath: Repository.golden("clip"), toPath: checkpoint)
    for name in ["config.json", "model.safetensors"] {
      let before = try bytes(checkpoint + "/" + name)
      try slowfast("convert", checkpoint, checkpoint + "/" + name, "--force").expectBadInput(name, "read")
      #expect(try bytes(checkpoint + "/" + name) == before)
    }
  }

  @Test func devicesLinksPipesAndDirectoriesStay() throws {
    let (model, clip) = try copies()
    let elsewhere = try directory.write("elsewhere", "mine")
    try FileManager.default.createSymbolicLink(atPath: directory.file("link.png"), withDestinationPath: elsewhere)
    try FileManager.default.createSymbolicLink(atPath: directory.file("dangling.png"), withDestinationPath: "nowhere")
    #expect(mkfifo(directory.file("pipe.png"), 0o600) == 0)
    try FileManager.default.createDirectory(atPath: directory.file("folder.png"), withIntermediateDirectories: false)
    let places = [
      ("/dev/null", "a device"), (directory.file("link.png"), "a symbolic link"), (directory.file("dangling.png"), "a symbolic link"),
      (directory.file("pipe.png"), "a pipe"), (directory.file("folder.png"), "a directory"),
    ]
    let files = directory.contents
    for (place, kind) in places {
      // A contact sheet's name says what it is.
      for (name, arguments) in commands(place, model: model, clip: clip) where name != "frames" || place.hasSuffix(".png") {
        try run(arguments, "--force").expectBadInput("is \(kind)")
        #expect(directory.contents == files, "\(name)")
      }
    }
    #expect(try bytes(elsewhere) == Data("mine".utf8))
  }

  /// Somebody else who may write to the directory plants links where temporary files will be.
  @Test func plantedLinksAreNotFollowed() throws {
    let (model, _) = try copies()
    let victim = try directory.write("victim", "mine")
    for name in ["out.sfq.partial", "out.sfq.partial.journal"] {
      try FileManager.default.createSymbolicLink(atPath: directory.file(name), withDestinationPath: victim)
      let outcome = try slowfast("pack", model, directory.file("out.sfq"))
      #expect(outcome.status == 1 && outcome.errors.contains(name), "\(outcome.errors)")
      #expect(try bytes(victim) == Data("mine".utf8))
      try FileManager.default.removeItem(atPath: directory.file(name))
      for stray in ["out.sfq.partial", "out.sfq.partial.journal"] { try? FileManager.default.removeItem(atPath: directory.file(stray)) }
    }
  }

  /// Killed at some moments: what is left is a whole output or none, nothing else of `frames` and `trace`, and the next run is right.
  @Test func killedRunsLeaveNothingHalf() throws {
    let (model, clip) = try copies()
    let whole = directory.file("whole.png")
    #expect(try run(commands(whole, model: model, clip: clip)[0].arguments).status == 0)
    let expected = try bytes(whole)
    try FileManager.default.removeItem(atPath: whole)
    for (name, arguments) in commands(directory.file("out.png"), model: model, clip: clip) {
      for delay in [3, 9, 20] {
        let run = try Run(arguments + ["--force"])
        usleep(useconds_t(delay * 3000))
        run.kill()
        _ = try run.finish()
        let left = Set(directory.contents).subtracting(["clip.png", "model.sfq", "out.png"])
        #expect(left.isSubset(of: ["out.png.partial", "out.png.partial.journal"]), "\(name): \(left)")
        if ["frames", "trace"].contains(name) { #expect(left.isEmpty, "\(name): \(left)") }
      }
      #expect(try run(arguments, "--force").status == 0)
      #expect(directory.contents == ["clip.png", "model.sfq", "out.png"], "\(name)")
      if name == "frames" { #expect(try bytes(directory.file("out.png")) == expected) }
      try FileManager.default.removeItem(atPath: directory.file("out.png"))
    }
  }
}
