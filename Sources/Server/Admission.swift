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

/// The bytes of requests that are in memory at a time, all together.
final class BodyMemory: Sendable {
  private let taken = Mutex(0)
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  /// What one request takes; given back with the last who holds it.
  final class Share: Sendable {
    private let memory: BodyMemory
    private let bytes = Mutex(0)
    /// Questions without clips are always taken in.
    private static let free = 64 << 10

    fileprivate init(_ memory: BodyMemory) { self.memory = memory }

    deinit {
      let bytes = max(0, bytes.withLock { $0 } - Self.free)
      memory.taken.withLock { $0 -= bytes }
    }

    /// Throws where others take so much that there is no room.
    func add(_ count: Int) throws(APIError) {
      let more = bytes.withLock { bytes in
        defer { bytes += count }
        return max(0, bytes + count - Self.free) - max(0, bytes - Self.free)
      }
      let taken = memory.taken.withLock { taken in
        taken += more
        return taken
      }
      if more > 0, taken > memory.limit {
        throw APIError(
          503, "Other requests fill the memory for such: ask again in a moment, or upload the file with POST /v1/files.", code: "no_room",
          retryAfter: 5)
      }
    }
  }

  func share() -> Share { Share(self) }
}
