import Foundation
import Testing

/// What a run takes beside what was planned, where pictures are large.
@Suite(.enabled(if: !isEmulated, "an emulator's own memory counts too")) struct MemoryTests {
  private func run(_ name: String, threads: Int, _ options: String...) throws -> (planned: Int, taken: Int, errors: String) {
    let clip = Repository.root + "/Tests/VideoTests/Data/large/\(name)"
    let arguments = [
      "run", Repository.golden("clip"), clip, "-q", "What?", "--frames", "4", "--max-tokens", "1", "--greedy", "--threads", "\(threads)",
      "--json",
    ]
    let outcome = try Run(arguments + options).finish()
    let json = try outcome.json()
    let plan = try #require(json["plan"] as? [String: Any])
    let vision = ["base_bytes", "vision_weight_bytes", "vision_buffer_bytes", "token_bytes"].compactMap { plan[$0] as? Int }
    try #require(vision.count == 4)
    return (vision.reduce(0, +), try #require(json["peak_resident_bytes"] as? Int), outcome.errors)
  }

  /// 39 kB that are 132 million pixels.
  @Test func aLargePicture() throws {
    let (planned, taken, errors) = try run("p132.png", threads: 2, "--in-process")
    #expect(taken <= planned && Double(taken) > 0.9 * Double(planned), "\(taken) of \(planned)")
    #expect(errors == "")
    // The plan is of all processes; what is told was taken by one of them.
    let apart = try run("p132.png", threads: 2)
    #expect(apart.taken < planned && apart.planned > planned && apart.errors == "", "\(apart)")
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

  /// Peak, and what was planned of both phases, of a clip that repeats its few frames, which costs the tower nothing.
  private func manyFrames(_ name: String, frames: Int, bits: Int) throws -> (answering: Int, planned: Int, taken: Int) {
    let clip = Repository.root + "/Tests/VideoTests/Data/b_frames.mp4"
    let outcome = try slowfast(
      "run", Repository.golden(name), clip, "-q", "What?", "--frames", "\(frames)", "--fast-frames", "4", "--max-tokens", "2", "--greedy",
      "--threads", "2", "--cache-bits", "\(bits)", "--json")
    let json = try outcome.json()
    let plan = try #require(json["plan"] as? [String: Any])
    func bytes(_ name: String) throws -> Int { try #require(plan[name + "_bytes"] as? Int) }
    let both = try bytes("base") + bytes("token")
    let answering =
      try both + bytes("decoder_weight") + bytes("slow_cache")
      + max(bytes("slow_buffer"), bytes("decoder_buffer") + bytes("cache") - bytes("slow_token"))
    let watching = try both + bytes("vision_weight") + bytes("vision_buffer")
    return (answering, max(watching, answering), try #require(json["peak_resident_bytes"] as? Int))
  }

  /// What a clip's tokens, their keys and values take: the plan grows by what the process does. Its own part is in neither difference.
  @Test(arguments: [("clip", 32), ("strides", 16), ("slowfast-siglip", 16), ("slowfast-clip", 8)])
  func thePlanGrowsAsTheProcess(name: String, bits: Int) throws {
    let (few, many) = try (manyFrames(name, frames: 3000, bits: bits), manyFrames(name, frames: 12_000, bits: bits))
    #expect(few.taken <= few.planned && many.taken <= many.planned)
    let (planned, taken) = (Double(many.answering - few.answering), Double(many.taken - few.taken))
    #expect(abs(taken - planned) <= 0.05 * planned + Double(1 << 20), "\(taken) of \(planned)")
  }

  /// An answer's keys and values, which are kept until its end.
  @Test func thePlanGrowsWithTheAnswer() throws {
    func answer(_ tokens: Int) throws -> (planned: Int, taken: Int) {
      let clip = Repository.root + "/Tests/VideoTests/Data/b_frames.mp4"
      let json = try slowfast(
        "run", Repository.golden("clip"), clip, "-q", "What?", "--frames", "4", "--max-tokens", "\(tokens)", "--greedy", "--threads", "2",
        "--json"
      ).json()
      #expect((json["statistics"] as? [String: Any])?["generated_tokens"] as? Int == tokens)
      let plan = try #require(json["plan"] as? [String: Any])
      let parts = try ["cache", "decoder_buffer"].map { try #require(plan[$0 + "_bytes"] as? Int) }
      return (parts.reduce(0, +), try #require(json["peak_resident_bytes"] as? Int))
    }
    let (short, long) = try (answer(2000), answer(8000))
    let (planned, taken) = (Double(long.planned - short.planned), Double(long.taken - short.taken))
    #expect(abs(taken - planned) <= 0.05 * planned + Double(1 << 20), "\(taken) of \(planned)")
  }

  /// Where all tokens stand in the prompt there is too little at these shapes to be held within less than the process itself.
  @Test(arguments: ["onevision-hf", "llava-next-onevision"])
  func thePlanIsEnough(name: String) throws {
    let run = try manyFrames(name, frames: 60, bits: 16)
    #expect(run.taken <= run.planned, "\(run.taken) of \(run.planned)")
  }
}
