import Foundation

/// The limits of memory that control groups put on this process, of version 1 and 2, its own group's and all ancestors'.
package struct ControlGroups {
  private let mount: String
  private let membership: String

  /// `root` stands before the system's paths.
  package init(root: String = "") {
    mount = root + "/sys/fs/cgroup"
    membership = root + "/proc/self/cgroup"
  }

  /// Bytes that the process may still take; nil where no group limits them.
  package func memoryHeadroom() -> Int? {
    guard let lines = try? String(contentsOfFile: membership, encoding: .utf8) else { return nil }
    // `0::/path` in version 2, `7:memory:/path` in version 1; a machine may have both.
    return lines.split(separator: "\n").compactMap { line -> Int? in
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { return nil }
      if fields[0] == "0", fields[1].isEmpty { return headroom(mount, fields[2], .version2) }
      guard fields[1].split(separator: ",").contains("memory") else { return nil }
      return headroom(mount + "/memory", fields[2], .version1)
    }.min()
  }

  private struct Names {
    var limit: String
    var used: String
    var reclaimable: String

    static let version2 = Names(limit: "memory.max", used: "memory.current", reclaimable: "inactive_file")
    static let version1 = Names(limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes", reclaimable: "total_inactive_file")
  }

  /// The least of a group and its ancestors. In a container the path may be that of the machine outside: groups that are not there count
  /// for nothing, and the mount's root is the container's own group.
  private func headroom(_ hierarchy: String, _ path: Substring, _ names: Names) -> Int? {
    var components = path.split(separator: "/")
    var least: Int?
    while true {
      let group = ([Substring(hierarchy)] + components).joined(separator: "/")
      // "max", or a number beyond any memory, is no limit.
      if let limit = number(group + "/" + names.limit), limit < 1 << 60, let used = number(group + "/" + names.used) {
        // File pages that the kernel can drop count as used there, but are free to take.
        let free = max(0, limit - used + statistic(names.reclaimable, of: group))
        least = min(least ?? free, free)
      }
      guard components.popLast() != nil else { return least }
    }
  }

  private func number(_ path: String) -> Int? {
    (try? String(contentsOfFile: path, encoding: .utf8)).flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
  }

  private func statistic(_ name: String, of group: String) -> Int {
    guard let lines = try? String(contentsOfFile: group + "/memory.stat", encoding: .utf8) else { return 0 }
    return lines.split(separator: "\n").first { $0.hasPrefix(name + " ") }
      .flatMap { $0.split(separator: " ").last }.flatMap { Int($0) } ?? 0
  }
}
