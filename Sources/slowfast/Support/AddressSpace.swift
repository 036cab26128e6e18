import Foundation

/// The address space that `ulimit -v` limits.
enum AddressSpace {
  /// Has all threads share one heap where it is limited: a heap of its own takes each 64 MiB of it.
  static func spare() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur != rlim_t.max, let symbol = dlsym(nil, "mallopt")
    else { return }
    let arenaMaximum: Int32 = -8  // M_ARENA_MAX, whose header Swift does not import
    _ = unsafeBitCast(symbol, to: (@convention(c) (Int32, Int32) -> Int32).self)(arenaMaximum, 1)
  }
}
