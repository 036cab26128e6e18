import Parallel
import Synchronization
import Testing

@Suite struct FailingLoopTests {
  struct Failure: Error, Equatable {
    let index: Int
  }

  /// The failure with the lowest index, whoever comes first.
  @Test(arguments: [1, 2, 4]) func throwsTheFirstFailure(_ threads: Int) {
    let pool = ThreadPool(threadCount: threads)
    for _ in 0..<200 {
      let begun = Atomic<Int>(0)
      #expect(throws: Failure(index: 7)) {
        try pool.forEach(10_000) { (index: Int, _: Int) throws(Failure) in
          begun.add(1, ordering: .relaxed)
          if index >= 7 { throw Failure(index: index) }
        }
      }
      // 0 ... 7 and what other threads had begun by then.
      #expect(begun.load(ordering: .relaxed) >= 8)
      #expect(begun.load(ordering: .relaxed) < 10_000)
    }
  }

  @Test func nestedFailuresComeOut() {
    let pool = ThreadPool(threadCount: 2)
    #expect(throws: Failure(index: 35)) {
      try pool.forEach(10) { (outer: Int, _: Int) throws(Failure) in
        try pool.forEach(10) { (inner: Int, _: Int) throws(Failure) in
          if outer * 10 + inner >= 35 { throw Failure(index: outer * 10 + inner) }
        }
      }
    }
    // The pool is as good as before.
    let sum = Atomic<Int>(0)
    pool.forEach(10) { index, _ in sum.add(index, ordering: .relaxed) }
    #expect(sum.load(ordering: .relaxed) == 45)
  }

  @Test func noFailureNoThrow() throws {
    let sum = Atomic<Int>(0)
    try ThreadPool(threadCount: 2).forEach(100) { (index: Int, _: Int) throws(Failure) in sum.add(index, ordering: .relaxed) }
    #expect(sum.load(ordering: .relaxed) == 4950)
  }
}
