import Synchronization

/// The bytes of requests that are in memory at a time, all together.
final class BodyMemory: Sendable {
  private let taken = Mutex(0)
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  /// What one request takes; given back with the last who holds it.
  final class Share: Sendable {
    private let memory: BodyMemory
    private let bytes = Mutex(0)
    /// Questions without clips are always taken in.
    private static let free = 64 << 10

    fileprivate init(_ memory: BodyMemory) { self.memory = memory }

    deinit {
      let bytes = max(0, bytes.withLock { $0 } - Self.free)
      memory.taken.withLock { $0 -= bytes }
    }

    /// Throws where others take so much that there is no room.
    func add(_ count: Int) throws(APIError) {
      let more = bytes.withLock { bytes in
        defer { bytes += count }
        return max(0, bytes + count - Self.free) - max(0, bytes - Self.free)
      }
      let taken = memory.taken.withLock { taken in
        taken += more
        return taken
      }
      if more > 0, taken > memory.limit {
        throw APIError(
          503, "Other requests fill the memory for such: ask again in a moment, or upload the file with POST /v1/files.", code: "no_room",
          retryAfter: 5)
      }
    }
  }

  func share() -> Share { Share(self) }
}
