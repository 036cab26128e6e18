import Foundation
import TestSupport
import Testing

/// Something else where a model, a clip or a file of a checkpoint belongs: one line names the path once, what it is and what to do.
@Suite struct WrongKindTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func expectOnce(_ arguments: [String], _ path: String, _ words: String..., location: SourceLocation = #_sourceLocation) throws {
    let outcome = try Run(arguments).finish()
    outcome.expectBadInput("error: ", location: location)
    #expect(outcome.errors.components(separatedBy: path).count == 2, "\(outcome.errors)", sourceLocation: location)
    for word in words { #expect(outcome.errors.contains(word), "\(outcome.errors)", sourceLocation: location) }
  }

  /// The golden checkpoint's files as links, but for those of `changes`; nil leaves one out.
  private func checkpoint(_ changes: [String: Data?] = [:]) throws -> String {
    let folder = directory.file("checkpoint")
    try? FileManager.default.removeItem(atPath: folder)
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for name in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    where !changes.keys.contains(name) {
      try FileManager.default.createSymbolicLink(atPath: folder + "/" + name, withDestinationPath: Repository.golden("clip") + "/" + name)
    }
    for case (let name, let data?) in changes { try data.write(to: URL(fileURLWithPath: folder + "/" + name)) }
    return folder
  }

  private let pointer = Data(
    """
    version https://git-lfs.github.com/spec/v1
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
    size 10366828

    """.utf8)

  @Test(arguments: ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
  func filesThatAreNotThere(name: String) throws {
    let run = { (folder: String) in ["run", folder, "-q", "hi"] }
    try expectOnce(run(checkpoint([name: pointer])), name, "Git LFS pointer", "git lfs pull")
    let folder = try checkpoint([name: Data?.none])
    try FileManager.default.createSymbolicLink(atPath: folder + "/" + name, withDestinationPath: "../../blobs/0123")
    try expectOnce(run(folder), name, "a link to \"../../blobs/0123\", which is missing")
    try FileManager.default.removeItem(atPath: folder + "/" + name)
    try FileManager.default.createDirectory(atPath: folder + "/" + name, withIntermediateDirectories: false)
    try expectOnce(run(folder), name, "a directory, expected a file")
    try expectOnce(["convert", folder, directory.file("out.sfq")], name, "a directory, expected a file")
  }

  @Test func hubNames() throws {
    try expectOnce(
      ["run", "no-such-lab/some-model-7b", "-q", "hi"], "error: no-such-lab/some-model-7b", "hf download no-such-lab/some-model-7b")
    try expectOnce(["convert", "no-such-lab/some-model-7b", directory.file("x.sfq")], "error: no-such-lab/some-model-7b", "hf download")
    let plain = try slowfast("run", "/no/such/model.sfq", "-q", "hi")
    plain.expectBadInput("/no/such/model.sfq: no such file or directory\n")
  }

  @Test func hubCaches() throws {
    let cache = directory.file("models--lab--model")
    for name in ["blobs", "refs", "snapshots/0abc", "snapshots/1def"] {
      try FileManager.default.createDirectory(atPath: cache + "/" + name, withIntermediateDirectories: true)
    }
    try Data("1def".utf8).write(to: URL(fileURLWithPath: cache + "/refs/main"))
    try expectOnce(["run", cache, "-q", "hi"], "error: " + cache, "the checkpoint is \"\(cache)/snapshots/1def\"")
    try expectOnce(["run", directory.path, "-q", "hi"], "error: " + directory.path, "models--lab--model/snapshots")
    for name in ["0abc", "1def"] { try FileManager.default.removeItem(atPath: cache + "/snapshots/" + name) }
    try expectOnce(["run", cache, "-q", "hi"], cache, "download was not finished")
    let above = directory.file("above")
    try FileManager.default.createDirectory(atPath: above, withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(atPath: above + "/inner", withDestinationPath: Repository.golden("clip"))
    try expectOnce(["run", above, "-q", "hi"], "error: " + above, "the checkpoint is in \"\(above)/inner\"")
  }

  @Test func clipsAndModelsInEachOthersPlace() throws {
    let model = try Fixture.model()
    for command in [["run", Repository.clip, model, "-q", "hi"], ["inspect", Repository.clip], ["tokenize", Repository.clip, "hi"]] {
      try expectOnce(command, Repository.clip, "a video, expected a model")
    }
    try expectOnce(["convert", Repository.clip, directory.file("x.sfq")], Repository.clip, "a video, expected a model")
    for clip in [model, Repository.golden("clip"), Repository.golden("clip") + "/model.safetensors"] {
      try expectOnce(["run", model, clip, "-q", "hi"], "error: " + clip, "expected a clip: the model comes first")
    }
    try expectOnce(["run", Repository.golden("clip") + "/config.json", "-q", "hi"], "config.json", "one file of a checkpoint")
    try expectOnce(["convert", model, directory.file("x.sfq")], "error: " + model, "converted already")
    let pictures = directory.file("pictures")
    try FileManager.default.createDirectory(atPath: pictures, withIntermediateDirectories: true)
    _ = try directory.write("pictures/a.png", Data([0x89] + Array("PNG\r\n\u{1A}\n".utf8)))
    try expectOnce(["run", pictures, model, "-q", "hi"], "error: " + pictures, "the model comes first")
    try expectOnce(["run", model, directory.write("clip.mp4", pointer), "-q", "hi"], "clip.mp4", "Git LFS pointer")
    try expectOnce(["run", directory.write("model.gguf", Data("GGUF\u{3}".utf8)), "-q", "hi"], "model.gguf", "GGUF")
  }

  /// What the configuration says is told with its file's path, for a directory and for a model file alike.
  @Test func settingsAreToldWithTheirFile() throws {
    let text = try String(contentsOfFile: Repository.golden("clip") + "/config.json", encoding: .utf8)
    let folder = try checkpoint(["config.json": Data(text.replacing("llava_qwen_slow_fast", with: "llava_next").utf8)])
    try expectOnce(["run", folder, "-q", "hi"], folder, "config.json: \"model_type\" is llava_next", "llava_qwen_slow_fast")
    try expectOnce(["convert", folder, directory.file("x.sfq")], folder, "config.json: \"model_type\" is llava_next")
    let untied = try checkpoint(["config.json": Data(text.replacing("\"rope_theta\": 1000000.0,", with: "").utf8)])
    try expectOnce(["convert", untied, directory.file("x.sfq")], untied, "config.json: no field \"rope_theta\"")
  }
}
