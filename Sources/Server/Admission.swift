import Synchronization

/// Lets so many requests be answered at a time; some more wait, first come, first served, the others are refused.
final class Admission: Sendable {
  private struct State {
    var running = 0
    var waiting: [(id: Int, continuation: CheckedContinuation<Outcome, Never>)] = []
    var next = 0
    /// Given up before they began to wait.
    var gone: Set<Int> = []
  }
  private let state = Mutex(State())
  private let parallel: Int
  private let queue: Int

  init(parallel: Int, queue: Int) { (self.parallel, self.queue) = (parallel, queue) }

  /// Requests that are answered, and those that wait.
  var counts: (running: Int, waiting: Int) { state.withLock { ($0.running, $0.waiting.count) } }

  private enum Outcome { case entered, refused, cancelled }

  /// A place, when there is one; it is given back with the result. Throws where too many wait already, unless this is `patient`, and where
  /// the task is cancelled.
  func enter(patient: Bool = false) async throws -> Place {
    let id = state.withLock { state in
      state.next += 1
      return state.next
    }
    let outcome = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let outcome: Outcome? = state.withLock { state in
          if state.gone.remove(id) != nil { return .cancelled }
          if state.running < parallel {
            state.running += 1
            return .entered
          }
          if !patient, state.waiting.count >= queue { return .refused }
          state.waiting.append((id, continuation))
          return nil
        }
        if let outcome { continuation.resume(returning: outcome) }
      }
    } onCancel: {
      let waiter = state.withLock { state -> CheckedContinuation<Outcome, Never>? in
        guard let index = state.waiting.firstIndex(where: { $0.id == id }) else {
          state.gone.insert(id)
          return nil
        }
        return state.waiting.remove(at: index).continuation
      }
      waiter?.resume(returning: .cancelled)
    }
    state.withLock { _ = $0.gone.remove(id) }
    switch outcome {
    case .entered: return Place(self)
    case .cancelled: throw CancellationError()
    case .refused:
      throw APIError(
        429, "No more than \(queue) requests may wait, and so many do already: ask again in a moment.", code: "queue_full", retryAfter: 5)
    }
  }

  fileprivate func leave() {
    let next = state.withLock { state -> CheckedContinuation<Outcome, Never>? in
      if state.waiting.isEmpty {
        state.running -= 1
        return nil
      }
      return state.waiting.removeFirst().continuation
    }
    next?.resume(returning: .entered)
  }

  /// A place among those that are answered, held for as long as this is.
  final class Place: Sendable {
    private let admission: Admission

    fileprivate init(_ admission: Admission) { self.admission = admission }

    deinit { admission.leave() }
  }
}
