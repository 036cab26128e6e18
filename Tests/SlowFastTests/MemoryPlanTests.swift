import Foundation
import SlowFast
import TestSupport
import Testing

/// The numbers that a run is announced with.
@Suite struct MemoryPlanTests {
  private func plan(_ session: Session, frames: Int, answer: Int = 16) throws -> MemoryPlan {
    let images = try (0..<frames).map { _ in try picture(1) }
    return session.plan([.frames(images)], sampling: SamplingRequest(frames: frames), question: "What happens?", maximumTokens: answer)
  }

  private func session(_ path: String = Golden.path("clip")) throws -> Session { try Session(try VideoLanguageModel(path: path)) }

  @Test func phasesAreSums() throws {
    let plan = try plan(try session(), frames: 8)
    #expect(plan.visionPhaseBytes == plan.baseBytes + plan.visionWeightBytes + plan.visionBufferBytes + plan.tokenBytes)
    #expect(
      plan.decoderPhaseBytes
        == plan.baseBytes + plan.decoderWeightBytes + plan.decoderBufferBytes + plan.cacheBytes + plan.slowCacheBytes + plan.tokenBytes)
    #expect(plan.peakBytes == max(plan.visionPhaseBytes, plan.decoderPhaseBytes))
    // 8 frames of 3×3 positions, two fast frames; 128 floats each.
    #expect(plan.frames == 8 && plan.slowTokens == 72 && plan.fastTokens == 18)
    #expect(plan.tokenBytes == 90 * 128 * 4)
    // 6 layers, 2 heads of 32, keys and values as floats: at least.
    #expect(plan.cacheBytes >= 6 * 2 * 2 * 32 * 4 * (plan.promptTokens + 16))
    #expect(plan.slowCacheBytes >= 3 * 2 * 2 * 32 * 4 * 72)
  }

  @Test func growsWithTheClipAndTheAnswer() throws {
    let session = try session()
    let few = try plan(session, frames: 8)
    let many = try plan(session, frames: 64)
    let long = try plan(session, frames: 8, answer: 4096)
    #expect(many.slowTokens == 8 * few.slowTokens && many.promptTokens > few.promptTokens)
    #expect(many.slowCacheBytes > few.slowCacheBytes && many.tokenBytes > few.tokenBytes && many.decoderPhaseBytes > few.decoderPhaseBytes)
    // Frames go through the tower one by one.
    #expect(many.visionBufferBytes == few.visionBufferBytes && many.visionWeightBytes == few.visionWeightBytes)
    #expect(long.cacheBytes > few.cacheBytes && long.slowCacheBytes == few.slowCacheBytes)
  }

  @Test func fewerBitsTakeLess() throws {
    let directory = try TemporaryDirectory()
    let plans = try [4, 8, 32].map { bits in try plan(try session(try convert("clip", bits: bits, to: directory)), frames: 8) }
    #expect(plans[0].decoderWeightBytes < plans[1].decoderWeightBytes && plans[1].decoderWeightBytes < plans[2].decoderWeightBytes / 2)
    #expect(plans[1].visionWeightBytes < plans[2].visionWeightBytes)
    // Half floats beside quantized weights.
    #expect(plans[0].cacheBytes < plans[2].cacheBytes)
  }

  @Test func whatWasPlannedHappens() throws {
    let session = try session()
    let images = try (0..<8).map { try picture($0) }
    let plan = try plan(session, frames: 8)
    try session.watch([.frames(images)], sampling: SamplingRequest(frames: 8))
    _ = try session.ask("What happens?", options: greedy(2))
    #expect(session.statistics.slowTokens == plan.slowTokens && session.statistics.fastTokens == plan.fastTokens)
    #expect(session.statistics.promptTokens == plan.promptTokens)
  }

  @Test func refusesWhatDoesNotFit() throws {
    let session = try session()
    var plan = try plan(session, frames: 8)
    try session.checkMemory(plan)
    plan.cacheBytes = 1 << 60
    guard case .notEnoughMemory(let needed, let available, let text) = failure({ try session.checkMemory(plan) }) else {
      Issue.record("expected notEnoughMemory")
      return
    }
    #expect(needed == plan.peakBytes && available > 0 && available < needed)
    #expect(text == plan.summary && text.contains(formatBytes(plan.decoderPhaseBytes)))
  }

  @Test func bytesForPeople() {
    #expect(formatBytes(0) == "0 bytes")
    #expect(formatBytes(1536) == "1.5 KiB")
    #expect(formatBytes(5 << 30) == "5.0 GiB")
    #expect(formatBytes(300 << 20) == "300 MiB")
  }
}
