import Synchronization

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
