import Foundation
import TestSupport
import Testing

/// `--sampling` and `--fps` of every command that samples.
@Suite struct SamplingRuleTests {
  private let clip = Repository.root + "/Tests/VideoTests/Data/b_frames.mp4"

  @Test func framesByRate() throws {
    let json = try slowfast("frames", clip, "-n", "64", "--sampling", "rate", "--json").json()
    #expect((json["frames"] as? [[String: Any]])?.map { $0["index"] as? Int } == [0, 12, 24, 36])
    let more = try slowfast("frames", clip, "-n", "9", "--sampling", "rate", "--fps", "4", "--json").json()
    #expect((more["frames"] as? [[String: Any]])?.map { $0["index"] as? Int } == [0, 6, 12, 18, 24, 30, 36])
  }

  @Test func runByRate() throws {
    let outcome = try slowfast(
      "run", Repository.golden("clip"), clip, "-q", "What?", "--sampling", "rate", "--max-tokens", "2", "--greedy", "--json")
    let statistics = try #require(try outcome.json()["statistics"] as? [String: Any])
    #expect(statistics["frames"] as? Int == 4 && statistics["encoded_frames"] as? Int == 4)
  }

  @Test func chatByRate() throws {
    let outcome = try slowfast(
      "chat", Repository.golden("clip"), clip, "--sampling", "rate", "--fps", "4", "--max-tokens", "2", "--greedy", input: "What?\n")
    #expect(outcome.status == 0, "\(outcome.errors)")
  }

  @Test func traceByRate() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("trace.safetensors")
    let outcome = try slowfast("trace", Repository.golden("clip"), "--video", clip, "-q", "What?", "--sampling", "rate", "-o", path)
    #expect(outcome.status == 0, "\(outcome.errors)")
    let header = try Data(contentsOf: URL(fileURLWithPath: path)).dropFirst(8).prefix(20_000)
    #expect(String(decoding: header, as: UTF8.self).contains(#""pixel_values":{"dtype":"F32","shape":[4,3,"#))
  }

  @Test func compareByRate() throws {
    let directory = try TemporaryDirectory()
    let data = try directory.write("eval.jsonl", Data("{\"video\": \"\(clip)\", \"question\": \"What?\", \"answer\": \"yes\"}\n".utf8))
    for more in [["--sampling", "rate"], ["--sampling", "rate", "--fps", "4"], []] {
      let outcome = try Run(
        [
          "compare", Repository.golden("clip"), "--variants", "8", "--parts", "none", "--frames", "8", "--data", data, "-o",
          directory.file("report"), "--json",
        ]
          + more
      ).finish()
      #expect(outcome.status == 0, "\(outcome.errors)")
    }
    // Each rule was measured for itself.
    let kept = try FileManager.default.contentsOfDirectory(atPath: directory.file("report/measurements"))
    #expect(kept.filter { $0.hasSuffix(".jsonl") }.count >= 6, "\(kept)")
  }

  @Test func refused() throws {
    for arguments in [
      ["--fps", "4"], ["--sampling", "rate", "--fps", "0"], ["--sampling", "rate", "--fps", "nan"], ["--sampling", "often"],
    ] {
      let outcome = try Run(["frames", clip, "-n", "2"] + arguments).finish()
      #expect(outcome.status == 2 && outcome.errors.contains("--"), "\(outcome.errors)")
    }
  }
}
