import Foundation
import Support
import TestSupport
import Testing

/// Limits of memory, in a made-up system.
@Suite struct ControlGroupTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func headroom(_ files: [String: String]) throws -> Int? { try groups(files).memoryHeadroom() }

  private func groups(_ files: [String: String]) throws -> ControlGroups {
    for (name, text) in files {
      let path = directory.file(name)
      let parent = URL(fileURLWithPath: path).deletingLastPathComponent().path
      try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
      try text.write(toFile: path, atomically: false, encoding: .utf8)
    }
    return ControlGroups(root: directory.path)
  }

  @Test func version2() throws {
    let found = try headroom([
      "proc/self/cgroup": "0::/user/job\n",
      "sys/fs/cgroup/user/job/memory.max": "1000000\n", "sys/fs/cgroup/user/job/memory.current": "400000\n",
      "sys/fs/cgroup/user/job/memory.stat": "anon 300000\ninactive_file 50000\nactive_file 7\n",
    ])
    #expect(found == 650_000)
  }

  @Test func version1() throws {
    let found = try headroom([
      "proc/self/cgroup": "12:cpu,cpuacct:/job\n7:hugetlb,memory:/job\n1:name=systemd:/\n",
      "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2000000\n", "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "500000\n",
      "sys/fs/cgroup/memory/job/memory.stat": "inactive_file 1\ntotal_inactive_file 100000\n",
      "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n",
    ])
    #expect(found == 1_600_000)
  }

  /// An ancestor with less room binds; one without a limit does not.
  @Test func nested() throws {
    let found = try headroom([
      "proc/self/cgroup": "0::/outer/middle/inner\n",
      "sys/fs/cgroup/outer/middle/inner/memory.max": "5000\n", "sys/fs/cgroup/outer/middle/inner/memory.current": "100\n",
      "sys/fs/cgroup/outer/middle/memory.max": "max\n", "sys/fs/cgroup/outer/middle/memory.current": "90000\n",
      "sys/fs/cgroup/outer/memory.max": "3000\n", "sys/fs/cgroup/outer/memory.current": "2900\n",
    ])
    #expect(found == 100)
  }

  /// In a container: the path is the outer machine's, the mount's root is the own group.
  @Test func container() throws {
    let found = try headroom([
      "proc/self/cgroup": "0::/docker/0123\n",
      "sys/fs/cgroup/memory.max": "700\n", "sys/fs/cgroup/memory.current": "800\n",
    ])
    #expect(found == 0)
  }

  @Test func bothVersionsAtOnce() throws {
    let found = try headroom([
      "proc/self/cgroup": "5:memory:/a\n0::/a\n",
      "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "900\n", "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "100\n",
      "sys/fs/cgroup/a/memory.max": "600\n", "sys/fs/cgroup/a/memory.current": "0\n",
    ])
    #expect(found == 600)
  }

  @Test func withoutLimits() throws {
    #expect(try headroom([:]) == nil)
    #expect(
      try headroom(["proc/self/cgroup": "0::/\nnonsense\n", "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "5\n"])
        == nil)
  }

  /// Processor time, in whole processors; of a group and its ancestors, what binds.
  @Test(
    arguments: [
      ("0::/", ["cpu.max": "150000 100000\n"], 2), ("0::/", ["cpu.max": "200000 100000"], 2), ("0::/", ["cpu.max": "1000 100000"], 1),
      ("0::/", ["cpu.max": "max 100000"], nil), ("0::/", ["cpu.max": "1 0"], nil), ("0::/", [:], nil),
      ("3:cpu,cpuacct:/", ["cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"], 3),
      ("3:cpu:/", ["cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"], nil),
      ("0::/system.slice/slowfast.service", ["system.slice/slowfast.service/cpu.max": "50000 100000"], 1),
      ("0::/a/b", ["a/b/cpu.max": "max 100000", "a/cpu.max": "250000 100000", "cpu.max": "400000 100000"], 3),
      ("0::/docker/0123", ["cpu.max": "200000 100000"], 2),
      ("4:cpuset:/x\n3:cpu,cpuacct:/a\n0::/a", ["cpu/a/cpu.cfs_quota_us": "200000", "cpu/a/cpu.cfs_period_us": "100000"], 2),
    ] as [(String, [String: String], Int?)])
  func processors(membership: String, files: [String: String], limit: Int?) throws {
    var named = Dictionary(uniqueKeysWithValues: files.map { ("sys/fs/cgroup/" + $0, $1) })
    named["proc/self/cgroup"] = membership + "\n"
    #expect(try groups(named).processorLimit() == limit)
  }
}
