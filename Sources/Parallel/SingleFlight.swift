import Synchronization

/// Work that several threads may want at the same time and that one of them does: the others wait, and see how far it is.
package final class SingleFlight<Key: Hashable & Sendable, Progress: Sendable>: Sendable {
  /// One that is under way.
  package final class Flight: Sendable {
    private let state = Mutex((waiting: 0, progress: Progress?.none, isOver: false))

    /// Whether others wait for it: then it is to go on, even where who does the work does not want it any more.
    package var isAwaited: Bool { state.withLock { $0.waiting > 0 } }

    /// Tells those who wait how far it is.
    package func report(_ progress: Progress) { state.withLock { $0.progress = progress } }

    fileprivate var waiters: Int { state.withLock { $0.waiting } }
    fileprivate func wait(_ change: Int) { state.withLock { $0.waiting += change } }
    fileprivate func end() { state.withLock { $0.isOver = true } }
    fileprivate var view: (progress: Progress?, isOver: Bool) { state.withLock { ($0.progress, $0.isOver) } }
  }

  private struct Traffic {
    var flights: [Key: Flight] = [:]
    /// How many are over.
    var ended = 0
  }

  private let traffic = Mutex(Traffic())

  package init() {}

  /// Those that are under way.
  package var count: Int { traffic.withLock { $0.flights.count } }

  /// Threads that wait now.
  package var waiting: Int { traffic.withLock { $0.flights.values.reduce(0) { $0 + $1.waiters } } }

  /// What `lookup` has; else what `make` makes, of which only one at a time is under way for a key. Who waits looks again when it is over,
  /// and does the work himself if nothing is there: after a failure, or where nothing is kept. `pause` sleeps for some milliseconds and
  /// throws to leave off; it is called again and again while waiting, with the news.
  package func run<T, Failure: Error>(
    _ key: Key, lookup: () throws(Failure) -> T?, pause: (Progress?) throws(Failure) -> Void, make: (Flight) throws(Failure) -> T
  ) throws(Failure) -> T {
    while true {
      let ended = traffic.withLock { $0.ended }
      if let found = try lookup() { return found }
      let mine = Flight()
      let flight: Flight? = traffic.withLock { traffic in
        if let flight = traffic.flights[key] {
          flight.wait(1)
          return flight
        }
        // One that ended since the look may have left it.
        guard traffic.ended == ended else { return nil }
        traffic.flights[key] = mine
        return mine
      }
      guard let flight else { continue }
      if flight === mine {
        defer {
          traffic.withLock {
            $0.flights[key] = nil
            $0.ended += 1
          }
          mine.end()
        }
        return try make(mine)
      }
      defer { flight.wait(-1) }
      while true {
        let (progress, isOver) = flight.view
        if isOver { break }
        try pause(progress)
      }
    }
  }
}
