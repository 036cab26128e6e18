import Foundation
import Testing

@Suite struct BenchTests {
  @Test func json() throws {
    let outcome = try slowfast(
      "bench", try Fixture.model(), "--stages", "tower,generate", "--contexts", "16", "--repeat", "1", "--frames", "2", "--json")
    #expect(outcome.status == 0 && outcome.errors == "")
    let json = try outcome.json()
    #expect(
      Set(json.keys).isSuperset(of: [
        "version", "kernels", "threads", "limits", "stages", "skipped", "tokens", "token_hash", "peak_resident_bytes", "slow_tokens",
      ]))
    let names = (json["stages"] as? [[String: Any]])?.compactMap { $0["name"] as? String }
    #expect(names?.first == "tower, stage 1" && names?.last == "generate after 16")
  }

  @Test func text() throws {
    let outcome = try slowfast("bench", try Fixture.model(), "--stages", "cross,decode", "--repeat", "1", "--frames", "2")
    #expect(outcome.status == 0 && outcome.output.contains("cross keys and values") && outcome.output.contains("left out: decode"))
    #expect(outcome.output.contains("the machine: ") && outcome.output.contains("peak memory"))
  }

  @Test func wrongUse() throws {
    #expect(try slowfast("bench", try Fixture.model(), "--stages", "tower,nothing").status == 2)
    #expect(try slowfast("bench", try Fixture.model(), "--contexts", "64,x").status == 2)
    #expect(try slowfast("bench", try Fixture.model(), "--repeat", "0").status == 2)
    #expect(try slowfast("bench", "/none.sfq").status == 1)
    try slowfast("bench", try Fixture.model(), "--clip", "/none.mp4").expectBadInput("/none.mp4")
  }
}
