import CIntrinsics
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What the threads of a pool share. Kept apart from the pool so that the pool's last owner can tear it down while the threads still
/// hold this.
final class ThreadTeam: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private let spins: Bool

  // The loop. Written while `isOpen` is false and nobody is active, read by those who joined and then saw that it is true.
  private var body: ((Int, Int) -> Void)?
  private var count = 0
  private var inRuns = false

  private let runs: IndexRuns
  private let next = Atomic<Int>(0)
  private let isOpen = Atomic<Bool>(false)
  /// Workers between joining a loop and leaving it. A worker joins first and looks at `isOpen` second, so a caller that has closed the
  /// loop and then sees zero here knows that nobody will touch `body` again.
  private let active = Atomic<Int>(0)
  private let generation = Atomic<Int>(0)
  private let sleepers = Atomic<Int>(0)
  private let isStopping = Atomic<Bool>(false)

  init(workers: Int, spins: Bool) {
    self.spins = spins
    runs = IndexRuns(workers: workers)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(condition)
    mutex.deallocate()
    condition.deallocate()
  }

  /// Runs a loop as worker 0, with whichever threads are there in time. One at a time. Indices are handed out in order, or in runs.
  func run(_ count: Int, inRuns: Bool, _ body: @escaping (Int, Int) -> Void) {
    self.body = body
    self.count = count
    self.inRuns = inRuns && count <= IndexRuns.limit
    if self.inRuns { runs.fill(count) } else { next.store(0, ordering: .relaxed) }
    isOpen.store(true, ordering: .sequentiallyConsistent)
    generation.add(1, ordering: .sequentiallyConsistent)
    wake(count - 1)
    work(as: 0)
    // An exchange, not a store: emulated ARM (qemu on x86) lets a later load overtake even a sequentially consistent store.
    _ = isOpen.exchange(false, ordering: .sequentiallyConsistent)
    var turns = 0
    while active.load(ordering: .sequentiallyConsistent) > 0 {
      turns += 1
      if spins && turns < 2000 { cpu_pause() } else { sched_yield() }
    }
    self.body = nil
  }

  /// Never inlined: the closure must be let go of before the worker leaves the loop.
  @inline(never)
  private func work(as worker: Int) {
    guard let body else { return }
    if inRuns {
      while let index = runs.take(worker) { body(index, worker) }
      return
    }
    while true {
      let index = next.add(1, ordering: .relaxed).oldValue
      if index >= count { return }
      body(index, worker)
    }
  }

  /// False where the system gives no more threads.
  func start(worker: Int) -> Bool {
    detachThread { LoopFrame.enter(self, worker: worker) { self.serve(worker: worker) } }
  }

  func stop() {
    isStopping.store(true, ordering: .sequentiallyConsistent)
    pthread_mutex_lock(mutex)
    pthread_cond_broadcast(condition)
    pthread_mutex_unlock(mutex)
  }

  /// Wakes as many sleeping threads as there is work for.
  private func wake(_ wanted: Int) {
    let sleeping = sleepers.load(ordering: .sequentiallyConsistent)
    if sleeping == 0 { return }
    pthread_mutex_lock(mutex)
    if wanted >= sleeping {
      pthread_cond_broadcast(condition)
    } else {
      for _ in 0..<wanted { pthread_cond_signal(condition) }
    }
    pthread_mutex_unlock(mutex)
  }

  private func serve(worker: Int) {
    var seen = 0
    while true {
      wait(beyond: seen)
      if isStopping.load(ordering: .relaxed) { return }
      seen = generation.load(ordering: .sequentiallyConsistent)
      active.add(1, ordering: .sequentiallyConsistent)
      if isOpen.load(ordering: .sequentiallyConsistent) { work(as: worker) }
      active.subtract(1, ordering: .sequentiallyConsistent)
    }
  }

  /// Until a loop younger than `seen` has begun: some microseconds of spinning, then sleep.
  private func wait(beyond seen: Int) {
    if spins {
      let start = monotonicNanoseconds()
      repeat {
        for _ in 0..<32 {
          if generation.load(ordering: .acquiring) != seen || isStopping.load(ordering: .relaxed) { return }
          cpu_pause()
        }
      } while monotonicNanoseconds() - start < 30_000
    }
    pthread_mutex_lock(mutex)
    // Counted before the last look at the generation: a loop that begins after that look sees a sleeper, and wakes it.
    sleepers.add(1, ordering: .sequentiallyConsistent)
    while generation.load(ordering: .sequentiallyConsistent) == seen && !isStopping.load(ordering: .sequentiallyConsistent) {
      pthread_cond_wait(condition, mutex)
    }
    sleepers.subtract(1, ordering: .sequentiallyConsistent)
    pthread_mutex_unlock(mutex)
  }
}

private func monotonicNanoseconds() -> Int {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return time.tv_sec * 1_000_000_000 + time.tv_nsec
}
