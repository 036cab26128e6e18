import Foundation
import ModelFile
import TestSupport
import Testing

/// `tokenize`, `inspect`, `verify`, `unpack`, `pack`.
@Suite struct FileCommandTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  @Test(arguments: ["What happens in this video?", "naïve 日本語 🙂", "a  b\tc", "<|im_start|>user"])
  func tokenizeRoundTrip(text: String) throws {
    let outcome = try slowfast("tokenize", try Fixture.model(), text)
    #expect(outcome.status == 0 && outcome.errors == "")
    let ids = outcome.output.split(whereSeparator: \.isWhitespace).map(String.init)
    #expect(!ids.isEmpty)
    let decoded = try Run(["tokenize", try Fixture.model(), "--decode"] + ids).finish()
    #expect(decoded.status == 0 && decoded.output == text + "\n")
    // The checkpoint's own tokenizer says the same, and so does standard input.
    #expect(try slowfast("tokenize", Repository.golden("clip"), text).output == outcome.output)
    #expect(try slowfast("tokenize", try Fixture.model(), input: text).output == outcome.output)
    let json = try slowfast("tokenize", try Fixture.model(), text, "--json").json()
    #expect((json["ids"] as? [Int])?.map(String.init) == ids)
  }

  @Test func inspectAsJSON() throws {
    let outcome = try slowfast("inspect", try Fixture.model(), "--json")
    #expect(outcome.status == 0)
    let json = try outcome.json()
    #expect(json["file_bytes"] as? Int == (try Fixture.bytes().count))
    #expect(json["decoder_layers"] as? Int == 6 && json["hybrid_layers"] as? [Int] == [0, 2, 4])
    let tensors = try #require(json["tensors"] as? [[String: Any]])
    #expect(tensors.contains { $0["name"] as? String == "model.layers.5.mlp.down_proj.weight" })
    #expect((json["total"] as? [String: Any])?["tensors"] as? Int == tensors.count)
    let text = try slowfast("inspect", try Fixture.model(), "--tensors").output
    #expect(text.contains("model.layers.5.mlp.down_proj.weight") && text.contains("parameters"))
  }

  @Test func verifyNamesTensorAndBytes() throws {
    let good = try slowfast("verify", try Fixture.model())
    #expect(good.status == 0 && good.errors == "")
    let name = "model.layers.3.mlp.up_proj.weight"
    let tensor = try #require(try ModelFileReader(path: Fixture.model()).tensors.first { $0.name == name })
    let range = try #require(tensor.planes.first?.chunks.first?.range)
    var bytes = try Fixture.bytes()
    bytes[range.lowerBound + range.count / 2] ^= 1
    let path = try directory.write("damaged.sfq", bytes)
    let outcome = try slowfast("verify", path)
    #expect(outcome.status == 1)
    #expect(
      outcome.output.contains(name) && outcome.output.contains("\(range.lowerBound)") && outcome.output.contains("\(range.upperBound)"))
    #expect(outcome.output.split(separator: "\n").count == 1)
    let error = "error: \(path): damaged in 1 place: the codes of tensor '\(name)'\n"
    #expect(outcome.errors == error, "\(outcome.errors)")
    let json = try slowfast("verify", path, "--json")
    #expect(json.status == 1 && json.errors == error)
    let findings = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [[String: Any]])
    #expect(findings.count == 1 && findings[0]["start"] as? Int == range.lowerBound && findings[0]["end"] as? Int == range.upperBound)
  }

  /// The numbers that the help shows are tokens of a small vocabulary too, and of the text above them.
  @Test func theExamplesOfTokenize() throws {
    let help = try slowfast("tokenize", "--help").output
    let text = try #require(help.firstMatch(of: /tokenize model.sfq "([^"]+)"/)?.1)
    let ids = try #require(help.firstMatch(of: /--decode ([0-9,]+)/)?.1)
    #expect(try slowfast("tokenize", Demonstration.checkpoint, "--decode", String(ids)).output == text + "\n")
    let printed = try slowfast("tokenize", Demonstration.checkpoint, String(text)).output
    #expect(printed.split(whereSeparator: \.isWhitespace).joined(separator: ",") == ids)
  }

  /// What was written, or why it was not.
  @Test(arguments: ["pack", "unpack", "trace"])
  func filesAsJSON(command: String) throws {
    func written(to output: String) throws -> Outcome {
      let model = try Fixture.model()
      let trace = ["trace", model, "--video", Repository.clip, "--frames", "1", "-q", "hi", "-o", output]
      return try Run((command == "trace" ? trace : [command, model, output]) + ["--json"]).finish()
    }
    let output = directory.file("out")
    let outcome = try written(to: output)
    #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
    let json = try outcome.json()
    #expect(Set(json.keys) == ["model", "path", "file_bytes", "seconds"])
    #expect(try json["path"] as? String == output && json["model"] as? String == (Fixture.model()))
    #expect(json["file_bytes"] as? Int == (try Data(contentsOf: URL(fileURLWithPath: output)).count))
    #expect((json["seconds"] as? Double).map { $0 > 0 && $0 <= outcome.seconds } == true)
    for (place, words) in [(output, "exists already; --force replaces it"), (directory.file("none/out"), "No such file or directory")] {
      let outcome = try written(to: place)
      let error = try #require(try outcome.json()["error"] as? [String: Any])
      #expect(outcome.status == 1 && error["status"] as? Int == 1, "\(outcome.output)")
      #expect((error["message"] as? String)?.hasSuffix(words) == true && outcome.errors.hasSuffix(words + "\n"), "\(outcome.output)")
    }
  }

  @Test func unpackAndPack() throws {
    let (raw, packed) = (directory.file("raw.sfq"), directory.file("packed.sfq"))
    #expect(try slowfast("unpack", try Fixture.model(), raw).status == 0)
    #expect(try slowfast("pack", raw, packed).status == 0)
    #expect(try slowfast("pack", try Fixture.model(), directory.file("packed too.sfq")).status == 0)
    #expect(try Data(contentsOf: URL(fileURLWithPath: packed)) == Data(contentsOf: URL(fileURLWithPath: directory.file("packed too.sfq"))))
    let answers = try [Fixture.model(), raw, packed].map { path in
      try slowfast("run", path, Repository.clip, "-q", "What happens?", "--frames", "2", "--max-tokens", "6", "--greedy").output
    }
    #expect(answers[0].count > 1 && answers[0] == answers[1] && answers[0] == answers[2])
    // What is there stays, unless it is to be replaced.
    try slowfast("unpack", try Fixture.model(), packed).expectBadInput("packed.sfq")
    #expect(try slowfast("unpack", try Fixture.model(), packed, "--force").status == 0)
    #expect(try Data(contentsOf: URL(fileURLWithPath: packed)) == Data(contentsOf: URL(fileURLWithPath: raw)))
    #expect(directory.contents == ["packed too.sfq", "packed.sfq", "raw.sfq"])
  }
}
