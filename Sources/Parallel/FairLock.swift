#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A lock that those who wait for it get in the order in which they came. For turns of a millisecond and more.
package final class FairLock: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  // Under the mutex: the number that the next one to come gets, and the number whose turn it is.
  private var next = 0
  private var current = 0

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

  /// Runs `body` when it is the caller's turn. Not to be called inside of itself.
  package func withLock<T, Failure: Error>(_ body: () throws(Failure) -> T) throws(Failure) -> T {
    pthread_mutex_lock(mutex)
    waitForTurn()
    pthread_mutex_unlock(mutex)
    defer {
      pthread_mutex_lock(mutex)
      endTurn()
      pthread_mutex_unlock(mutex)
    }
    return try body()
  }

  /// Inside `withLock`: lets all that wait go first. Costs next to nothing where nobody does.
  package func yield() {
    pthread_mutex_lock(mutex)
    if next - current > 1 {
      endTurn()
      waitForTurn()
    }
    pthread_mutex_unlock(mutex)
  }

  /// Threads that wait now.
  package var waiting: Int {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return max(0, next - current - 1)
  }

  private func waitForTurn() {
    let number = next
    next += 1
    while current != number { pthread_cond_wait(condition, mutex) }
  }

  private func endTurn() {
    current += 1
    if next > current { pthread_cond_broadcast(condition) }
  }
}
