import Foundation
import Parallel
import Synchronization
import Testing

/// Loops whose threads work through runs of neighbours.
@Suite struct IndexRunTests {
  @Test(arguments: 1...8, [0, 1, 2, 7, 1000])
  func callsEachIndexOnce(_ threads: Int, _ count: Int) {
    let calls = (0..<count).map { _ in Counter() }
    ThreadPool(threadCount: threads).forEachInRuns(count) { index, worker in
      calls[index].add()
      #expect(worker >= 0 && worker < threads)
    }
    #expect(calls.allSatisfy { $0.value == 1 })
  }

  /// Loops of both kinds in turn, of lengths that leave some workers without a run of their own.
  @Test(.timeLimit(.minutes(10)), arguments: [2, 3, 8])
  func manyShortLoops(_ threads: Int) {
    let pool = ThreadPool(threadCount: threads)
    for loop in 0..<20_000 {
      let sum = Atomic<Int>(0)
      let count = 2 + loop % 29
      if loop % 3 == 0 {
        pool.forEach(count) { index, _ in sum.add(index + 1, ordering: .relaxed) }
      } else {
        pool.forEachInRuns(count) { index, _ in sum.add(index + 1, ordering: .relaxed) }
      }
      if sum.load(ordering: .relaxed) != count * (count + 1) / 2 { Issue.record("loop \(loop)") }
    }
  }

  /// One thread alone: from front to back.
  @Test func aThreadKeepsTheOrder() {
    var seen: [Int] = []
    ThreadPool(threadCount: 1).forEachInRuns(50) { index, _ in seen.append(index) }
    #expect(seen == Array(0..<50))
  }

  /// A worker that stays in its first call gets no other: the rest goes to those who have time.
  @Test(.timeLimit(.minutes(10))) func aSlowThreadsRunIsTakenOver() {
    let pool = ThreadPool(threadCount: 2)
    let done = Atomic<Int>(0)
    let slow = Atomic<Int>(-1)
    pool.forEachInRuns(100) { _, worker in
      // Whoever comes first waits for all others to be done.
      if slow.compareExchange(expected: -1, desired: worker, ordering: .acquiringAndReleasing).exchanged {
        while done.load(ordering: .acquiring) < 99 { sched_yield() }
      }
      done.add(1, ordering: .acquiringAndReleasing)
    }
    #expect(done.load(ordering: .relaxed) == 100)
  }

  final class Counter: Sendable {
    private let count = Atomic<Int>(0)
    func add() { count.add(1, ordering: .relaxed) }
    var value: Int { count.load(ordering: .relaxed) }
  }
}
