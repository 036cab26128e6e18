import SlowFast

/// An answer that is being made, with what happens to it as server-sent events. The work ends with the last who holds it.
final class AnswerStream: Sendable {
  /// An event, or nothing for some seconds.
  private enum Beat: Sendable {
    /// Of one of the answers.
    case event(Int, Answering.Event)
    case silence
  }
  private let beats: AsyncThrowingStream<Beat, any Error>
  private let work: Task<Void, Never>
  private let clock: Task<Void, Never>
  private let replies: ChatReplies
  private let count: Int

  /// So often the client is told that the work goes on: clients give up after 60 seconds and more.
  private static let silence = Duration.seconds(5)

  init(_ answering: Answering, _ prepared: Answering.Prepared, _ replies: ChatReplies) {
    self.replies = replies
    count = prepared.count
    let (beats, feed) = AsyncThrowingStream<Beat, any Error>.makeStream()
    self.beats = beats
    work = Task {
      do {
        try await answering.answers(prepared) { feed.yield(.event($0, $1)) }
        feed.finish()
      } catch { feed.finish(throwing: error) }
    }
    clock = Task {
      var wait = Duration.milliseconds(500)
      while (try? await Task.sleep(for: wait)) != nil {
        feed.yield(.silence)
        wait = Self.silence
      }
    }
  }

  deinit {
    work.cancel()
    clock.cancel()
  }

  /// Waits until the answer is on its way, or half a second: what goes wrong before that still has a status of its own. Whether the client
  /// is gone is noticed after that only.
  func begin() async throws -> [(Int, Answering.Event)] {
    var early: [(Int, Answering.Event)] = []
    for try await beat in beats {
      guard case .event(let index, let event) = beat else { return early }
      early.append((index, event))
      if event.isOnItsWay { return early }
    }
    return early
  }

  /// Writes the events, `early` ones first. Ends where the client is gone: `write` throws.
  func write(_ early: [(Int, Answering.Event)], _ write: (String) async throws -> Void) async throws {
    defer {
      work.cancel()
      clock.cancel()
    }
    var pacers = [Pacer](repeating: Pacer(), count: count)
    var finished: [RunStatistics] = []
    func tell(_ index: Int, _ event: Answering.Event) async throws {
      if case .finished(_, let statistics) = event { finished.append(statistics) }
      for object in objects(index, event, &pacers[index]) { try await write("data: \(object.text)\n\n") }
    }
    for index in 0..<count { try await write("data: \(replies.opening(index).text)\n\n") }
    do {
      for (index, event) in early { try await tell(index, event) }
      for try await beat in beats {
        switch beat {
        case .silence: try await write(": the work goes on\n\n")
        case .event(let index, let event): try await tell(index, event)
        }
        // The clock alone would go on for ever.
        if finished.count == count { break }
      }
      if finished.count < count { throw CancellationError() }
      if let usage = replies.usage(finished) { try await write("data: \(usage.text)\n\n") }
    } catch  where error is APIError || error is SlowFastError || error is CancellationError {
      try await write("data: \(APIError(any: error).json.text)\n\n")
    }
    try await write("data: [DONE]\n\n")
  }

  private func objects(_ index: Int, _ event: Answering.Event, _ pacer: inout Pacer) -> [JSON] {
    switch event {
    case .waiting: return [replies.progress("waiting", 0, 0)]
    case .tokens(let tokens):
      pacer.tokens += tokens
      return []
    case .text(let text): return [replies.text(index, text, pacer.takeTokens())]
    case .finished(let answer, let statistics):
      let tokens = pacer.takeTokens()
      return (tokens.isEmpty ? [] : [replies.text(index, "", tokens)]) + [replies.ending(index, answer, statistics)]
    case .progress(let progress):
      // What all wait for is told once.
      guard index == 0, let stage = progress.stage, pacer.isDue(stage.name, isLast: stage.done == stage.total) else { return [] }
      return [replies.progress(stage.name, stage.done, stage.total)]
    }
  }

  /// Keeps steps that follow each other quickly from becoming a flood, and tokens until their text comes.
  private struct Pacer {
    var tokens: [TokenProbability] = []

    mutating func takeTokens() -> [TokenProbability] {
      defer { tokens = [] }
      return tokens
    }

    private var stage = ""
    private var last = ContinuousClock.now

    mutating func isDue(_ stage: String, isLast: Bool) -> Bool {
      let now = ContinuousClock.now
      guard isLast || stage != self.stage || now - last > .milliseconds(100) else { return false }
      (self.stage, last) = (stage, now)
      return true
    }
  }
}

extension Answering.Event {
  /// Nothing that the request could be refused for is to come: its clips decode, or their tokens were there.
  fileprivate var isOnItsWay: Bool {
    switch self {
    case .waiting, .progress(.loading), .progress(.decoding): false
    case .progress, .tokens, .text, .finished: true
    }
  }
}

extension SessionProgress {
  /// What is done, and how much of it; nil for the answer's tokens, which speak for themselves.
  var stage: (name: String, done: Int, total: Int)? {
    switch self {
    case .loading(let done, let total): ("loading", done, total)
    case .decoding(let frame, let total): ("encoding", frame - 1, total)
    case .encoding(let frame, let total): ("encoding", frame, total)
    case .readingClip(let layer, let total): ("reading_clip", layer, total)
    case .prefilling(let token, let total): ("prefilling", token, total)
    case .generating: nil
    }
  }
}
