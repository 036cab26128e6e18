/// A lock that those who wait for it get in the order in which they came. For turns of a millisecond and more.
package final class FairLock: @unchecked Sendable {
  private let monitor = Monitor()
  // Under the monitor: the number that the next one to come gets, and the number whose turn it is.
  private var next = 0
  private var current = 0

  package init() {}

  /// Runs `body` when it is the caller's turn. Not to be called inside of itself.
  package func withLock<T, Failure: Error>(_ body: () throws(Failure) -> T) throws(Failure) -> T {
    monitor.withLock { waitForTurn() }
    defer { monitor.withLock { endTurn() } }
    return try body()
  }

  /// Inside `withLock`: lets all that wait go first. Costs next to nothing where nobody does.
  package func yield() {
    monitor.withLock {
      guard next - current > 1 else { return }
      endTurn()
      waitForTurn()
    }
  }

  /// Threads that wait now.
  package var waiting: Int { monitor.withLock { max(0, next - current - 1) } }

  private func waitForTurn() {
    let number = next
    next += 1
    while current != number { monitor.wait() }
  }

  private func endTurn() {
    current += 1
    if next > current { monitor.wakeAll() }
  }
}
