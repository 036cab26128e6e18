import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Work that several threads bring and one of them does for all: whoever comes first works in rounds, each for all that have come, until
/// its own item is done; then one of those that wait goes on.
package final class Gathering<Item: AnyObject>: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  // Under the mutex.
  private var waiting: [Item] = []
  private var isLed = false

  package init() {
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(condition)
    mutex.deallocate()
    condition.deallocate()
  }

  /// Returns when `item` is done. `round` is called for one thread at a time: it asks its argument for the items that wait (at most so
  /// many, those first that wait for longest, as long as the closure takes them; the first is always taken), works on them, and returns
  /// those that are done.
  package func take(
    _ item: Item, _ round: (_ waiting: (_ most: Int, _ fits: (Item) -> Bool) -> [Item]) -> [Item]
  ) {
    pthread_mutex_lock(mutex)
    waiting.append(item)
    while isWaiting(item) {
      if isLed {
        pthread_cond_wait(condition, mutex)
        continue
      }
      isLed = true
      while isWaiting(item) {
        pthread_mutex_unlock(mutex)
        let done = round(next)
        pthread_mutex_lock(mutex)
        waiting.removeAll { other in done.contains { $0 === other } }
        if !done.isEmpty { pthread_cond_broadcast(condition) }
      }
      isLed = false
      pthread_cond_broadcast(condition)
    }
    pthread_mutex_unlock(mutex)
  }

  /// Items that are not done.
  package var count: Int {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return waiting.count
  }

  private func isWaiting(_ item: Item) -> Bool { waiting.contains { $0 === item } }

  private func next(_ most: Int, _ fits: (Item) -> Bool) -> [Item] {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
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
