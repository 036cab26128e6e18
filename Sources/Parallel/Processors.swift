import CIntrinsics
import Foundation

extension ThreadPool {
  /// Processors that this process may use; at least 1. Takes account of its affinity, which a container's cpuset is part of, and of a container's
  /// limit on processor time.
  package static let availableProcessors: Int = {
    let processors = affinity() ?? max(1, ProcessInfo.processInfo.activeProcessorCount)
    return min(processors, processorLimit() ?? processors)
  }()

  /// Processors that the system schedules this process on; nil where it does not say.
  private static func affinity() -> Int? {
    // Room for 16,384 processors: a set that is too short for the machine is refused.
    var set = [UInt8](repeating: 0, count: 2048)
    guard set.withUnsafeMutableBytes({ sf_sched_getaffinity(0, UInt($0.count), $0.baseAddress) }) == 0 else { return nil }
    let count = set.reduce(0) { $0 + $1.nonzeroBitCount }
    return count > 0 ? count : nil
  }

  /// The control group's limit, rounded up; nil where there is none.
  private static func processorLimit() -> Int? {
    func numbers(_ path: String) -> [Int] {
      guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return [] }
      return text.split(whereSeparator: \.isWhitespace).map { Int($0) ?? -1 }
    }
    // Version 2 has both numbers in one file ("max" where there is no limit), version 1 has a file for each.
    var limit = numbers("/sys/fs/cgroup/cpu.max")
    if limit.isEmpty { limit = numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") + numbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us") }
    guard limit.count == 2, limit[0] > 0, limit[1] > 0 else { return nil }
    return max(1, limit[0] / limit[1] + (limit[0] % limit[1] == 0 ? 0 : 1))
  }
}
