import Foundation
import Models
import Runtime
import Support
import Synchronization
import TestSupport
import Testing
import Video

/// A thread apart from those that tests share, which only serial queues have: what is timed must not wait for another test's end.
private final class OwnThread: TaskExecutor {
  private let queue = DispatchQueue(label: "own thread")

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}

/// How much longer things may take, on an emulated machine.
private let slowness = ProcessInfo.processInfo.environment["SLOWFAST_TEST_SLOWNESS"].flatMap(Double.init) ?? 1

/// Several conversations on one model at once, and what ends one.
@Suite struct ModelRunnerTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func clip(_ seed: Int) throws -> ClipSource { .frames(try (0..<3).map { try picture(seed * 10 + $0) }) }

  private func options(_ attention: SlowAttention = .prompt, memory: Int? = nil) -> SessionOptions {
    var options = SessionOptions()
    options.slowAttention = attention
    options.clipMemory = memory
    return options
  }

  /// All events of an answer.
  private func events(_ conversation: ClipConversation, _ question: String, _ tokens: Int) async throws -> [AnswerEvent] {
    var events: [AnswerEvent] = []
    for try await event in conversation.answer(question, options: greedy(tokens)) { events.append(event) }
    return events
  }

  private func answer(_ conversation: ClipConversation, _ question: String, _ tokens: Int) async throws -> Answer {
    guard case .finished(let answer, _)? = try await events(conversation, question, tokens).last else {
      throw CancellationError()
    }
    return answer
  }

  /// True when the model's weights are given back within ten seconds.
  private func isFreed(_ model: VideoLanguageModel) async throws -> Bool {
    for _ in 0..<Int(1000 * slowness) {
      if model.residency.isInMemory == (false, false) { return true }
      try await Task.sleep(for: .milliseconds(10))
    }
    return false
  }

  @Test func eventsOfAnAnswer() async throws {
    let runner = try ModelRunner(try VideoLanguageModel(path: Golden.path("clip")))
    let conversation = runner.conversation(about: [try clip(1)], sampling: SamplingRequest(frames: 3))
    let found = try await events(conversation, "What happens?", 8)
    guard case .finished(let answer, let statistics)? = found.last else {
      Issue.record("no end")
      return
    }
    let text = found.map { event in if case .text(let piece) = event { piece } else { "" } }.joined()
    #expect(text == answer.text && answer.tokens.count == 8)
    #expect(statistics.frames == 3 && statistics.generatedTokens == 8 && statistics.threads > 0)
    let plan = runner.plan([try clip(1)], sampling: SamplingRequest(frames: 3), question: "What happens?", maximumTokens: 8)
    #expect(plan.promptTokens == statistics.promptTokens && plan.slowTokens == statistics.slowTokens)
    let progress = found.compactMap { event in if case .progress(let progress) = event { progress } else { nil } }
    #expect(progress.contains(.encoding(frame: 3, of: 3)) && progress.last == .generating(token: 8, of: 8))
    #expect(found.count { if case .finished = $0 { true } else { false } } == 1)
  }

  /// Conversations side by side say what they say one after the other, whichever of them share a clip.
  @Test(arguments: ["clip", "vanilla", "image", "4 bits"], SlowAttention.allCases)
  func severalAtOnce(name: String, attention: SlowAttention) async throws {
    let path = name == "4 bits" ? try convert("clip", bits: 4, to: directory) : Golden.path(name)
    let model = try VideoLanguageModel(path: path)
    let questions = ["What happens?", "And then, at the end?"]
    let clips = try [clip(1), clip(2), clip(1), clip(3)]
    let alone = try clips.map { clip in
      let session = try Session(model, options: options(attention))
      try session.watch([clip], sampling: SamplingRequest(frames: 3))
      return try questions.map { try session.ask($0, options: greedy(8)) }
    }
    for memory in [nil, 64 << 20] {
      let runner = try ModelRunner(model, options: options(attention, memory: memory))
      let together = try await withThrowingTaskGroup(of: (Int, [Answer]).self) { group in
        for (index, clip) in clips.enumerated() {
          group.addTask {
            let conversation = runner.conversation(about: [clip], sampling: SamplingRequest(frames: 3))
            var answers: [Answer] = []
            for question in questions { answers.append(try await answer(conversation, question, 8)) }
            return (index, answers)
          }
        }
        return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
      }
      for index in clips.indices { #expect(together[index] == alone[index]) }
    }
    #expect(try await isFreed(model))
  }

  /// Conversations that want the same clip at the same time: one encodes it and reads it, also when it is cancelled meanwhile, and the
  /// others wait for that, with its progress; where nothing can be kept, each does it.
  @Test(arguments: [64 << 20, 1000])
  func oneEncodesForAll(memory: Int) async throws {
    let model = try VideoLanguageModel(path: Golden.path("vanilla"))
    let images = try (0..<40).map { try picture($0) }
    let sampling = SamplingRequest(frames: 40)
    let expected = try await events(
      try ModelRunner(model, options: options()).conversation(about: [.frames(images)], sampling: sampling), "What happens?", 6)
    let runner = try ModelRunner(model, options: options(memory: memory))
    let first = runner.conversation(about: [.frames(images)], sampling: sampling)
    let others = (0..<3).map { _ in runner.conversation(about: [.frames(images)], sampling: sampling) }
    // Until all have come nobody computes.
    let isHeld = Mutex(false)
    let isFree = Mutex(false)
    Thread {
      runner.context.engine.turns.withLock {
        isHeld.withLock { $0 = true }
        while !isFree.withLock({ $0 }) { usleep(500) }
      }
    }.start()
    while !isHeld.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(1)) }
    let results = try await withThrowingTaskGroup(of: [AnswerEvent].self) { group in
      for try await event in first.answer("What happens?", options: greedy(6)) {
        guard case .progress(.decoding(frame: 1, of: 40)) = event else { continue }
        for other in others { group.addTask { try await events(other, "What happens?", 6) } }
        while runner.context.encodings.waiting < 3 { try await Task.sleep(for: .milliseconds(1)) }
        // And leaves off, while the others wait for it.
        break
      }
      isFree.withLock { $0 = true }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    var encoded = 0
    var read = 0
    for found in results {
      guard case .finished(let answer, let statistics)? = found.last, case .finished(let same, _)? = expected.last else {
        Issue.record("no end")
        return
      }
      #expect(answer == same)
      encoded += statistics.encodedFrames
      read += statistics.cachedPromptTokens == 0 ? 1 : 0
      #expect(found.contains { if case .progress(.encoding(let frame, of: 40)) = $0 { frame > 2 } else { false } })
    }
    #expect(encoded == (memory > 1000 ? 0 : 120) && read == (memory > 1000 ? 1 : 3))
  }

  private func prepare(_ runner: ModelRunner, _ source: ClipSource, frames: Int) async throws -> (RunStatistics?, [SessionProgress]) {
    var (statistics, progress) = (RunStatistics?.none, [SessionProgress]())
    for try await event in try runner.prepare([source], sampling: SamplingRequest(frames: frames)) {
      switch event {
      case .progress(let news): progress.append(news)
      case .finished(let found): statistics = found
      }
    }
    return (statistics, progress)
  }

  /// Clips that were prepared: a question finds everything done, whatever the model, and answers as a fresh one.
  @Test(arguments: ["clip", "image", "onevision-hf"])
  func whatWasPrepared(name: String) async throws {
    let model = try VideoLanguageModel(path: Golden.path(name))
    let source = try clip(1)
    let expected = try await answer(
      try ModelRunner(model, options: options()).conversation(about: [source], sampling: SamplingRequest(frames: 3)), "What?", 6)
    let runner = try ModelRunner(model, options: options(memory: 64 << 20))
    let (statistics, progress) = try await prepare(runner, source, frames: 3)
    #expect(statistics?.encodedFrames == 3 && progress.contains(.encoding(frame: 3, of: 3)))
    let found = try await events(runner.conversation(about: [source], sampling: SamplingRequest(frames: 3)), "What?", 6)
    guard case .finished(let same, let after)? = found.last else {
      Issue.record("no end")
      return
    }
    #expect(same == expected && after.encodedFrames == 0 && after.cachedPromptTokens > 0)
    let (again, _) = try await prepare(runner, source, frames: 3)
    #expect(again?.encodedFrames == 0 && again?.cachedFrames == 3 && again?.promptTokens == 0)
    #expect(failure { _ = try ModelRunner(model).prepare([source]) }?.isA(.invalidOption, "clipMemory") == true)
  }

  /// Answers go on beside a preparation, which is left off when nobody reads it: what was encoded is kept.
  @Test func aPreparationThatIsLeftOff() async throws {
    let model = try VideoLanguageModel(path: Golden.path("vanilla"))
    let images = try (0..<40).map { try picture($0) }
    let runner = try ModelRunner(model, options: options(memory: 64 << 20))
    let conversation = runner.conversation(about: [try clip(50)], sampling: SamplingRequest(frames: 3))
    let first = try await answer(conversation, "What happens?", 6)
    conversation.startOver()
    for try await event in try runner.prepare([.frames(images)], sampling: SamplingRequest(frames: 40)) {
      guard case .progress(.encoding(let frame, of: 40)) = event, frame > 2 else { continue }
      #expect(try await answer(conversation, "What happens?", 6) == first)
      break
    }
    // The thread that encodes sees it within a block's time.
    for _ in 0..<Int(1000 * slowness) where runner.context.encodings.count > 0 { try await Task.sleep(for: .milliseconds(10)) }
    let rest = try await events(runner.conversation(about: [.frames(images)], sampling: SamplingRequest(frames: 40)), "What?", 4)
    guard case .finished(_, let statistics)? = rest.last else {
      Issue.record("no end")
      return
    }
    #expect(statistics.cachedFrames > 2 && statistics.encodedFrames + statistics.cachedFrames == 40)
  }

  /// Questions that are asked together in one conversation are answered in their order, and so is a new beginning.
  @Test func questionsOfOneConversationKeepTheirOrder() async throws {
    let model = try VideoLanguageModel(path: Golden.path("vanilla"))
    let session = try Session(model)
    try session.watch([clip(1)], sampling: SamplingRequest(frames: 3))
    let first = try session.ask("What happens?", options: greedy(6))
    let second = try session.ask("And then?", options: greedy(6))
    #expect(first != second)
    let conversation = try ModelRunner(model).conversation(about: [clip(1)], sampling: SamplingRequest(frames: 3))
    let streams = [
      conversation.answer("What happens?", options: greedy(6)), conversation.answer("And then?", options: greedy(6)),
    ]
    conversation.startOver()
    let again = conversation.answer("What happens?", options: greedy(6))
    var answers: [Answer] = []
    for stream in streams + [again] {
      for try await case .finished(let answer, _) in stream { answers.append(answer) }
    }
    #expect(answers == [first, second, first])
  }

  /// A task that is cancelled while an answer is made: the stream ends at once, the question is forgotten, and memory is given back.
  @Test(arguments: SlowAttention.allCases)
  func aCancelledTask(attention: SlowAttention) async throws {
    let thread = OwnThread()
    try await Task(executorPreference: thread) { try await cancelATask(attention, on: thread) }.value
  }

  private func cancelATask(_ attention: SlowAttention, on thread: OwnThread) async throws {
    let model = try VideoLanguageModel(path: Golden.path("vanilla"))
    let request = SamplingRequest(frames: 3)
    var conversation: ClipConversation? = try ModelRunner(model, options: options(attention))
      .conversation(about: [clip(1)], sampling: request)
    let first = try await answer(conversation!, "What happens?", 6)
    let (started, isStarted) = AsyncStream<Void>.makeStream()
    let task = Task(executorPreference: thread) { [stream = conversation!.answer("Something long?", options: greedy(30_000))] in
      var isFinished = false
      for try await event in stream {
        if case .text = event { isStarted.yield() }
        if case .finished = event { isFinished = true }
      }
      return isFinished
    }
    for await _ in started { break }
    let start = ContinuousClock.now
    task.cancel()
    #expect(try await task.value == false)
    #expect(ContinuousClock.now - start < .seconds(3 * slowness))
    let second = try await answer(conversation!, "And then?", 6)
    // Thirty thousand tokens take minutes.
    #expect(ContinuousClock.now - start < .seconds(12 * slowness))

    for try await event in conversation!.answer("Something long?", options: greedy(30_000)) {
      // Leaving the loop does the same.
      if case .text = event { break }
    }
    conversation = nil
    #expect(try await isFreed(model))
    let session = try Session(model, options: options(attention))
    try session.watch([clip(1)], sampling: request)
    #expect(try [first, second] == ["What happens?", "And then?"].map { try session.ask($0, options: greedy(6)) })
  }

  /// Cancelled while the clip is encoded: the tower goes, and the next question watches the clip anew.
  @Test func aCancelledClip() async throws {
    try await Task(executorPreference: OwnThread()) { try await cancelAClip() }.value
  }

  private func cancelAClip() async throws {
    let model = try VideoLanguageModel(path: Golden.path("clip"))
    let images = try (0..<60).map { try picture($0) }
    let long = try ModelRunner(model).conversation(about: [.frames(images)])
    var frames = 0
    for try await event in long.answer("What?", options: greedy(3)) {
      guard case .progress(.encoding(let frame, of: _)) = event, frame > 0 else { continue }
      frames = frame
      break
    }
    #expect(frames > 0 && frames < 60)
    #expect(try await isFreed(model))
    let again = try await events(long, "What?", 3)
    guard case .finished(_, let statistics)? = again.last else {
      Issue.record("no end")
      return
    }
    #expect(statistics.frames == 60)
  }

  /// What goes wrong is thrown by the stream, and the conversation goes on.
  @Test func failures() async throws {
    let model = try VideoLanguageModel(path: Golden.path("vanilla"))
    let conversation = try ModelRunner(model).conversation(about: [clip(1)], sampling: SamplingRequest(frames: 3))
    for (question, tokens, kind) in [
      (String(repeating: "why ", count: 5000), 4, SlowFastError.Kind.promptTooLong), ("What?", 0, .invalidOption),
    ] {
      let error = await #expect(throws: SlowFastError.self) { try await events(conversation, question, tokens) }
      #expect(error?.kind == kind)
    }
    #expect(try await answer(conversation, "What?", 4).tokens.count == 4)
    let gone = directory.file("gone.mp4")
    try FileManager.default.copyItem(atPath: Golden.clip, toPath: gone)
    let source = try ClipSource(path: gone)
    try FileManager.default.removeItem(atPath: gone)
    let broken = try ModelRunner(model).conversation(about: [source])
    let error = await #expect(throws: SlowFastError.self) { try await events(broken, "What?", 4) }
    #expect(error?.kind == .invalidClip)
    // What is too long is told before the clip is opened.
    let long = try ModelRunner(model).conversation(about: [source])
    let refusal = await #expect(throws: SlowFastError.self) { try await events(long, String(repeating: "why ", count: 5000), 4) }
    #expect(refusal?.kind == .promptTooLong)
  }

  /// Without a clip, with the model's own settings.
  @Test func noClip() async throws {
    let model = try VideoLanguageModel(path: Golden.path("vanilla"))
    let session = try Session(model)
    let expected = try session.ask("Hello?", options: model.generationDefaults)
    var found: Answer?
    for try await case .finished(let answer, _) in try ModelRunner(model).conversation().answer("Hello?") { found = answer }
    // Drawn, but from the same seed.
    #expect(found == expected)
  }
}
