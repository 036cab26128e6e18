import Foundation
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A fixed set of threads that share the indices of one loop at a time.
///
/// Indices are handed out one by one, so a thread that the system takes away for a while costs its own index and no more: no static
/// split, no barrier that all must reach. Threads spin for some microseconds after a loop, because the next one usually follows at
/// once, and sleep after that. The calling thread works too, so a pool of one starts no thread at all.
public final class ThreadPool: Sendable {
  /// Threads that work on a loop, the caller's included. At least 1.
  public let threadCount: Int

  private let state: State
  /// Held while a loop runs: a second thread's loop waits for it.
  private let turn = Mutex<Void>(())

  /// Starts `threadCount − 1` threads; nil takes the number of processors that this process may run on.
  public init(threadCount: Int? = nil) {
    self.threadCount = max(1, threadCount ?? ThreadPool.availableProcessors)
    state = State()
    for worker in 1..<max(1, self.threadCount) { state.start(worker: worker) }
  }

  deinit { state.stop() }

  /// Processors that this process may run on; at least 1.
  public static var availableProcessors: Int { max(1, ProcessInfo.processInfo.activeProcessorCount) }

  /// Calls `body(index, worker)` once for each index in `0 ..< count`, in no particular order and at the same time from several
  /// threads; `worker` is in `0 ..< threadCount` and no two calls under way share it, so it may select scratch memory.
  /// Returns when all calls have. A loop started from inside `body` runs on its caller's thread alone, as the same worker.
  public func forEach(_ count: Int, _ body: (_ index: Int, _ worker: Int) -> Void) {
    if let worker = currentWorker {
      for index in 0..<count { body(index, worker) }
      return
    }
    turn.withLock { _ in
      currentWorker = 0
      defer { currentWorker = nil }
      if threadCount == 1 || count <= 1 {
        for index in 0..<count { body(index, 0) }
      } else {
        withoutActuallyEscaping(body) { state.run(count, $0) }
      }
    }
  }
}

/// The worker that this thread is inside a loop as. It has no meaning across pools, and no two pools are nested.
private let workerKey: pthread_key_t = {
  var key = pthread_key_t()
  pthread_key_create(&key, nil)
  return key
}()
private var currentWorker: Int? {
  get { pthread_getspecific(workerKey).map { Int(bitPattern: $0) - 1 } }
  set { pthread_setspecific(workerKey, newValue.flatMap { UnsafeRawPointer(bitPattern: $0 + 1) }) }
}

/// What the threads share. Kept apart from the pool so that a pool nobody holds any more can be torn down by its last owner while
/// the threads still hold this.
private final class State: @unchecked Sendable {
  private var mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private var condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  // The loop. Written while `isOpen` is false, read only after it was seen to be true.
  private var body: ((Int, Int) -> Void)?
  private var count = 0

  private let next = Atomic<Int>(0)
  private let isOpen = Atomic<Bool>(false)
  /// Workers between joining a loop and leaving it. A worker joins first and looks at `isOpen` second, so a caller that has closed the
  /// loop and then sees zero here knows that nobody will touch `body` again.
  private let active = Atomic<Int>(0)
  private let generation = Atomic<Int>(0)
  private let sleepers = Atomic<Int>(0)
  private let isStopping = Atomic<Bool>(false)

  init() {
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(condition)
    mutex.deallocate()
    condition.deallocate()
  }

  func run(_ count: Int, _ body: @escaping (Int, Int) -> Void) {
    self.body = body
    self.count = count
    next.store(0, ordering: .relaxed)
    isOpen.store(true, ordering: .sequentiallyConsistent)
    generation.add(1, ordering: .sequentiallyConsistent)
    if sleepers.load(ordering: .sequentiallyConsistent) > 0 { wakeAll() }
    work(as: 0)
    isOpen.store(false, ordering: .sequentiallyConsistent)
    var spins = 0
    while active.load(ordering: .sequentiallyConsistent) > 0 {
      spins += 1
      if spins > 2000 { sched_yield() }
    }
    self.body = nil
  }

  private func work(as worker: Int) {
    guard let body else { return }
    while true {
      let index = next.add(1, ordering: .relaxed).oldValue
      if index >= count { return }
      body(index, worker)
    }
  }

  func start(worker: Int) {
    let start = Unmanaged.passRetained(Start(state: self, worker: worker))
    var thread = pthread_t()
    let failed = pthread_create(&thread, nil, { argument in
      guard let argument else { return nil }
      let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
      currentWorker = start.worker
      start.state.serve(worker: start.worker)
      return nil
    }, start.toOpaque())
    // A system that gives no more threads leaves the loops to those there are.
    if failed != 0 { start.release() } else { pthread_detach(thread) }
  }

  func stop() {
    isStopping.store(true, ordering: .sequentiallyConsistent)
    wakeAll()
  }

  private func wakeAll() {
    pthread_mutex_lock(mutex)
    pthread_cond_broadcast(condition)
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

  /// Until a loop younger than `seen` has begun: about 20 microseconds of spinning, then sleep.
  private func wait(beyond seen: Int) {
    for _ in 0..<4000 {
      if generation.load(ordering: .acquiring) != seen || isStopping.load(ordering: .relaxed) { return }
    }
    pthread_mutex_lock(mutex)
    sleepers.add(1, ordering: .sequentiallyConsistent)
    while generation.load(ordering: .sequentiallyConsistent) == seen && !isStopping.load(ordering: .sequentiallyConsistent) {
      pthread_cond_wait(condition, mutex)
    }
    sleepers.subtract(1, ordering: .sequentiallyConsistent)
    pthread_mutex_unlock(mutex)
  }

  private final class Start {
    let state: State
    let worker: Int
    init(state: State, worker: Int) {
      self.state = state
      self.worker = worker
    }
  }
}
