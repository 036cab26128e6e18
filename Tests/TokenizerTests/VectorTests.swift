import Foundation
import TestSupport
import Testing
import Tokenizer

@Suite("The same ids and texts as HuggingFace's tokenizers")
struct VectorTests {
  private func check(_ tokenizer: Tokenizer, _ path: String) throws {
    let vectors = try Fixture.decode(path, as: Vectors.self)
    #expect(vectors.texts.count > 20)
    for vector in vectors.texts {
      let comment = Comment(rawValue: vector.text.debugDescription)
      #expect(tokenizer.encode(vector.text) == vector.ids, comment)
      #expect(tokenizer.encode(vector.text, allowSpecial: false) == vector.idsAsText, comment)
      expectSame(tokenizer.decode(vector.ids), vector.decoded, comment)
      expectSame(tokenizer.decode(vector.ids, skipSpecial: true), vector.decodedWithoutSpecial, comment)
    }
    for vector in vectors.long {
      let ids = tokenizer.encode(String(repeating: vector.unit, count: vector.times))
      #expect(ids.count == vector.count, "\(vector.times) times \(vector.unit.debugDescription)")
      #expect(Vectors.digest(ids) == vector.digest, "\(vector.times) times \(vector.unit.debugDescription)")
    }
  }

  @Test("Qwen2's pattern, from tokenizer.json")
  func qwen2() throws { try check(Fixture.tokenizer("qwen2"), "qwen2/vectors.json") }

  @Test("Qwen2's pattern, from vocab.json and merges.txt")
  func qwen2FromTwoFiles() throws {
    let names = ["vocab.json", "merges.txt", "tokenizer_config.json"]
    let files = try Dictionary(uniqueKeysWithValues: names.map { ($0, try Fixture.data("qwen2/\($0)")) })
    let tokenizer = try Fixture.checkpoint(files) { try Tokenizer(checkpoint: $0) }
    try check(tokenizer, "qwen2/vectors.json")
    #expect(try tokenizer.serialized() == Fixture.tokenizer("qwen2").serialized())
  }

  @Test("Qwen2's pattern, from the serialized form")
  func qwen2FromSerialized() throws {
    try check(Tokenizer(serialized: Fixture.tokenizer("qwen2").serialized()), "qwen2/vectors.json")
  }

  @Test("GPT-2's pattern, without normalization")
  func gpt2() throws { try check(Fixture.tokenizer(changedBy: "gpt2/changes.json"), "gpt2/vectors.json") }

  @Test("SmolLM2's digits before GPT-2's pattern, also from the serialized form")
  func smolLM2() throws {
    let tokenizer = try Fixture.tokenizer(changedBy: "smollm2/changes.json")
    try check(tokenizer, "smollm2/vectors.json")
    try check(Tokenizer(serialized: tokenizer.serialized()), "smollm2/vectors.json")
  }

  @Test("added tokens that strip, stand alone or are normalized")
  func addedTokens() throws {
    let tokenizer = try Fixture.tokenizer(changedBy: "added/changes.json")
    try check(tokenizer, "added/vectors.json")
    try check(Tokenizer(serialized: tokenizer.serialized()), "added/vectors.json")
  }

  @Test("Qwen2's whole tokenizer", .enabled(if: FullTokenizer.isPresent))
  func full() throws {
    struct Case: Decodable {
      var text: String
      var ids: [Int32]
      var decoded: String
    }
    let cases = try JSONDecoder().decode(
      [Case].self, from: Data(contentsOf: FullTokenizer.directory.appendingPathComponent("vectors.json")))
    let tokenizer = try Tokenizer(checkpoint: FullTokenizer.directory.path)
    #expect(tokenizer.vocabularySize == 151_646)
    #expect(cases.count > 20)
    for one in cases {
      #expect(tokenizer.encode(one.text) == one.ids, Comment(rawValue: one.text.debugDescription))
      expectSame(tokenizer.decode(one.ids), one.decoded)
    }
    let bytes = tokenizer.serialized()
    #expect(try Tokenizer(serialized: bytes).serialized() == bytes)
  }

  /// Looked for beside the package; too large to be part of it.
  private enum FullTokenizer {
    static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("shared/tokenizer/qwen2")
    static let isPresent = FileManager.default.fileExists(atPath: directory.appendingPathComponent("vectors.json").path)
  }

  @Test("300 000 letters without a space, in less than quadratic time", .timeLimit(.minutes(10)))
  func withoutSpaces() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    var random = SeededNumbers(1)
    let letters = Array("etaoinshr".utf8)
    let text = String(decoding: (0..<300_000).map { _ in letters[Int.random(in: 0..<letters.count, using: &random)] }, as: UTF8.self)
    let ids = tokenizer.encode(text)
    #expect(ids.count < 300_000)
    #expect(tokenizer.decode(ids) == text)
    let marks = "a" + String(repeating: "\u{301}\u{316}", count: 50_000)
    // NFC puts the marks below before those above, and composes the first of the latter with the letter.
    let normalized = "\u{E1}" + String(repeating: "\u{316}", count: 50_000) + String(repeating: "\u{301}", count: 49_999)
    expectSame(tokenizer.decode(tokenizer.encode(marks)), normalized)
  }
}
