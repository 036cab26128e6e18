import Foundation
import TestSupport
import Testing

/// Pictures, whole prompts and the system's words, as the command takes them.
@Suite struct PictureTests {
  private let directory: TemporaryDirectory
  private let pictures: [String]

  init() throws {
    let directory = try TemporaryDirectory()
    self.directory = directory
    pictures = try [(30, 20), (16, 40)].enumerated().map { index, size in
      var bytes = Array("P6 \(size.0) \(size.1) 255\n".utf8)
      for place in 0..<size.0 * size.1 * 3 { bytes.append(UInt8(truncatingIfNeeded: place &* (37 + index) / 3)) }
      return try directory.write("\(index).ppm", bytes)
    }
  }

  private func run(_ model: String, _ more: [String]) throws -> Outcome {
    try Run(["run", "\(Repository.root)/Tests/Golden/\(model)", "--max-tokens", "4", "--greedy"] + more).finish()
  }

  private func plan(_ model: String, _ more: [String]) throws -> [String: Any] {
    try run(model, more + ["-q", "Hi", "--plan", "--json"]).json()
  }

  /// Where the model knows pictures, each stands for itself, alone in tiles; else together they are a clip.
  @Test func severalPictures() throws {
    // A map of 7 × 7 and the token that ends it.
    #expect(try plan("onevision-hf", pictures)["fast_tokens"] as? Int == 2 * 50)
    #expect(try plan("onevision-hf", pictures)["frames"] as? Int == 2)
    // Of a clip's frames 4 × 4 each, and one such token.
    #expect(try plan("onevision-hf", pictures + ["--as", "clip"])["fast_tokens"] as? Int == 2 * 16 + 1)
    let clip = try plan("slowfast-siglip", pictures)
    #expect(clip["frames"] as? Int == 2 && clip["slow_tokens"] as? Int == 2 * 9)
    let apart = try plan("slowfast-siglip", pictures + ["--as", "images"])
    #expect(apart["frames"] as? Int == 2 && apart["slow_tokens"] as? Int == 2 * 49)
    let alone = try run("onevision-hf", [pictures[0], "-q", "Hi", "--json"]).json()
    let statistics = try #require(alone["statistics"] as? [String: Any])
    #expect(statistics["fast_tokens"] as? Int ?? 0 > 49 + 1 && statistics["encoded_frames"] as? Int ?? 0 > 1)
  }

  @Test func aClipAmongPicturesLeavesThemApart() throws {
    let mixed = try run("slowfast-siglip", [pictures[0], Repository.clip, "--frames", "2", "-q", "Hi", "--plan", "--json"]).json()
    #expect(mixed["frames"] as? Int == 3)
  }

  /// The template's own prompt, written out, gives its answer.
  @Test func wholePrompts() throws {
    let question = try run("onevision-hf", [pictures[0], "-q", "Hi", "--json"]).json()
    let prompt = "<|im_start|>user\n<image>\nHi<|im_end|>\n<|im_start|>assistant\n"
    let whole = try run("onevision-hf", [pictures[0], "--prompt", prompt, "--json"]).json()
    #expect(whole["tokens"] as? [Int] == question["tokens"] as? [Int])
    let wrong = try run("onevision-hf", [pictures[0], "--prompt", "<image><video>"])
    #expect(
      wrong.status == 1 && wrong.output == ""
        && wrong.errors == "error: the prompt has 2 of <image> or <video>, expected 1: one for each clip or picture\n", "\(wrong.errors)")
    #expect(try run("onevision-hf", [pictures[0], "--prompt", "a", "-q", "b"]).status == 2)
    #expect(try run("onevision-hf", [pictures[0]]).status == 2)
  }

  @Test func theSystemsWords() throws {
    func tokens(_ model: String, _ more: [String]) throws -> Int? { try plan(model, more)["prompt_tokens"] as? Int }
    let (none, some) = (try tokens("onevision-hf", []), try tokens("onevision-hf", ["--system", "You are a helpful assistant."]))
    #expect(try #require(some) > #require(none))
    let (own, empty) = (try tokens("slowfast-siglip", []), try tokens("slowfast-siglip", ["--system", ""]))
    #expect(try #require(own) > #require(empty))
    #expect(try tokens("slowfast-siglip", ["--system", "You are a helpful assistant."]) == own)
  }

  /// A tower that is not in the checkpoint.
  @Test func towers() throws {
    let path = "\(Repository.root)/Tests/Golden/slowfast-clip"
    for file in try FileManager.default.contentsOfDirectory(atPath: path) where file != "openai" && !file.hasPrefix("golden") {
      try FileManager.default.copyItem(atPath: "\(path)/\(file)", toPath: directory.file(file))
    }
    func run(_ more: [String]) throws -> Outcome {
      try Run(["run", directory.path, pictures[0], "-q", "Hi", "--max-tokens", "4", "--greedy"] + more).finish()
    }
    let without = try run([])
    #expect(without.status == 1 && without.errors.contains("openai/clip-vit-tiny-patch8-56"), "\(without.errors)")
    let tower = path + "/openai/clip-vit-tiny-patch8-56"
    let with = try run(["--tower", tower])
    #expect(try with.status == 0 && with.output == self.run("slowfast-clip", [pictures[0], "-q", "Hi"]).output, "\(with.errors)")
    let output = directory.file("out.sfq")
    #expect(try Run(["convert", directory.path, output, "--bits", "32", "--tower", tower]).finish().status == 0)
    #expect(try Run(["run", output, pictures[0], "-q", "Hi", "--max-tokens", "4", "--greedy"]).finish().output == with.output)
  }
}
