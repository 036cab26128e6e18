import Foundation
import Testing

/// What a run takes beside what was planned, where pictures are large.
@Suite struct MemoryTests {
  private func run(_ name: String, threads: Int) throws -> (planned: Int, taken: Int, errors: String) {
    let clip = Repository.root + "/Tests/VideoTests/Data/large/\(name)"
    let outcome = try slowfast(
      "run", Repository.golden("clip"), clip, "-q", "What?", "--frames", "4", "--max-tokens", "1", "--greedy", "--threads", "\(threads)",
      "--json")
    let json = try outcome.json()
    let plan = try #require(json["plan"] as? [String: Any])
    let vision = ["base_bytes", "vision_weight_bytes", "vision_buffer_bytes", "token_bytes"].compactMap { plan[$0] as? Int }
    try #require(vision.count == 4)
    return (vision.reduce(0, +), try #require(json["peak_resident_bytes"] as? Int), outcome.errors)
  }

  /// 39 kB that are 132 million pixels.
  @Test func aLargePicture() throws {
    let (planned, taken, errors) = try run("p132.png", threads: 2)
    #expect(taken <= planned && Double(taken) > 0.9 * Double(planned), "\(taken) of \(planned)")
    #expect(errors == "")
  }

  /// A stream may keep fewer pictures than its level lets it, so the plan is an upper bound.
  @Test(arguments: [1, 4, 16]) func aFilmOf4K(_ threads: Int) throws {
    let (planned, taken, _) = try run("v4k.mp4", threads: threads)
    #expect(taken <= planned, "\(taken) of \(planned)")
  }

  @Test func thePlanNamesTheDecodersThreads() throws {
    let clip = Repository.root + "/Tests/VideoTests/Data/large/v4k.mp4"
    let outcome = try slowfast("run", Repository.golden("clip"), clip, "-q", "What?", "--threads", "3", "--plan")
    #expect(outcome.output.contains("of them for decoding on 3 threads"), "\(outcome.output)")
  }
}
