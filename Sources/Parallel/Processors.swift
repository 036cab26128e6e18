import Foundation

extension ThreadPool {
  /// Processors that this process may use; at least 1. Takes account of its affinity and of a container's limit on processor time.
  public static let availableProcessors: Int = {
    let processors = max(1, ProcessInfo.processInfo.activeProcessorCount)
    return min(processors, processorLimit() ?? processors)
  }()

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
