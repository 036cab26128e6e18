import Compute
import Foundation
import Runtime
import Synchronization
import TestSupport
import Testing
import Video

/// One question, asked 200 times: with 1, 2, 3 and 7 threads, with all kernels, four at a time on fewer processors, alone
/// and beside others in the same passes. The answer, and the probability of each of its tokens, are the same to the bit.
@Suite struct SameAnswerTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  // x86's portable kernels round otherwise: see `StoredWeightsTests`.
  private static let kernels = KernelChoice.available.map(\.name).filter { $0 != "portable" || KernelChoice.available.count == 1 }

  private var asked: GenerationOptions {
    var options = greedy(8)
    options.topLogProbabilities = 3
    return options
  }

  private func clip() throws -> ClipSource { .frames(try (0..<3).map { try picture($0, width: 128, height: 128) }) }

  @Test(arguments: [8, 4]) func alone(_ bits: Int) throws {
    let model = try VideoLanguageModel(path: convert("clip", bits: bits, to: directory))
    let clip = try clip()
    let asked = asked
    @Sendable func answer(_ run: Int) throws -> Answer {
      var options = SessionOptions()
      options.threads = [1, 2, 3, 7][run % 4]
      options.kernels = Self.kernels[run / 4 % Self.kernels.count]
      let session = try Session(model, options: options)
      try session.watch([clip], sampling: SamplingRequest(frames: 3))
      return try session.ask("What?", options: asked)
    }
    let first = try answer(0)
    #expect(!first.tokens.isEmpty && first.probabilities.count == first.tokens.count)
    let wrong = Mutex<[Int]>([])
    // Threads of their own, so that they run at the same time.
    DispatchQueue.concurrentPerform(iterations: 4) { worker in
      for run in stride(from: worker, to: 100, by: 4) where (try? answer(run)) != first { wrong.withLock { $0.append(run) } }
    }
    #expect(wrong.withLock { $0 } == [])
  }

  /// Beside other questions about the same clip and others.
  @Test(arguments: [8, 4]) func together(_ bits: Int) async throws {
    let model = try VideoLanguageModel(path: convert("clip", bits: bits, to: directory))
    let clip = try clip()
    let alone = try Session(model)
    try alone.watch([clip], sampling: SamplingRequest(frames: 3))
    let first = try alone.ask("What?", options: asked)
    let runner = try ModelRunner(model)
    let asked = asked
    let answers = try await withThrowingTaskGroup(of: Answer?.self) { group in
      for run in 0..<100 {
        group.addTask {
          let conversation = runner.conversation(about: [clip], sampling: SamplingRequest(frames: 3))
          let question = run % 3 == 2 ? "Where is number \(run)?" : "What?"
          for try await event in conversation.answer(question, options: asked) {
            if case .finished(let answer, _) = event { return run % 3 == 2 ? nil : answer }
          }
          throw CancellationError()
        }
      }
      return try await group.reduce(into: [Answer]()) { if let answer = $1 { $0.append(answer) } }
    }
    #expect(answers.count == 67 && answers.allSatisfy { $0 == first })
  }
}
