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
            let deliveries = Delivery.all(of: rule, logger)
            for delivery in deliveries { group.addTask { await delivery.run() } }
            group.addTask {
              await withTaskGroup(of: Void.self) { followers in
                for stream in answering.streams.all where rule.streams.isEmpty || rule.streams.contains(stream.name) {
                  followers.addTask { await follow(stream, rule, deliveries) }
                }
              }
              for delivery in deliveries { delivery.end() }
            }
          }
          // What ends the streams ends those that follow them.
        }
      } onGracefulShutdown: {
        answering.streams.stop()
      }
    }

    private func follow(_ stream: Streams.Stream, _ rule: Rule, _ deliveries: [Delivery]) async {
      var state = RuleState(rule)
      let size = stream.watch.windowSize
      var hasWaited = false
      for await window in stream.watch.windows() {
        // What is asked about a minute is not answered from its first seconds.
        guard window.frames.count == size else {
          stream.answers.note(Self.problem("waits for frames: \(window.frames.count) of \(size) are there", rule), of: rule.name)
          if !hasWaited { logger.info("rule \(rule.name): \(stream.name): asked from the time on when \(size) frames are there") }
          hasWaited = true
          continue
        }
        do {
          guard let answer = try await answering.answer(rule, about: window) else { continue }
          let event = Self.event(answer, rule, stream.name, window)
          stream.answers.note(event, of: rule.name)
          guard state.isEvent(answer.text, at: ProcessInfo.processInfo.systemUptime - window.age) else { continue }
          for delivery in deliveries { delivery.add(event) }
        } catch is CancellationError { return } catch {
          logger.warning("rule \(rule.name): \(stream.name): \(error)")
          stream.answers.note(Self.problem("\(error)", rule), of: rule.name)
          // The next window may do better, but not at once.
          try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(5)) }
        }
      }
    }

    private static func problem(_ text: String, _ rule: Rule) -> JSON {
      ["rule": .string(rule.name), "question": .string(rule.question), "problem": .string(text)]
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

  extension Rule {
    /// Throws where the answer could never be one of its choices.
    func check(_ model: VideoLanguageModel) throws(SlowFastError) {
      var options = model.generationDefaults
      options.form = .choices(choices)
      try options.validate()
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

  /// Tells one receiver the events of a rule, one after the other: what cannot be told is tried again for some minutes, and so many wait
  /// at most. Each has its own, so that none waits for another.
  private final class Delivery: Sendable {
    private let name: String
    private let logger: Logger
    private let send: @Sendable (JSON) throws(Web.Failure) -> Void
    private let events: AsyncStream<JSON>
    private let feed: AsyncStream<JSON>.Continuation

    /// Events that wait; of more the oldest are lost, which is logged.
    private static let room = 100
    /// Seconds in which events are still told when the server ends.
    private static let grace = 10.0

    private init(_ name: String, _ logger: Logger, _ send: @escaping @Sendable (JSON) throws(Web.Failure) -> Void) {
      (self.name, self.logger, self.send) = (name, logger, send)
      (events, feed) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(Self.room))
    }

    /// One for each that a rule tells.
    static func all(of rule: Rule, _ logger: Logger) -> [Delivery] {
      var all: [Delivery] = []
      if let file = rule.file {
        all.append(Delivery("rule \(rule.name): file", logger) { event throws(Web.Failure) in try append(event, to: file) })
      }
      if let webhook = rule.webhook {
        all.append(
          Delivery("rule \(rule.name): webhook", logger) { event throws(Web.Failure) in
            try Web.post(event.text, to: webhook, seconds: 10)
          })
      }
      return all
    }

    func add(_ event: JSON) {
      guard case .dropped(let oldest) = feed.yield(event) else { return }
      logger.error("\(name): \(Self.room) events wait, the oldest is lost: \(oldest.text)")
    }

    func end() { feed.finish() }

    func run() async {
      var isGivenUp = false
      var last: ContinuousClock.Instant?
      for await event in events {
        if Task.isCancelled {
          // Nothing is waited for.
          lose(event, "the server ends")
          continue
        }
        if Task.isShuttingDownGracefully {
          let end = last ?? .now + .seconds(Self.grace)
          last = end
          if isGivenUp || .now > end {
            lose(event, "the server ends")
            continue
          }
        }
        // Who did not take one at the end is not asked again: the server would wait for each.
        isGivenUp = await !tell(event)
      }
    }

    /// Tries again after 1, 2, 4 … seconds, ten times in all: a quarter of an hour. Whether it was told.
    private func tell(_ event: JSON) async -> Bool {
      var pause = 1
      for attempt in 1... {
        let result = await deliver(event)
        guard case .failure(let error) = result else { return true }
        guard error.isTransient, attempt < 10, !Task.isShuttingDownGracefully, !Task.isCancelled else {
          lose(event, "\(error)")
          return false
        }
        logger.warning("\(name): \(error), tried again in \(pause) s")
        // At the end it is tried once more.
        let wait = pause
        try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(wait)) }
        pause *= 2
      }
      return false
    }

    private func lose(_ event: JSON, _ reason: String) { logger.error("\(name): \(reason), the event is lost: \(event.text)") }

    /// Who does not answer is not waited for any longer when the task is cancelled.
    private func deliver(_ event: JSON) async -> Result<Void, Web.Failure> {
      let (results, tell) = AsyncStream<Result<Void, Web.Failure>>.makeStream()
      DispatchQueue.global().async { tell.yield(Result { () throws(Web.Failure) in try self.send(event) }) }
      // A task that is cancelled gets none.
      for await result in results { return result }
      return .failure(Web.Failure(description: "the server ends", isTransient: false))
    }

    private static func append(_ event: JSON, to path: String) throws(Web.Failure) {
      // A pipe that nobody reads is not waited for.
      let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0o644)
      guard descriptor >= 0 else {
        let code = errno
        // A folder stays one.
        throw Web.Failure(description: String(cString: strerror(code)), isTransient: code != EISDIR)
      }
      defer { close(descriptor) }
      // Others may write to it, who must not lose what they add while this takes half of a line back.
      flock(descriptor, LOCK_EX)
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
