import Foundation
import Parallel
import Synchronization
import Testing

@Suite struct FairLockTests {
  /// Returns when so many wait.
  private func wait(for count: Int, at lock: FairLock) { while lock.waiting < count { usleep(200) } }

  @Test func inTheOrderOfComing() {
    let lock = FairLock()
    let order = Mutex<[Int]>([])
    let group = DispatchGroup()
    lock.withLock {
      for number in 0..<8 {
        DispatchQueue.global().async(group: group) { lock.withLock { order.withLock { $0.append(number) } } }
        wait(for: number + 1, at: lock)
      }
    }
    group.wait()
    #expect(order.withLock { $0 } == Array(0..<8))
  }

  /// Who yields goes on after those that waited, and before those that came later.
  @Test func yielding() {
    let lock = FairLock()
    let order = Mutex<[String]>([])
    let group = DispatchGroup()
    lock.withLock {
      lock.yield()
      order.withLock { $0.append("first") }
      for name in ["second", "third"] {
        DispatchQueue.global().async(group: group) {
          lock.withLock {
            order.withLock { $0.append(name) }
            if name == "second" {
              DispatchQueue.global().async(group: group) { lock.withLock { order.withLock { $0.append("last") } } }
              // Third, first and last wait.
              wait(for: 3, at: lock)
            }
          }
        }
        wait(for: name == "second" ? 1 : 2, at: lock)
      }
      lock.yield()
      order.withLock { $0.append("first again") }
    }
    group.wait()
    #expect(order.withLock { $0 } == ["first", "second", "third", "first again", "last"])
  }

  @Test func oneAtATime() {
    final class Count: @unchecked Sendable { var value = 0 }
    let lock = FairLock()
    let count = Count()
    DispatchQueue.concurrentPerform(iterations: 8) { _ in
      for _ in 0..<100 {
        lock.withLock {
          let before = count.value
          sched_yield()
          count.value = before + 1
          lock.yield()
        }
      }
    }
    #expect(count.value == 800)
  }

  @Test func aFailurePassesTheLockOn() {
    struct Failure: Error {}
    let lock = FairLock()
    #expect(throws: Failure.self) { try lock.withLock { throw Failure() } }
    #expect(lock.withLock { 1 } == 1 && lock.waiting == 0)
  }
}
