import Foundation
import Parallel
import Support
import Synchronization
import Testing

@Suite struct ThreadPoolTests {
  /// Numbers that several threads may add to.
  final class Counters: Sendable {
    private let values: Mutex<[Int]>
    init(_ count: Int) { values = Mutex(Array(repeating: 0, count: count)) }
    func add(_ index: Int) { values.withLock { $0[index] += 1 } }
    var all: [Int] { values.withLock { $0 } }
  }

  @Test(arguments: 1...8, [0, 1, 2, 7, 1000])
  func callsEachIndexOnce(_ threads: Int, _ count: Int) {
    let pool = ThreadPool(threadCount: threads)
    let counters = Counters(count)
    pool.forEach(count) { index, worker in
      counters.add(index)
      #expect(worker >= 0 && worker < threads)
    }
    #expect(counters.all.allSatisfy { $0 == 1 })
  }

  @Test func negativeCountIsNone() {
    ThreadPool(threadCount: 2).forEach(-1) { _, _ in Issue.record("called") }
  }

  /// Tens of thousands of loops of a few indices: what a lost wake-up or a thread that stays in a loop too long would hang or break.
  @Test(.timeLimit(.minutes(10)), arguments: [2, 3, 8])
  func manyShortLoops(_ threads: Int) {
    let pool = ThreadPool(threadCount: threads)
    for loop in 0..<20_000 {
      let sum = Atomic<Int>(0)
      let count = 2 + loop % 5
      pool.forEach(count) { index, _ in sum.add(index + 1, ordering: .relaxed) }
      if sum.load(ordering: .relaxed) != count * (count + 1) / 2 { Issue.record("loop \(loop)") }
    }
  }

  /// Pauses between loops, so that threads go to sleep and must be woken.
  @Test(.timeLimit(.minutes(10)), arguments: [2, 5])
  func wakesSleepers(_ threads: Int) {
    let pool = ThreadPool(threadCount: threads)
    for loop in 0..<100 {
      usleep(UInt32(loop % 10) * 50)
      let sum = Atomic<Int>(0)
      pool.forEach(threads) { index, _ in sum.add(index, ordering: .relaxed) }
      #expect(sum.load(ordering: .relaxed) == threads * (threads - 1) / 2)
    }
  }

  /// With work that waits for the others, all workers must take part; each has its own number.
  @Test(.timeLimit(.minutes(10))) func allWorkersTakePart() {
    let threads = 4
    let pool = ThreadPool(threadCount: threads)
    let workers = Counters(threads)
    let arrived = Atomic<Int>(0)
    pool.forEach(threads) { _, worker in
      workers.add(worker)
      arrived.add(1, ordering: .sequentiallyConsistent)
      while arrived.load(ordering: .sequentiallyConsistent) < threads { sched_yield() }
    }
    #expect(workers.all == [1, 1, 1, 1])
  }

  @Test func noTwoCallsShareAWorker() {
    let pool = ThreadPool(threadCount: 4)
    let busy = (0..<4).map { _ in Flag() }
    pool.forEach(2000) { _, worker in
      #expect(busy[worker].raise())
      busy[worker].lower()
    }
  }

  final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    func raise() -> Bool { !value.exchange(true, ordering: .acquiringAndReleasing) }
    func lower() { value.store(false, ordering: .releasing) }
  }

  @Test func nestedLoopsKeepTheirWorker() {
    let pool = ThreadPool(threadCount: 3)
    let sum = Atomic<Int>(0)
    pool.forEach(20) { outer, worker in
      pool.forEach(10) { inner, innerWorker in
        #expect(innerWorker == worker)
        sum.add(outer * 10 + inner, ordering: .relaxed)
      }
    }
    #expect(sum.load(ordering: .relaxed) == 199 * 200 / 2)
  }

  /// A loop of a smaller pool inside a larger one's: its workers are numbered for itself.
  @Test(.timeLimit(.minutes(10))) func poolsMayBeNested() {
    let large = ThreadPool(threadCount: 4)
    let small = ThreadPool(threadCount: 2)
    let sum = Atomic<Int>(0)
    large.forEach(50) { _, worker in
      small.forEach(4) { index, innerWorker in
        #expect(innerWorker < 2)
        sum.add(index, ordering: .relaxed)
      }
      large.forEach(1) { _, again in #expect(again == worker) }
    }
    #expect(sum.load(ordering: .relaxed) == 50 * 6)
  }

  @Test(.timeLimit(.minutes(10))) func severalThreadsShareAPool() async {
    let pool = ThreadPool(threadCount: 3)
    let sum = Counters(1)
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          for _ in 0..<500 { pool.forEach(5) { _, _ in sum.add(0) } }
        }
      }
    }
    #expect(sum.all == [4 * 500 * 5])
  }

  @Test func poolsComeAndGo() {
    for loop in 0..<200 {
      let sum = Atomic<Int>(0)
      ThreadPool(threadCount: 1 + loop % 6).forEach(10) { index, _ in sum.add(index, ordering: .relaxed) }
      #expect(sum.load(ordering: .relaxed) == 45)
    }
  }

  @Test func processorsAreCounted() {
    #expect(ThreadPool().threadCount == Resources.processors)
    #expect(ThreadPool(threadCount: -3).threadCount == 1)
  }
}
