import Foundation

/// Seconds on a clock that only goes forward.
public func monotonicSeconds() -> Double { Double(DispatchTime.now().uptimeNanoseconds) * 1e-9 }

/// Seconds that all threads of this process have been on a processor.
public func processorSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// Seconds of processor time per thread, of the fastest of the runs that fit into `budget` seconds, three at least: what others do on the
/// machine at the same time hardly shows.
public func fastest(_ threads: Int, budget: Double = 0.6, _ body: () -> Void) -> Double {
  var least = Double.infinity
  var total = 0.0
  var runs = 0
  while total < budget || runs < 3 {
    let start = processorSeconds()
    body()
    let seconds = (processorSeconds() - start) / Double(threads)
    least = min(least, seconds)
    total += seconds
    runs += 1
  }
  return least
}
