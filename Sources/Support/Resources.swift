import CIntrinsics
import Foundation

/// What the system lets this process have.
package enum Resources {
  /// Processors; at least 1. Takes account of the affinity, which a container's cpuset is part of, and of a container's limit on processor
  /// time.
  package static let processors: Int = {
    let processors = affinity() ?? max(1, ProcessInfo.processInfo.activeProcessorCount)
    return min(processors, ControlGroups().processorLimit() ?? processors)
  }()

  /// Processors that the system schedules this process on; nil where it does not say.
  private static func affinity() -> Int? {
    // Room for 16,384 processors: a set that is too short for the machine is refused.
    var set = [UInt8](repeating: 0, count: 2048)
    guard set.withUnsafeMutableBytes({ sf_sched_getaffinity(0, UInt($0.count), $0.baseAddress) }) == 0 else { return nil }
    let count = set.reduce(0) { $0 + $1.nonzeroBitCount }
    return count > 0 ? count : nil
  }

  /// Bytes that this process could still take without swapping: the system's, or its control group's if that is less.
  /// nil where the system does not say.
  package static func availableMemory() -> Int? {
    var result: Int?
    if let meminfo = try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8),
      let line = meminfo.split(separator: "\n").first(where: { $0.hasPrefix("MemAvailable:") }),
      let kibibytes = line.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
    {
      result = kibibytes * 1024
    }
    if let group = ControlGroups().memoryHeadroom() { result = min(result ?? group, group) }
    return result
  }
}

// MARK: Time

/// Nanoseconds on a clock that only goes forward.
package func monotonicNanoseconds() -> Int { nanoseconds(CLOCK_MONOTONIC) }

/// Seconds on a clock that only goes forward.
package func monotonicSeconds() -> Double { Double(monotonicNanoseconds()) * 1e-9 }

/// Seconds that all threads of this process have been on a processor.
package func processorSeconds() -> Double { Double(nanoseconds(CLOCK_PROCESS_CPUTIME_ID)) * 1e-9 }

private func nanoseconds(_ clock: clockid_t) -> Int {
  var time = timespec()
  clock_gettime(clock, &time)
  return time.tv_sec * 1_000_000_000 + time.tv_nsec
}

// MARK: Control groups

/// What control groups, of version 1 and 2, let this process have.
package struct ControlGroups {
  private let mount: String
  private let membership: String

  /// `root` stands before the system's paths.
  package init(root: String = "") {
    mount = root + "/sys/fs/cgroup"
    membership = root + "/proc/self/cgroup"
  }

  /// Bytes that the process may still take, by its own group's limit and all its ancestors'; nil where no group limits them.
  package func memoryHeadroom() -> Int? {
    groups(of: "memory").compactMap { group, version in
      let names = version == 2 ? Names.version2 : .version1
      // "max", or a number beyond any memory, is no limit.
      guard let limit = number(group + "/" + names.limit), limit < 1 << 60, let used = number(group + "/" + names.used) else { return nil }
      // File pages that the kernel can drop count as used there, but are free to take.
      return max(0, limit - used + statistic(names.reclaimable, of: group))
    }.min()
  }

  /// Processors whose whole time the process may take, rounded up, by its own group's limit and all its ancestors'; nil where no group
  /// limits it.
  package func processorLimit() -> Int? {
    groups(of: "cpu").compactMap { group, version in
      // Version 2 has both numbers in one file ("max" where there is no limit), version 1 has a file for each.
      let files = version == 2 ? ["cpu.max"] : ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
      let limit = files.flatMap { numbers(group + "/" + $0) }
      guard limit.count == 2, limit[0] > 0, limit[1] > 0 else { return nil }
      return max(1, limit[0] / limit[1] + (limit[0] % limit[1] == 0 ? 0 : 1))
    }.min()
  }

  /// Directories of the groups, the process's own and their ancestors, that a controller may limit, each with its hierarchy's version; a
  /// machine may have both. In a container the path may be that of the machine outside: groups that are not there count for nothing, and
  /// the mount's root is the container's own group.
  private func groups(of controller: Substring) -> [(directory: String, version: Int)] {
    let lines = (try? String(contentsOfFile: membership, encoding: .utf8)) ?? ""
    // `0::/path` in version 2, `7:cpu,cpuacct:/path` in version 1.
    return lines.split(separator: "\n").flatMap { line -> [(String, Int)] in
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { return [] }
      let isVersion2 = fields[0] == "0" && fields[1].isEmpty
      guard isVersion2 || fields[1].split(separator: ",").contains(controller) else { return [] }
      let root = Substring(isVersion2 ? mount : mount + "/" + controller)
      let components = fields[2].split(separator: "/")
      return (0...components.count).map { (([root] + components.prefix($0)).joined(separator: "/"), isVersion2 ? 2 : 1) }
    }
  }

  private struct Names {
    var limit: String
    var used: String
    var reclaimable: String

    static let version2 = Names(limit: "memory.max", used: "memory.current", reclaimable: "inactive_file")
    static let version1 = Names(limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes", reclaimable: "total_inactive_file")
  }

  /// Of a file of one number; nil for "max".
  private func number(_ path: String) -> Int? { numbers(path).first.flatMap { $0 < 0 ? nil : $0 } }

  /// The words of a file, −1 for those that are no numbers.
  private func numbers(_ path: String) -> [Int] {
    let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    return text.split(whereSeparator: \.isWhitespace).map { Int($0) ?? -1 }
  }

  private func statistic(_ name: String, of group: String) -> Int {
    guard let lines = try? String(contentsOfFile: group + "/memory.stat", encoding: .utf8) else { return 0 }
    return lines.split(separator: "\n").first { $0.hasPrefix(name + " ") }
      .flatMap { $0.split(separator: " ").last }.flatMap { Int($0) } ?? 0
  }
}
