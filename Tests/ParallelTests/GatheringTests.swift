import Foundation
import Parallel
import Synchronization
import Testing

@Suite struct GatheringTests {
  private final class Item: Sendable {
    let name: Int
    let rounds: Int
    let done = Mutex(0)

    init(_ name: Int, rounds: Int = 1) { (self.name, self.rounds) = (name, rounds) }

    /// True when it was the last round.
    func work() -> Bool {
      done.withLock {
        $0 += 1
        return $0 == rounds
      }
    }
  }

  /// What comes while a round is under way goes into the next one, all together; each item has its rounds, however they overlap.
  @Test func roundsAreShared() {
    let gathering = Gathering<Item>()
    let rounds = Mutex<[[Int]]>([])
    let all = DispatchGroup()
    for name in 0...5 {
      all.enter()
      Thread {
        gathering.take(Item(name, rounds: max(name, 1))) { waiting in
          // The first round waits for all to come.
          while rounds.withLock({ $0.isEmpty }), gathering.count < 6 { usleep(200) }
          let items = waiting(64) { _ in true }
          rounds.withLock { $0.append(items.map(\.name).sorted()) }
          return items.filter { $0.work() }
        }
        all.leave()
      }.start()
    }
    all.wait()
    let found = rounds.withLock { $0 }
    #expect(found == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5], [3, 4, 5], [4, 5], [5]])
  }

  /// Items that do not fit wait; none waits for ever.
  @Test func whatDoesNotFitComesLater() {
    let gathering = Gathering<Item>()
    let sizes = Mutex<[Int]>([])
    let all = DispatchGroup()
    for name in 0..<12 {
      all.enter()
      Thread {
        gathering.take(Item(name, rounds: 2)) { waiting in
          usleep(500)
          var sum = 0
          let items = waiting(4) {
            sum += $0.name
            return sum <= 12
          }
          sizes.withLock { $0.append(items.count) }
          #expect(items.count == 1 || items.reduce(0) { $0 + $1.name } <= 12)
          return items.filter { $0.work() }
        }
        all.leave()
      }.start()
    }
    all.wait()
    let found = sizes.withLock { $0 }
    #expect(found.reduce(0, +) == 24 && found.allSatisfy { (1...4).contains($0) })
  }
}
