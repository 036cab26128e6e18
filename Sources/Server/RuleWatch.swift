#if Server
  import Foundation
  import Logging
  import ServiceLifecycle
  import SlowFast
  import Synchronization

  /// Asks what rules ask of each new window of their streams, and tells the events.
  struct RuleWatch: Service {
    let answering: Answering
    let rules: [Rule]
    let logger: Logger

    func run() async throws {
      await withGracefulShutdownHandler {
        await withTaskGroup(of: Void.self) { group in
          for rule in rules {
            let delivery = Delivery(rule, logger)
            group.addTask { await delivery.run() }
            for stream in answering.streams.all where rule.streams.isEmpty || rule.streams.contains(stream.name) {
              group.addTask { await follow(stream, rule, delivery) }
            }
          }
          // What ends the streams ends those that follow them.
        }
      } onGracefulShutdown: {
        answering.streams.stop()
      }
    }

    private func follow(_ stream: Streams.Stream, _ rule: Rule, _ delivery: Delivery) async {
      defer { delivery.end() }
      var state = RuleState(rule)
      for await window in stream.watch.windows() {
        do {
          guard let answer = try await answering.answer(rule, about: window) else { continue }
          if state.isEvent(answer.text, at: window.time) { delivery.add(Self.event(answer, rule, stream.name, window)) }
        } catch is CancellationError { return } catch {
          logger.warning("rule \(rule.name): \(stream.name): \(error)")
          // The next window may do better, but not at once.
          try? await Task.sleep(for: .seconds(5))
        }
      }
    }

    private static func event(_ answer: Answer, _ rule: Rule, _ stream: String, _ window: LiveWindow) -> JSON {
      let time = Date(timeIntervalSince1970: window.time).formatted(.iso8601.year().month().day().time(includingFractionalSeconds: true))
      let probabilities = answer.choices.map { JSON.Member(key: $0.text, value: .number(($0.probability * 1e6).rounded() / 1e6)) }
      return [
        "time": .string(time.hasSuffix("Z") ? time : time + "Z"), "rule": .string(rule.name), "stream": .string(stream),
        "question": .string(rule.question), "answer": .string(answer.text), "probabilities": .object(probabilities),
        "frames": .integer(window.frames.count),
      ]
    }
  }

  extension Answering {
    /// What a rule asks, when it is its turn. nil where the work was cancelled.
    fileprivate func answer(_ rule: Rule, about window: LiveWindow) async throws -> Answer? {
      var options = model.generationDefaults
      options.form = .choices(rule.choices)
      let place = try await enter()
      defer { withExtendedLifetime(place) {} }
      for try await event in conversation(about: window).answer(rule.question, options: options) {
        if case .finished(let answer, let statistics) = event {
          metrics.count(statistics)
          return answer
        }
      }
      return nil
    }
  }

  /// Tells the events of a rule, one after the other: what cannot be told now is tried again for some minutes, and so many wait at most.
  private final class Delivery: Sendable {
    private let rule: Rule
    private let logger: Logger
    private let events: AsyncStream<JSON>
    private let feed: AsyncStream<JSON>.Continuation

    /// Events that wait; of more the oldest are lost, which is logged.
    private static let room = 100

    init(_ rule: Rule, _ logger: Logger) {
      (self.rule, self.logger) = (rule, logger)
      (events, feed) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(Self.room))
    }

    func add(_ event: JSON) {
      if case .dropped = feed.yield(event) { logger.error("rule \(rule.name): \(Self.room) events wait, the oldest is lost") }
    }

    func end() { feed.finish() }

    func run() async {
      for await event in events {
        if let file = rule.file { await tell("file") { () throws(Web.Failure) in try Self.append(event, to: file) } }
        if let webhook = rule.webhook {
          await tell("webhook") { () throws(Web.Failure) in try Web.post(event.text, to: webhook, seconds: 10) }
        }
      }
    }

    /// Tries again after 1, 2, 4 … seconds, ten times in all: a quarter of an hour.
    private func tell(_ what: String, _ body: @escaping @Sendable () throws(Web.Failure) -> Void) async {
      var pause = 1
      for attempt in 1... {
        let result = await withCheckedContinuation { continuation in
          DispatchQueue.global().async { continuation.resume(returning: Result { () throws(Web.Failure) in try body() }) }
        }
        guard case .failure(let error) = result else { return }
        guard error.isTransient, attempt < 10, !Task.isShuttingDownGracefully else {
          return logger.error("rule \(rule.name): \(what): \(error), the event is lost")
        }
        logger.warning("rule \(rule.name): \(what): \(error), tried again in \(pause) s")
        // At the end it is tried once more.
        let wait = pause
        try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(wait)) }
        pause *= 2
      }
    }

    private static func append(_ event: JSON, to path: String) throws(Web.Failure) {
      let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else { throw Web.Failure(description: String(cString: strerror(errno)), isTransient: true) }
      defer { close(descriptor) }
      // In one piece, so that lines of several writers stay whole.
      let line = Array((event.text + "\n").utf8)
      let start = lseek(descriptor, 0, SEEK_END)
      let count = write(descriptor, line, line.count)
      guard count < line.count else { return }
      let reason = count < 0 ? String(cString: strerror(errno)) : "no space left"
      // A full disk: no half of a line is left.
      if count > 0 { ftruncate(descriptor, start) }
      throw Web.Failure(description: reason, isTransient: true)
    }
  }
#endif
