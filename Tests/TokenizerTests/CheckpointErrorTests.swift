import Foundation
import TestSupport
import Testing
import Tokenizer

/// Each way in which a checkpoint's tokenizer files can be wrong, made of the files of a good one.
@Suite("Broken tokenizer files")
struct CheckpointErrorTests {
  private typealias Object = [String: Any]

  private func json(_ object: Any) throws -> Data { try JSONSerialization.data(withJSONObject: object) }

  /// The error that these files give, without the temporary directory that it names.
  private func error(_ files: [String: Data]) throws -> String {
    try Fixture.checkpoint(files) { directory in
      do {
        _ = try Tokenizer(checkpoint: directory)
        return "none"
      } catch {
        let line = "\(error)"
        #expect(!line.contains("\n"))
        return line.replacingOccurrences(of: directory + "/", with: "").replacingOccurrences(of: directory, with: "DIRECTORY")
      }
    }
  }

  /// The error of the small golden tokenizer.json after a change.
  private func error(_ change: (inout Object) -> Void) throws -> String {
    var object = try Fixture.object("clip/tokenizer.json")
    change(&object)
    return try error(["tokenizer.json": json(object)])
  }

  private func modelError(_ change: (inout Object) -> Void) throws -> String {
    try error { object in
      var model = object["model"] as! Object
      change(&model)
      object["model"] = model
    }
  }

  private func vocabularyError(_ change: (inout [String: Int]) -> Void) throws -> String {
    try modelError { model in
      var vocabulary = model["vocab"] as! [String: Int]
      change(&vocabulary)
      model["vocab"] = vocabulary
    }
  }

  @Test("missing, empty and foreign files")
  func files() throws {
    #expect(try error([:]) == "DIRECTORY: no tokenizer: expected tokenizer.json, or vocab.json and merges.txt")
    #expect(try error(["vocab.json": Data("{}".utf8)]).hasPrefix("DIRECTORY: no tokenizer"))
    #expect(try error(["tokenizer.json": Data()]).hasPrefix("tokenizer.json: "))
    #expect(try error(["tokenizer.json": Data("\0\u{1}\u{2}".utf8)]).hasPrefix("tokenizer.json: "))
    #expect(try error(["tokenizer.json": Data("[]".utf8)]).hasPrefix("tokenizer.json: the file is not of the type"))
    #expect(try error(["tokenizer.json": Data("{}".utf8)]) == "tokenizer.json: the file has no \"model\"")
    let whole = try Fixture.data("clip/tokenizer.json")
    #expect(try error(["tokenizer.json": whole]) == "none")
    for length in stride(from: 0, to: whole.count - 2, by: 997) {
      #expect(try error(["tokenizer.json": whole.prefix(length)]).hasPrefix("tokenizer.json: "))
    }
    let nested = Data(String(repeating: "[", count: 100_000).utf8)
    #expect(try error(["tokenizer.json": nested]).hasPrefix("tokenizer.json: "))
    #expect(throws: TokenizerError.noTokenizer(directory: "/nonexistent")) { try Tokenizer(checkpoint: "/nonexistent") }
    try Fixture.checkpoint([:]) { directory in
      try FileManager.default.createDirectory(atPath: directory + "/tokenizer.json", withIntermediateDirectories: true)
      #expect(throws: TokenizerError.unreadable(file: directory + "/tokenizer.json", reason: "a directory, expected a file")) {
        try Tokenizer(checkpoint: directory)
      }
    }
  }

  @Test("settings that are not supported")
  func settings() throws {
    #expect(try modelError { $0["type"] = "Unigram" } == "tokenizer.json: model.type is \"Unigram\", expected \"BPE\"")
    #expect(try modelError { $0["dropout"] = 0.1 } == "tokenizer.json: model.dropout is \"0.1\", expected none")
    #expect(try modelError { $0["continuing_subword_prefix"] = "##" }.contains("continuing_subword_prefix"))
    #expect(try modelError { $0["end_of_word_suffix"] = "</w>" }.contains("end_of_word_suffix"))
    #expect(try modelError { $0["ignore_merges"] = true }.contains("ignore_merges"))
    #expect(
      try error { $0["normalizer"] = ["type": "Lowercase"] } == "tokenizer.json: normalizer is \"Lowercase\", expected null or \"NFC\"")
    #expect(try error { $0["normalizer"] = ["type": "Sequence", "normalizers": [["type": "NFC"]]] } == "none")
    #expect(try error { $0["decoder"] = NSNull() } == "tokenizer.json: decoder is null, expected \"ByteLevel\"")
    #expect(try error { $0["post_processor"] = ["type": "TemplateProcessing"] }.contains("post_processor"))
    // Templates that add nothing, as transformers 5 writes them, and such as add something, or drop the text.
    func template(_ pieces: Object...) -> Object {
      ["type": "TemplateProcessing", "single": pieces, "pair": [], "special_tokens": Object()]
    }
    let text: Object = ["Sequence": ["id": "A", "type_id": 0]]
    let end: Object = ["SpecialToken": ["id": "<|im_end|>", "type_id": 0]]
    #expect(try error { $0["post_processor"] = template(text) } == "none")
    #expect(try error { $0["post_processor"] = ["type": "Sequence", "processors": [["type": "ByteLevel"], template(text)]] } == "none")
    for wrong in [
      template(text, end), template(end, text), template(text, text), template(), ["type": "BertProcessing"],
      ["type": "Sequence", "processors": [["type": "ByteLevel"], template(text, end)]],
    ] as [Object] {
      #expect(try error { $0["post_processor"] = wrong }.contains("post_processor is \""))
    }
    #expect(try error { $0["post_processor"] = ["type": "ByteLevel"] } == "none")
    // A byte without a token has to be left out, which these say it is not.
    #expect(try modelError { $0["unk_token"] = "a" } == "none")
    #expect(
      try modelError { model in
        var vocabulary = model["vocab"] as! [String: Int]
        vocabulary["Z"] = nil
        model["vocab"] = vocabulary
        model["byte_fallback"] = true
      } == "tokenizer.json: model.byte_fallback is set, and the vocabulary lacks the byte 90, expected a token for every byte")
  }

  @Test("pre-tokenizers that are not known")
  func preTokenizers() throws {
    let pattern = try Fixture.object("clip/tokenizer.json")
    let steps = (pattern["pre_tokenizer"] as! Object)["pretokenizers"] as! [Object]
    func error(_ steps: [Object]) throws -> String {
      try self.error { $0["pre_tokenizer"] = ["type": "Sequence", "pretokenizers": steps] }
    }
    #expect(try error(steps) == "none")
    #expect(try error(steps.reversed()).hasPrefix("tokenizer.json: pre_tokenizer is Sequence ByteLevel Split, expected"))
    #expect(try error([]).hasPrefix("tokenizer.json: pre_tokenizer is Sequence, expected"))
    #expect(try error([steps[0], steps[0], steps[1]]).hasPrefix("tokenizer.json: pre_tokenizer is Sequence Split Split ByteLevel"))
    #expect(try self.error { $0["pre_tokenizer"] = NSNull() }.hasPrefix("tokenizer.json: pre_tokenizer is null"))
    #expect(
      try error([steps[0].merging(["pattern": ["Regex": "\\w+|\u{7}"]]) { $1 }, steps[1]])
        == "tokenizer.json: pre_tokenizer.pattern is Regex: \\w+|\\u{7}, expected the pattern of Qwen2 or of GPT-2")
    #expect(try error([steps[0].merging(["pattern": ["String": " "]]) { $1 }, steps[1]]).contains("pre_tokenizer.pattern is String:  ,"))
    #expect(try error([steps[0].merging(["behavior": "Removed"]) { $1 }, steps[1]]).contains("pre_tokenizer.behavior is Removed"))
    #expect(try error([steps[0].merging(["invert": true]) { $1 }, steps[1]]).contains("Isolated, inverted"))
    #expect(try error([steps[0], steps[1].merging(["add_prefix_space": true]) { $1 }]).contains("add_prefix_space is true"))
    #expect(try error([steps[0], steps[1].merging(["use_regex": true]) { $1 }]).contains("use_regex is true"))
    #expect(try error([steps[1]]).contains("use_regex is false"))
  }

  @Test("vocabularies that contradict themselves")
  func vocabularies() throws {
    #expect(try vocabularyError { $0["new"] = 7 }.contains("the id 7 has two tokens"))
    #expect(try vocabularyError { $0["new"] = -1 } == "tokenizer.json: token \"new\" has the id -1, expected 0 ..< 4194304")
    #expect(try vocabularyError { $0["new"] = 4_194_304 }.contains("has the id 4194304"))
    #expect(try vocabularyError { $0["\u{1B}[1m"] = Int.max }.contains("token \"\\u{1b}[1m\" has the id"))
    #expect(try vocabularyError { $0[String(repeating: "x", count: 32_768)] = 460 }.contains("token 460 has 32768 bytes, at most 32767"))
    // Ids need not follow one another, and tokens need not be of the byte alphabet.
    #expect(try vocabularyError { $0["new"] = 100_000 } == "none")
    #expect(try vocabularyError { $0["a b \u{2603}"] = 460 } == "none")
    #expect(try modelError { $0["vocab"] = ["a": 0.5] } == "tokenizer.json: a number in the file is not a whole one")
    let twice = Data(#"{"model": {"vocab": {"a": 0, "a": 1}}}"#.utf8)
    #expect(try self.error(["tokenizer.json": twice]) == "tokenizer.json: \"a\" appears twice in one JSON object")
    #expect(try modelError { $0["vocab"] = ["a": "b"] }.hasPrefix("tokenizer.json: model.vocab"))
    // Only the first merge is told of.
    #expect(try modelError { $0["vocab"] = [String: Int]() }.contains("merge 0 needs the token \"r\""))
  }

  @Test("merges of tokens that are not there, or of no two tokens")
  func merges() throws {
    func error(_ merges: Any) throws -> String { try modelError { $0["merges"] = merges } }
    #expect(try error([["r", "e"]]) == "none")
    #expect(try error(["r e"]) == "none")
    #expect(try error([["r", "e"], ["r", "e"]]) == "none")
    #expect(try error([String]()) == "none")
    #expect(try error(["re"]) == "tokenizer.json: merge 0 is \"re\", expected two tokens")
    #expect(try error(["r e", "r  e"]).contains("merge 1 is \"r  e\""))
    #expect(try error(["r e x"]).contains("merge 0"))
    #expect(try error([["r", "e"], ["r"]]).contains("merge 1 is \"r\""))
    #expect(try error([["r", "e", "x"]]).contains("merge 0 is \"r e x\""))
    #expect(try error([["q", "zz"]]) == "tokenizer.json: merge 0 needs the token \"zz\", which is not in the vocabulary")
    #expect(try error([["zz", "q"]]).contains("merge 0 needs the token \"zz\""))
    #expect(try error([["q", "q"]]).contains("merge 0 needs the token \"qq\""))
    #expect(try error([["", "q"]]).contains("merge 0 needs the token \"\""))
    #expect(try error([["\u{2603}", "q"]]).contains("merge 0 needs the token"))
    #expect(
      try modelError { model in
        // Tokens outside of the byte alphabet may merge, though no text ever makes them do so.
        model["vocab"] = (model["vocab"] as! [String: Int]).merging(["\u{2603}": 460, "q\u{2603}": 461]) { old, _ in old }
        model["merges"] = [["q", "\u{2603}"]]
      } == "none")
    #expect(try error(["a": "b"]).hasPrefix("tokenizer.json: model.merges"))
    #expect(try error([1, 2]).hasPrefix("tokenizer.json: model.merges"))
  }

  @Test("added tokens that contradict the vocabulary or each other")
  func addedTokens() throws {
    func error(_ tokens: [Object]) throws -> String { try self.error { $0["added_tokens"] = tokens } }
    #expect(try error([["content": "<x>"]]) == "tokenizer.json: added_tokens: a token has no \"id\"")
    #expect(try error([["id": 452]]).hasPrefix("tokenizer.json: added_tokens[0] has no \"content\""))
    #expect(try error([["id": -5, "content": "<x>"]]).contains("has the id -5"))
    #expect(try error([["id": 1 << 40, "content": "<x>"]]).contains("has the id 1099511627776"))
    #expect(try error([["id": 7, "content": "<x>"]]).contains("the id 7 has two tokens"))
    #expect(
      try error([["id": 452, "content": "<x>"], ["id": 452, "content": "<y>"]])
        == "tokenizer.json: the id 452 has two tokens, \"<x>\" and \"<y>\"")
    #expect(
      try error([["id": 452, "content": "<x>"], ["id": 453, "content": "<x>"]])
        == "tokenizer.json: the token \"<x>\" has two ids, 452 and 453")
    #expect(try error([["id": 452, "content": "re"]]).contains("the token \"re\" has two ids"))
    #expect(try error([["id": 452, "content": String(repeating: "x", count: 65_536)]]).contains("token 452 has 65536 bytes"))
    #expect(try error([["id": 452, "content": ""], ["id": 1000, "content": "<x>"], ["id": 1000, "content": "<x>"]]) == "none")
  }

  @Test("a token keeps its id where ids do not follow one another")
  func gaps() throws {
    var object = try Fixture.object("clip/tokenizer.json")
    object["added_tokens"] = [["id": 1000, "content": "<x>", "special": true], ["id": 500, "content": "<y>", "normalized": false]]
    let tokenizer = try Fixture.checkpoint(["tokenizer.json": json(object)]) { try Tokenizer(checkpoint: $0) }
    #expect(tokenizer.vocabularySize == 1001)
    #expect(tokenizer.encode("<x><y>") == [1000, 500])
    #expect(tokenizer.decode([1000, 700, 500]) == "<x><y>")
    #expect(tokenizer.token(700) == nil)
    #expect(try Tokenizer(serialized: tokenizer.serialized()).encode("<x><y>") == [1000, 500])
  }

  @Test("tokenizer_config.json: its tokens count, and its contradictions are told")
  func config() throws {
    let tokenizer = try Fixture.data("clip/tokenizer.json")
    func error(_ config: Object) throws -> String {
      try self.error(["tokenizer.json": tokenizer, "tokenizer_config.json": json(config)])
    }
    #expect(try error(["eos_token": ["content": "<|im_end|>", "special": true]]) == "none")
    // In no vocabulary: it gets the next id.
    #expect(try error(["eos_token": "<eos>\n"]) == "none")
    #expect(try error(["eos_token": 5]).hasPrefix("tokenizer_config.json: eos_token"))
    #expect(try error(["add_prefix_space": true]).contains("add_prefix_space is true, expected false"))
    #expect(try error(["split_special_tokens": true]).contains("split_special_tokens"))
    #expect(try error(["added_tokens_decoder": ["x": ["content": "<x>"]]]).contains("added_tokens_decoder: \"x\" is no id"))
    #expect(try error(["added_tokens_decoder": ["453": ["content": "<x>"]]]).contains("the id 453 has two tokens"))
    #expect(try error(["eos_token": "<x>", "added_tokens_decoder": ["455": ["content": "<x>", "special": true]]]) == "none")
  }

  @Test("vocab.json and merges.txt")
  func twoFiles() throws {
    func error(_ merges: String, _ config: Object = [:]) throws -> String {
      let vocabulary = try json(["a": 0, "b": 1, "ab": 2])
      return try self.error(["vocab.json": vocabulary, "merges.txt": Data(merges.utf8), "tokenizer_config.json": json(config)])
    }
    #expect(try error("#version: 0.2\r\na b\r\n") == "none")
    #expect(try error("") == "none")
    #expect(try error("a b\nab\n") == "merges.txt: merge 1 is \"ab\", expected two tokens")
    #expect(try error("b a") == "merges.txt: merge 0 needs the token \"ba\", which is not in the vocabulary")
    #expect(try error("a \u{FFFD}") == "merges.txt: merge 0 needs the token \"\u{FFFD}\", which is not in the vocabulary")
    #expect(try error("a b", ["tokenizer_class": "GPT2Tokenizer"]) == "none")
    #expect(
      try error("a b", ["tokenizer_class": "LlamaTokenizer"])
        == "tokenizer_config.json: tokenizer_class is \"LlamaTokenizer\", expected \"Qwen2Tokenizer\" or \"GPT2Tokenizer\"")
  }

  @Test("bytes that the vocabulary lacks are left out")
  func missingBytes() throws {
    let files = ["vocab.json": try json(["a": 0, "b": 1, "ab": 2]), "merges.txt": Data("a b".utf8)]
    let tokenizer = try Fixture.checkpoint(files) { try Tokenizer(checkpoint: $0) }
    #expect(tokenizer.encode("a-b a b") == [0, 1, 0, 1])
    #expect(tokenizer.encode("aéb") == [2])
    #expect(tokenizer.encode("é!") == [])
  }

  @Test("no change of a few bytes of tokenizer.json makes a trap")
  func fuzz() throws {
    let original = try Fixture.data("clip/tokenizer.json")
    var random = SeededNumbers(4)
    for _ in 0..<150 {
      var data = original
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let place = Int.random(in: 0..<data.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: data[place] = UInt8.random(in: 0...255, using: &random)
        case 1: data[place] = "0123456789-\"[]{},:\\".utf8.randomElement(using: &random) ?? 0
        default: data.removeSubrange(place..<min(data.count, place + Int.random(in: 1...40, using: &random)))
        }
      }
      try Fixture.checkpoint(["tokenizer.json": data]) { directory in
        if let tokenizer = try? Tokenizer(checkpoint: directory) { _ = tokenizer.decode(tokenizer.encode("What's <|im_end|> re?")) }
      }
    }
  }
}
