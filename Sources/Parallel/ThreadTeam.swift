import CIntrinsics
import Support
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What the threads of a pool share. Kept apart from the pool so that the pool's last owner can tear it down while the threads still
/// hold this.
final class ThreadTeam: @unchecked Sendable {
  /// Of those that sleep.
  private let monitor = Monitor()
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
    monitor.withLock { monitor.wakeAll() }
  }

  /// Wakes as many sleeping threads as there is work for.
  private func wake(_ wanted: Int) {
    let sleeping = sleepers.load(ordering: .sequentiallyConsistent)
    if sleeping == 0 { return }
    monitor.withLock {
      if wanted >= sleeping {
        monitor.wakeAll()
      } else {
        for _ in 0..<wanted { monitor.wakeOne() }
      }
    }
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
    monitor.withLock {
      // Counted before the last look at the generation: a loop that begins after that look sees a sleeper, and wakes it.
      sleepers.add(1, ordering: .sequentiallyConsistent)
      while generation.load(ordering: .sequentiallyConsistent) == seen && !isStopping.load(ordering: .sequentiallyConsistent) {
        monitor.wait()
      }
      sleepers.subtract(1, ordering: .sequentiallyConsistent)
    }
  }
}

/// The loops that this thread is inside of: which team's, and as which worker. A list on the thread's stack, the innermost first.
struct LoopFrame {
  private let team: ObjectIdentifier
  private let worker: Int
  private let outer: UnsafeMutableRawPointer?

  /// Calls `body` inside a loop of `team`.
  static func enter(_ team: ThreadTeam, worker: Int, _ body: () -> Void) {
    let outer = pthread_getspecific(key)
    var frame = LoopFrame(team: ObjectIdentifier(team), worker: worker, outer: outer)
    withUnsafeMutablePointer(to: &frame) { pointer in
      pthread_setspecific(key, pointer)
      body()
      pthread_setspecific(key, outer)
    }
  }

  /// The worker that this thread is in a loop of `team`; nil outside of one.
  static func worker(of team: ThreadTeam) -> Int? {
    var frame = pthread_getspecific(key)
    while let pointer = frame {
      let current = pointer.load(as: LoopFrame.self)
      if current.team == ObjectIdentifier(team) { return current.worker }
      frame = current.outer
    }
    return nil
  }
}

private let key: pthread_key_t = {
  var key = pthread_key_t()
  pthread_key_create(&key, nil)
  return key
}()

/// The indices of a loop that nobody has begun, as one run of neighbours for each worker.
///
/// A worker takes the first index of its own run; one whose run is empty takes the last half of another's. So each works through
/// neighbours for as long as possible, and all end at about the same time, however unequal the threads are.
final class IndexRuns: Sendable {
  /// Runs that an index fits.
  static let limit = Int(UInt32.max)

  private let workers: Int
  /// The first index in the low half, the end in the high half; a cache line for each worker.
  private nonisolated(unsafe) let runs: UnsafeMutablePointer<Atomic<UInt64>>
  private static let stride = 8

  init(workers: Int) {
    self.workers = workers
    runs = .allocate(capacity: workers * Self.stride)
    for place in 0..<workers * Self.stride { (runs + place).initialize(to: Atomic(0)) }
  }

  deinit {
    runs.deinitialize(count: workers * Self.stride)
    runs.deallocate()
  }

  /// `0 ..< count`, in equal parts. While nobody takes any.
  func fill(_ count: Int) {
    for worker in 0..<workers { store(worker, count * worker / workers..<count * (worker + 1) / workers) }
  }

  /// An index for `worker` that nobody else gets; nil where there is none left to take.
  func take(_ worker: Int) -> Int? {
    while true {
      if let range = take(from: worker, { $0.lowerBound..<$0.lowerBound + 1 }) { return range.lowerBound }
      var taken: Range<Int>?
      for step in 1..<workers where taken == nil {
        taken = take(from: (worker + step) % workers) { $0.upperBound - ($0.count + 1) / 2..<$0.upperBound }
      }
      guard let taken else { return nil }
      // Empty until now: nobody else writes here.
      store(worker, taken.dropFirst())
      return taken.lowerBound
    }
  }

  /// Takes what `part` says, one end of a run that is not empty; nil where it is empty.
  private func take(from worker: Int, _ part: (Range<Int>) -> Range<Int>) -> Range<Int>? {
    let run = runs + worker * Self.stride
    var before = run.pointee.load(ordering: .relaxed)
    while true {
      let range = Self.range(before)
      if range.isEmpty { return nil }
      let taken = part(range)
      let rest = taken.lowerBound == range.lowerBound ? taken.upperBound..<range.upperBound : range.lowerBound..<taken.lowerBound
      let (done, found) = run.pointee.weakCompareExchange(expected: before, desired: Self.word(rest), ordering: .relaxed)
      if done { return taken }
      before = found
    }
  }

  private func store(_ worker: Int, _ range: Range<Int>) {
    (runs + worker * Self.stride).pointee.store(Self.word(range), ordering: .relaxed)
  }

  private static func word(_ range: Range<Int>) -> UInt64 { UInt64(range.upperBound) << 32 | UInt64(range.lowerBound) }
  private static func range(_ word: UInt64) -> Range<Int> { Int(word & 0xffff_ffff)..<Int(word >> 32) }
}

/// Runs `body` on a thread of its own. False, and nothing is run, where the system gives none: limits on processes and memory.
package func detachThread(_ body: @escaping @Sendable () -> Void) -> Bool {
  let start = Unmanaged.passRetained(Start(body))
  var thread = pthread_t()
  let failure = pthread_create(
    &thread, nil,
    { argument in
      guard let argument else { return nil }
      Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
      return nil
    }, start.toOpaque())
  guard failure == 0 else {
    start.release()
    return false
  }
  pthread_detach(thread)
  return true
}

private final class Start: Sendable {
  let body: @Sendable () -> Void
  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
