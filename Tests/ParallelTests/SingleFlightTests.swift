import Foundation
import Parallel
import Synchronization
import Testing

@Suite struct SingleFlightTests {
  private struct Stop: Error, Equatable {}

  private func nothing() throws(Stop) -> Int? { nil }
  private func rest(_: Int?) throws(Stop) { usleep(500) }

  /// All that come while one works wait for it, see its progress, and get what it made.
  @Test func oneWorksForAll() {
    let flights = SingleFlight<String, Int>()
    let kept = Mutex<Int?>(nil)
    let made = Mutex(0)
    let seen = Mutex<Set<Int>>([])
    let results = Mutex<[Int]>([])
    let all = DispatchGroup()
    for _ in 0..<6 {
      all.enter()
      Thread {
        let value = flights.run(
          "a", lookup: { kept.withLock { $0 } },
          pause: { progress in
            if let progress { seen.withLock { _ = $0.insert(progress) } }
            usleep(500)
          },
          make: { flight in
            made.withLock { $0 += 1 }
            while !flight.isAwaited { usleep(200) }
            flight.report(3)
            while seen.withLock({ !$0.contains(3) }) { usleep(200) }
            kept.withLock { $0 = 7 }
            return 7
          })
        results.withLock { $0.append(value) }
        all.leave()
      }.start()
    }
    all.wait()
    #expect(results.withLock { $0 } == Array(repeating: 7, count: 6) && made.withLock { $0 } == 1)
  }

  /// What another made between a look and the start of the work is found; nobody looks twice for nothing.
  @Test func madeBetweenLooks() {
    let flights = SingleFlight<Int, Int>()
    var kept: Int?
    var looks = 0
    let found = flights.run(
      1,
      lookup: {
        looks += 1
        defer { if looks == 1 { kept = flights.run(1, lookup: { nil }, pause: { _ in }, make: { _ in 7 }) } }
        return kept
      }, pause: { _ in }, make: { _ in 8 })
    #expect(found == 7 && looks == 2)
    looks = 0
    let made = flights.run(
      1,
      lookup: {
        looks += 1
        return nil
      }, pause: { _ in }, make: { _ in 8 })
    #expect(made == 8 && looks == 1)
  }

  /// After a failure one of those that waited does the work; who leaves off waits no longer; other keys are not in the way.
  @Test func failures() {
    let flights = SingleFlight<Int, Int>()
    let order = Mutex<[String]>([])
    let all = DispatchGroup()
    let isLeft = Mutex(false)
    let tries = Mutex(0)
    for _ in 0..<2 {
      all.enter()
      Thread {
        do {
          let value = try flights.run(1, lookup: nothing, pause: rest) { (flight) throws(Stop) -> Int in
            let count = tries.withLock {
              $0 += 1
              return $0
            }
            if count == 1 {
              while !flight.isAwaited { usleep(200) }
              throw Stop()
            }
            return 5
          }
          order.withLock { $0.append("made \(value)") }
        } catch { order.withLock { $0.append("failed") } }
        all.leave()
      }.start()
    }
    all.wait()
    #expect(order.withLock { $0.sorted() } == ["failed", "made 5"])

    let isWorking = Mutex(false)
    all.enter()
    Thread {
      let value: Int = flights.run(2, lookup: { nil }, pause: { _ in }) { flight in
        isWorking.withLock { $0 = true }
        while !isLeft.withLock({ $0 }) || flight.isAwaited { usleep(200) }
        return 1
      }
      order.withLock { $0 = ["\(value)"] }
      all.leave()
    }.start()
    while !isWorking.withLock({ $0 }) { usleep(200) }
    #expect(flights.run(3, lookup: { nil }, pause: { _ in }, make: { _ in 9 }) == 9)
    var pauses = 0
    #expect(throws: Stop.self) {
      func leave(_: Int?) throws(Stop) {
        pauses += 1
        if pauses == 3 { throw Stop() }
      }
      _ = try flights.run(2, lookup: nothing, pause: leave, make: { (_) throws(Stop) -> Int in 8 })
    }
    isLeft.withLock { $0 = true }
    all.wait()
    #expect(order.withLock { $0 } == ["1"])
  }
}
