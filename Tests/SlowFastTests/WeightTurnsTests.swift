import Foundation
import Models
import Runtime
import Support
import Synchronization
import TestSupport
import Testing
import Video

/// Tower and decoder where there is no room for both.
@Suite struct WeightTurnsTests {
  private let model: VideoLanguageModel
  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
    model = try VideoLanguageModel(path: convert("clip", bits: 8, to: directory))
  }

  private func runner(room: Bool) throws -> ModelRunner {
    var options = SessionOptions()
    options.keepsWeights = true
    options.clipMemory = 4 << 20
    return try ModelRunner(model, options: options, available: room ? 1 << 40 : 1)
  }

  private func clip(_ seed: Int) -> ClipSource {
    .frames(
      (0..<4).map { frame in
        RGBImage(checkedWidth: 16, height: 16, pixels: (0..<768).map { UInt8(truncatingIfNeeded: ($0 + 1) * (seed * 4 + frame + 7)) })
      })
  }

  private func ask(_ conversation: ClipConversation, _ question: String = "What happens?") async throws -> Answer {
    for try await event in conversation.answer(question, options: greedy(6)) {
      if case .finished(let answer, _) = event { return answer }
    }
    throw CancellationError()
  }

  @Test func followsTheMachine() throws {
    #expect(try runner(room: false).weightsTakeTurns && !runner(room: true).weightsTakeTurns)
    var options = SessionOptions()
    options.keepsWeights = true
    let both = try ModelRunner(model, options: options).bytesOfBoth
    #expect(try both > ModelRunner(model, options: options).plan().peakBytes)
    #expect(try !ModelRunner(model, options: options, available: both).weightsTakeTurns)
    #expect(try ModelRunner(model, options: options, available: both - 1).weightsTakeTurns)
    options.clipMemory = 1
    #expect(try ModelRunner(model, options: options, available: both).weightsTakeTurns)
    options.keepsWeights = false
    #expect(try !ModelRunner(model, options: options, available: 1).weightsTakeTurns)
  }

  @Test func oneAtATime() async throws {
    let runner = try runner(room: false)
    for try await _ in try runner.prepare([clip(0)]) {}
    #expect(model.residency.isInMemory == (false, true))
    let first = runner.conversation(about: [clip(0)])
    _ = try await ask(first)
    #expect(model.residency.isInMemory == (false, true))
    // A conversation that is held does not keep the decoder in memory, and goes on when it is read again.
    var times = StageTimes()
    var vision: VisionModel? = try runner.context.takeVision(&times, { _ in }, isCancelled: { false })
    #expect(model.residency.isInMemory == (true, false))
    runner.context.giveBack(&vision)
    _ = try await ask(runner.conversation(about: [clip(1)]))
    let more = try await ask(first, "And then?")
    #expect(model.residency.isInMemory == (false, true))
    let roomy = try self.runner(room: true)
    let other = roomy.conversation(about: [clip(0)])
    _ = try await ask(other)
    #expect(try await ask(other, "And then?").tokens == more.tokens)
    #expect(model.residency.isInMemory == (true, true))
  }

  /// Many at once, about few clips, some of which are prepared meanwhile: the answers of one alone, and never both parts in memory.
  @Test func manyAtOnce() async throws {
    let alone = try runner(room: true)
    var expected: [[Int32]] = []
    for seed in 0..<5 { expected.append(try await ask(alone.conversation(about: [clip(seed)])).tokens) }
    let model = try VideoLanguageModel(path: directory.file("clip-8.sfq"))
    var options = SessionOptions()
    options.keepsWeights = true
    options.clipMemory = 64 << 10
    let runner = try ModelRunner(model, options: options, available: 1)
    let isOver = Atomic(false)
    let watched = Task {
      var both = 0
      while !isOver.load(ordering: .relaxed) {
        if model.residency.isInMemory == (true, true) { both += 1 }
        try? await Task.sleep(for: .milliseconds(1))
      }
      return both
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<24 {
        group.addTask { [self, expected] in
          let seed = number % 5
          if number % 4 == 3 {
            for try await _ in try runner.prepare([clip(seed), clip((seed + 1) % 5)]) {}
          } else {
            #expect(try await ask(runner.conversation(about: [clip(seed)])).tokens == expected[seed])
          }
        }
      }
      try await group.waitForAll()
    }
    isOver.store(true, ordering: .relaxed)
    #expect(await watched.value == 0)
  }

  /// Who waits is let in when the others have left, before those who came later, and may give up.
  @Test func turns() async throws {
    let entrance = Entrance()
    try entrance.enter(.decoder)
    try entrance.enter(.decoder)
    #expect(entrance.letGo == [.vision])
    #expect(failure { try entrance.enter(.vision) { true } }?.kind == .cancelled)
    #expect(!entrance.turns.isWanted(.vision))
    let waiting = Task.detached { try entrance.enter(.vision) }
    while !entrance.turns.isWanted(.vision) { try await Task.sleep(for: .milliseconds(1)) }
    #expect(failure { try entrance.enter(.decoder) { true } }?.kind == .cancelled)
    entrance.turns.leave()
    entrance.turns.leave()
    try await waiting.value
    #expect(entrance.letGo == [.vision, .decoder])
    entrance.turns.leave()
    try entrance.enter(.vision)
    #expect(entrance.letGo.count == 2)
  }
}

/// Notes what is let go.
private final class Entrance: Sendable {
  let turns = WeightTurns()
  private let gone = Mutex<[WeightTurns.Part]>([])
  var letGo: [WeightTurns.Part] { gone.withLock { $0 } }

  func enter(_ part: WeightTurns.Part, _ isCancelled: () -> Bool = { false }) throws(SlowFastError) {
    try turns.enter(part, isCancelled: isCancelled) { other in gone.withLock { $0.append(other) } }
  }
}
