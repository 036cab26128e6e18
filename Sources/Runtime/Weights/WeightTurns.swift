import Support
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Which part of a model is in memory, where there is no room for both: all who use one take turns with all who use the other.
package final class WeightTurns: Sendable {
  package enum Part: Sendable {
    case vision, decoder

    fileprivate var other: Part { self == .vision ? .decoder : .vision }
  }

  private struct State {
    /// Who was in memory last, and is still.
    var part = Part.vision
    var users = 0
    var waiting: [Part: Int] = [.vision: 0, .decoder: 0]

    func isWanted(_ part: Part) -> Bool { waiting[part, default: 0] > 0 }

    /// Nobody joins those who have their turn while others wait for theirs.
    func mayEnter(_ part: Part) -> Bool { part == self.part ? !isWanted(part.other) : users == 0 }
  }

  private let state = Mutex(State())

  package init() {}

  /// Waits until nobody uses the other part, lets that go with `letGo`, and is a user until `leave`.
  package func enter(_ part: Part, isCancelled: () -> Bool, letGo: (Part) -> Void) throws(SlowFastError) {
    state.withLock { $0.waiting[part, default: 0] += 1 }
    defer { state.withLock { $0.waiting[part, default: 0] -= 1 } }
    while true {
      let isIn = state.withLock { state in
        guard state.mayEnter(part) else { return false }
        if state.part != part { letGo(part.other) }
        state.part = part
        state.users += 1
        return true
      }
      if isIn { return }
      if isCancelled() { throw .cancelled }
      usleep(10_000)
    }
  }

  package func leave() { state.withLock { $0.users -= 1 } }

  /// Whether somebody waits for a turn of this part.
  package func isWanted(_ part: Part) -> Bool { state.withLock { $0.isWanted(part) } }
}
