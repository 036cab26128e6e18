import Foundation
import TestSupport
import Testing

/// `--cache` and `--reuse` from outside.
@Suite struct CacheTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func arguments(_ more: String...) throws -> [String] {
    ["run", try Fixture.model(), Repository.clip, "-q", "What happens?", "--frames", "4", "--max-tokens", "6", "--greedy", "--json"] + more
  }

  private func statistics(_ outcome: Outcome) throws -> [String: Any] {
    #expect(outcome.status == 0, "\(outcome.errors)")
    return try #require(try outcome.json()["statistics"] as? [String: Any])
  }

  @Test func theSecondQuestionStartsAtOnce() throws {
    let cache = directory.file("cache")
    let first = try Run(arguments("--cache", cache)).finish()
    let second = try Run(arguments("--cache", cache, "--cache-size", "100M")).finish()
    #expect(try statistics(first)["cached_frames"] as? Int == 0 && statistics(first)["encoded_frames"] as? Int == 4)
    #expect(try statistics(second)["cached_frames"] as? Int == 4 && statistics(second)["encoded_frames"] as? Int == 0)
    #expect(try (first.json()["tokens"] as? [Int]) == (second.json()["tokens"] as? [Int]))
    let chat = try Run(
      ["chat", Fixture.model(), Repository.clip, "--frames", "4", "--max-tokens", "6", "--greedy", "--cache", cache],
      input: "What happens?\n"
    ).finish()
    #expect(try chat.status == 0 && chat.output == (first.json()["answer"] as? String ?? "") + "\n\n")
    let text = try Run(arguments("--cache", cache).filter { $0 != "--json" } + ["--stats"]).finish()
    #expect(text.output.contains("4 from the clip cache"))
  }

  /// Processes that begin together, each of which wants to make the same entries.
  @Test func severalProcessesAtOnce() throws {
    let cache = directory.file("cache")
    let expected = try Run(arguments("--cache", directory.file("other"))).finish().json()["tokens"] as? [Int]
    #expect(expected?.count == 6)
    let runs = try (0..<4).map { _ in try Run(arguments("--cache", cache)) }
    for run in runs {
      let outcome = try run.finish()
      #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
      #expect(try outcome.json()["tokens"] as? [Int] == expected)
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: cache).filter { $0 != ".lock" }
    #expect(names.count == 3 && names.allSatisfy { $0.hasSuffix(".clip") || $0.hasSuffix(".frames") }, "\(names)")
    #expect(try statistics(try Run(arguments("--cache", cache)).finish())["cached_frames"] as? Int == 4)
  }

  @Test func damageIsTold() throws {
    let cache = directory.file("cache")
    let first = try Run(arguments("--cache", cache).filter { $0 != "--json" }).finish()
    for name in try FileManager.default.contentsOfDirectory(atPath: cache) {
      try Data(contentsOf: URL(fileURLWithPath: "\(cache)/\(name)")).dropLast(9).write(to: URL(fileURLWithPath: "\(cache)/\(name)"))
    }
    let second = try Run(arguments("--cache", cache).filter { $0 != "--json" }).finish()
    #expect(second.status == 0 && second.output == first.output)
    #expect(second.errors.contains("warning: ") && second.errors.contains("damaged"))
  }

  @Test func aFileIsNoCache() throws {
    let path = try directory.write("mine", Data("mine".utf8))
    try Run(arguments("--cache", path).filter { $0 != "--json" }).finish().expectBadInput("mine")
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data("mine".utf8))
  }

  @Test func framesThatHardlyChange() throws {
    let exact = try statistics(try Run(arguments("--reuse", "0")).finish())
    #expect(exact["encoded_frames"] as? Int == 4)
    let statistics = try statistics(try Run(arguments("--reuse", "1")).finish())
    #expect(statistics["encoded_frames"] as? Int == 4 && statistics["frames"] as? Int == 4)
    let computed = try #require(statistics["computed_frames"] as? [Double])
    #expect(!computed.isEmpty && computed.allSatisfy { $0 >= 1 && $0 < 4 })
  }
}
