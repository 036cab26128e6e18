import Support
import Synchronization

/// A fixed set of threads that share the indices of one loop at a time.
///
/// Indices are handed out one by one, so a thread that the system takes away for a while costs its own index and no more: no static
/// split, no barrier that all must reach. Threads spin for some microseconds after a loop, because the next one usually follows at
/// once, and sleep after that. The calling thread works too, so a pool of one starts no thread at all.
///
/// A loop of one pool may run inside a loop of another; but two pools whose loops start loops of each other may wait for each other for
/// ever.
package final class ThreadPool: Sendable {
  /// Threads that work on a loop, the caller's included. At least 1.
  package let threadCount: Int

  private let team: ThreadTeam
  /// Held while a loop runs: a second thread's loop waits for it.
  private let turn = Mutex<Void>(())

  /// Starts `threadCount − 1` threads, or as many of them as the system gives; nil takes the number of processors that this process may
  /// use.
  package init(threadCount: Int? = nil) {
    let wanted = max(1, threadCount ?? Resources.processors)
    // Threads that outnumber the processors would spin in each other's way.
    team = ThreadTeam(workers: wanted, spins: wanted <= Resources.processors)
    var count = 1
    while count < wanted, team.start(worker: count) { count += 1 }
    self.threadCount = count
  }

  deinit { team.stop() }

  /// Calls `body(index, worker)` once for each index in `0 ..< count`, in no particular order and at the same time from several
  /// threads; `worker` is in `0 ..< threadCount` and no two calls under way share it, so it may select scratch memory.
  /// Returns when all calls have. A loop started from inside `body` runs on its caller's thread alone, as the same worker.
  package func forEach(_ count: Int, _ body: (_ index: Int, _ worker: Int) -> Void) { forEach(count, inRuns: false, body) }

  /// The same, but each thread begins with a run of neighbouring indices and takes half of what another has left when it is done: for
  /// loops whose neighbours read neighbouring memory. Where two threads take turns at pieces of 32 KiB instead, both read memory at
  /// half the speed, for each asks ahead for what the other will read.
  package func forEachInRuns(_ count: Int, _ body: (_ index: Int, _ worker: Int) -> Void) { forEach(count, inRuns: true, body) }

  private func forEach(_ count: Int, inRuns: Bool, _ body: (_ index: Int, _ worker: Int) -> Void) {
    if count <= 0 { return }
    if let worker = LoopFrame.worker(of: team) {
      for index in 0..<count { body(index, worker) }
      return
    }
    turn.withLock { _ in
      LoopFrame.enter(team, worker: 0) {
        if threadCount == 1 || count == 1 {
          for index in 0..<count { body(index, 0) }
        } else {
          withoutActuallyEscaping(body) { team.run(count, inRuns: inRuns, $0) }
        }
      }
    }
  }

  /// The same for a body that may fail. After a failure no further index is begun; of several failures the one with the lowest index is
  /// thrown, whatever the number of threads.
  package func forEach<Failure: Error>(
    _ count: Int, _ body: (_ index: Int, _ worker: Int) throws(Failure) -> Void
  ) throws(Failure) {
    let lowest = Atomic<Int>(.max)
    let failure = Mutex<Failure?>(nil)
    forEach(count) { index, worker in
      // Indices are handed out in order: those below a failure have all begun, and must end.
      if index > lowest.load(ordering: .relaxed) { return }
      do throws(Failure) {
        try body(index, worker)
      } catch {
        failure.withLock {
          if index < lowest.load(ordering: .relaxed) {
            lowest.store(index, ordering: .relaxed)
            $0 = error
          }
        }
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure }
  }
}
