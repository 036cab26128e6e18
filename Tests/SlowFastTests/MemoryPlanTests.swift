import Foundation
import Runtime
import Support
import TestSupport
import Testing
import Video

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
        == plan.baseBytes + plan.decoderWeightBytes + plan.slowCacheBytes + plan.tokenBytes
        + max(plan.slowBufferBytes, plan.decoderBufferBytes + plan.cacheBytes - plan.slowTokenBytes))
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

  private func film(_ name: String) throws -> ClipSource {
    try ClipSource(path: URL(fileURLWithPath: Golden.directory).deletingLastPathComponent().appending(path: "VideoTests/Data/\(name)").path)
  }

  private func videoSource(_ name: String) throws -> MediaInput {
    guard case .visual(let source) = try film(name) else { throw CancellationError() }
    return source
  }

  @Test func refusesWhatDoesNotFit() throws {
    let session = try session()
    let images: [ClipSource] = [.frames(try (0..<8).map { _ in try picture(1) })]
    let request = SamplingRequest(frames: 8)
    let plan = try plan(session, frames: 8)
    try session.checkMemory(images, sampling: request, question: "What happens?", maximumTokens: 16, available: plan.peakBytes)
    let error = failure {
      try session.checkMemory(images, sampling: request, question: "What happens?", maximumTokens: 16, available: plan.peakBytes - 1)
    }
    guard let error, error.isA(.notEnoughMemory) else {
      Issue.record("expected notEnoughMemory")
      return
    }
    #expect(
      "\(error)".hasPrefix(
        "the run needs \(formatBytes(plan.peakBytes)), \(formatBytes(plan.peakBytes - 1)) are available (\(plan.summary))"))
    #expect(plan.summary.contains(formatBytes(plan.decoderPhaseBytes)))
  }

  /// The refusal says how many frames, threads and tokens would fit, and what they take.
  @Test func refusalsTellWhatHelps() throws {
    var options = SessionOptions()
    options.threads = 4
    let session = try Session(try VideoLanguageModel(path: Golden.path("clip")), options: options)
    let clip = [try film("b_frames.mp4")]
    func planned(_ frames: Int, _ tokens: Int = 16) -> Int {
      session.plan(clip, sampling: SamplingRequest(frames: frames), question: "What happens?", maximumTokens: tokens).peakBytes
    }
    func help(_ frames: Int, _ tokens: Int, available: Int) -> [String] {
      let error = failure {
        try session.checkMemory(
          clip, sampling: SamplingRequest(frames: frames), question: "What happens?", maximumTokens: tokens, available: available)
      }
      guard let error, error.isA(.notEnoughMemory) else { return [] }
      let wishes = error.description.components(separatedBy: "it would take ")
      return wishes.count == 2 ? wishes[1].components(separatedBy: ", ") : []
    }
    let fewer = help(20_000, 16, available: planned(5000))
    let first = try #require(fewer.first { $0.contains("frames of a clip") })
    let frames = try #require(first.split(separator: " ").dropLast(4).last.flatMap { Int($0) }, "\(first)")
    #expect(planned(frames) <= planned(5000) && planned(frames + 1) > planned(5000) && frames >= 5000)
    #expect(first == "\(formatBytes(planned(frames))) with \(frames) frames of a clip")
    // A shorter answer saves next to nothing here, and is not offered.
    #expect(!fewer.contains { $0.contains("answers") })

    let long = session.model.config.maximumPositions
    let shorter = help(8, long, available: planned(8, 16))
    #expect(shorter.contains { $0.contains("answers of at most") }, "\(shorter)")
  }

  /// Large pictures count, and the threads that decode them; a decoder's threads stay within a quarter of the memory.
  @Test func picturesAreInThePlan() throws {
    let session = try session()
    func plan(_ name: String) throws -> MemoryPlan {
      session.plan([try film(name)], sampling: SamplingRequest(frames: 4), question: "What?", maximumTokens: 1)
    }
    // One bit a pixel becomes three bytes, twice: padded and packed. 132 250 000 pixels.
    let picture = try plan("large/p132.png")
    #expect(picture.decodingBytes >= 2 * 3 * 132_250_000 && picture.decodingBytes < 2 * 3 * 132_250_000 + (40 << 20))
    #expect(picture.decodingThreads == 1 && picture.visionBufferBytes > picture.decodingBytes)
    let small = try plan("b_frames.mp4")
    let large = try plan("large/v4k.mp4")
    #expect(small.decodingBytes < 32 << 20 && large.decodingBytes > 4 * 3840 * 2160 * 3 / 2)
    let source = try videoSource("large/v4k.mp4")
    let memory = try #require(try? source.decodingMemory())
    #expect(memory.bytes(threads: 16) == memory.bytes + 15 * memory.bytesPerThread)
    #expect(memory.threads(16, within: memory.bytes(threads: 5)) == 5 && memory.threads(16, within: 0) == 1)
    #expect(memory.threads(3, within: .max) == 3)
  }

  /// Fewer threads give the same frames.
  @Test func decodersWithLittleMemory() throws {
    let source = try videoSource("large/v4k.mp4")
    let images = try [nil, 1 << 20].map { memory in
      var images: [RGBImage] = []
      _ = try source.sample(SamplingRequest(frames: 2), threads: 4, memory: memory) {
        if case .frame(let frame) = $0 { images.append(frame.image) }
      }
      return images
    }
    #expect(images[0] == images[1] && images[0].count == 2)
  }
}
