import Foundation
import TestSupport
import Testing

/// `compare` with models that are not conversions of the baseline: what it says of them, and which answers they win and lose.
@Suite struct CompareOriginTests {
  private static let checkpoint = Repository.root + "/benchmarks/demo/checkpoint"
  private static let data = Repository.root + "/benchmarks/demo/examples/eval.jsonl"

  /// The demonstration checkpoint with a layer's perceptron that gives nothing.
  private func alteredCheckpoint(_ path: String) throws {
    try FileManager.default.copyItem(atPath: Self.checkpoint, toPath: path)
    let file = URL(fileURLWithPath: path + "/model.safetensors")
    var bytes = try Data(contentsOf: file)
    let header = bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    let json = try #require(try JSONSerialization.jsonObject(with: bytes[8..<8 + header]) as? [String: Any])
    for layer in 2..<5 {
      let tensor = try #require(json["model.layers.\(layer).mlp.down_proj.weight"] as? [String: Any])
      let range = try #require(tensor["data_offsets"] as? [Int])
      bytes.replaceSubrange(8 + header + range[0]..<8 + header + range[1], with: Data(count: range[1] - range[0]))
    }
    try bytes.write(to: file)
  }

  @Test func otherModels() throws {
    let directory = try TemporaryDirectory()
    let (altered, other, own) = (directory.file("altered"), directory.file("other.sfq"), directory.file("own.sfq"))
    try alteredCheckpoint(altered)
    try #require(try slowfast("convert", altered, other, "--bits", "8").status == 0)
    try #require(try slowfast("convert", Self.checkpoint, own, "--bits", "8").status == 0)
    let arguments = [
      "compare", Self.checkpoint, other, altered, own, "--data", Self.data, "--limit", "1", "--parts", "none", "-o",
      directory.file("report"),
    ]
    let outcome = try Run(arguments + ["--json"]).finish()
    #expect(outcome.status == 0)
    let warnings = outcome.errors.split(separator: "\n")
    #expect(warnings.count == 2, "\(outcome.errors)")
    #expect(
      warnings[0].hasPrefix(
        "warning: \"\(other)\" was converted from \"altered\", whose weights are not those of the baseline \"checkpoint\""))
    #expect(warnings[1].hasPrefix("warning: \"\(altered)\" is another checkpoint than the baseline \"checkpoint\""))

    let report = try outcome.json()
    let baseline = try #require(report["baseline"] as? [String: Any])
    let variants = try #require(report["variants"] as? [[String: Any]])
    #expect(variants.map { $0["name"] as? String } == [other, altered, own])
    #expect(variants.map { $0["is_another_model"] as? Bool } == [true, true, nil])
    #expect((report["notes"] as? [String])?.count == 2 && (report["choice"] as? [String: Any])?["name"] as? String == own)
    #expect(variants[1]["bits_per_weight"] as? Double == 16)
    // Questions with one right answer and descriptions make all questions.
    func count(_ model: [String: Any], _ name: String, _ key: String = "count") throws -> Int {
      try #require((model[name] as? [String: Any])?[key] as? Int)
    }
    #expect(try count(baseline, "closed", "total") + count(baseline, "descriptions", "total") == count(baseline, "exact_match", "total"))
    #expect(try count(baseline, "closed") + count(baseline, "descriptions") == count(baseline, "exact_match"))
    let kinds = try #require(baseline["kinds"] as? [[String: Any]])
    #expect(kinds.filter { $0["is_description"] as? Bool == true }.map { $0["kind"] as? String } == ["describe"])
    // Each question won or lost is one of the data, and they account for the difference.
    let lines = try String(contentsOfFile: Self.data, encoding: .utf8).split(separator: "\n")
    for variant in variants {
      let changes = try #require(variant["changes"] as? [[String: Any]])
      let (gained, lost) = (try #require(variant["gained"] as? Int), try #require(variant["lost"] as? Int))
      #expect(changes.filter { $0["is_gained"] as? Bool == true }.count == gained && changes.count == gained + lost)
      #expect(try count(variant, "exact_match") == count(baseline, "exact_match") + gained - lost)
      for change in changes {
        let line = try #require(change["line"] as? Int)
        let asked = try #require(try JSONSerialization.jsonObject(with: Data(lines[line - 1].utf8)) as? [String: Any])
        for key in ["video", "question", "answer", "kind"] { #expect(change[key] as? String == asked[key] as? String) }
      }
    }
    #expect(try #require(variants[1]["lost"] as? Int) > 0)

    let text = try Run(arguments).finish().output
    #expect(
      text.contains("\n\(other): ") && text.contains("\n\(altered): ") && text.contains("descr.") && text.contains("\n  − clips/000.mp4: "))
    #expect(text.contains("Choose \(own), the smallest"))
    let page = try String(contentsOfFile: directory.file("report/report.html"), encoding: .utf8)
    #expect(page.contains("Answers won and lost") && page.contains("all closed") && page.contains("class=\"warning\""))
  }
}
