import Foundation

/// Seconds on a clock that only goes forward.
package func monotonicSeconds() -> Double { Double(DispatchTime.now().uptimeNanoseconds) * 1e-9 }

/// Seconds that all threads of this process have been on a processor.
package func processorSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// Seconds of the fastest of the runs of `body` that fit into `budget` seconds, three at least. Wall time: processor time over threads would
/// call a run twice as fast in which one of two threads did all the work. On a busy machine some short runs still have all processors.
package func fastest(budget: Double = 0.6, _ body: () -> Void) -> Double {
  var least = Double.infinity
  var total = 0.0
  var runs = 0
  while total < budget || runs < 3 {
    let start = monotonicSeconds()
    body()
    let seconds = monotonicSeconds() - start
    least = min(least, seconds)
    total += seconds
    runs += 1
  }
  return least
}
