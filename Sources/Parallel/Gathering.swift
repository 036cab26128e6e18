/// Work that several threads bring and one of them does for all: whoever comes first works in rounds, each for all that have come, until
/// its own item is done; then one of those that wait goes on.
package final class Gathering<Item: AnyObject>: @unchecked Sendable {
  private let monitor = Monitor()
  // Under the monitor.
  private var waiting: [Item] = []
  private var isLed = false

  package init() {}

  /// Returns when `item` is done. `round` is called for one thread at a time: it asks its argument for the items that wait (at most so
  /// many, those first that wait for longest, as long as the closure takes them; the first is always taken), works on them, and returns
  /// those that are done.
  package func take(
    _ item: Item, _ round: (_ waiting: (_ most: Int, _ fits: (Item) -> Bool) -> [Item]) -> [Item]
  ) {
    let leads = monitor.withLock {
      waiting.append(item)
      while isLed, isWaiting(item) { monitor.wait() }
      guard isWaiting(item) else { return false }
      isLed = true
      return true
    }
    guard leads else { return }
    var isDone = false
    while !isDone {
      var done = round(next)
      isDone = monitor.withLock {
        waiting.removeAll { other in done.contains { $0 === other } }
        isLed = isWaiting(item)
        if !done.isEmpty || !isLed { monitor.wakeAll() }
        // Let go before its owner can go on: what an item does may end with its owner's call.
        done = []
        return !isLed
      }
    }
  }

  /// Items that are not done.
  package var count: Int { monitor.withLock { waiting.count } }

  private func isWaiting(_ item: Item) -> Bool { waiting.contains { $0 === item } }

  private func next(_ most: Int, _ fits: (Item) -> Bool) -> [Item] {
    monitor.withLock {
      var items: [Item] = []
      for item in waiting {
        let fits = fits(item)
        guard items.isEmpty || fits, items.count < most else { break }
        items.append(item)
      }
      // Those that are left out are the first of the next round.
      if items.count < waiting.count { waiting = Array(waiting.dropFirst(items.count)) + items }
      return items
    }
  }
}
