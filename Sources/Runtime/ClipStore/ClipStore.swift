import ModelFile
import Parallel
import Support
import Synchronization
import Tensors

/// Where what clips become is kept, by what it was computed from.
package protocol ClipStore: Sendable {
  func lookup(_ key: CacheKey, pool: ThreadPool) -> ClipLookup
  /// Keeps an entry, in place of one that is there. Returns what kept it from doing so, if that is worth telling.
  func store(_ key: CacheKey, info: [UInt8], _ parts: [ClipEntry.Part], pool: ThreadPool) -> String?
}

/// What a store has of a key.
package enum ClipLookup {
  case none
  case found(ClipEntry)
  /// There is one that cannot be used, and why.
  case damaged(String)
}

/// What is kept of a clip, or of a prompt about clips: a record, and rows of values by name.
package struct ClipEntry: Sendable {
  package var info: [UInt8]
  package var tensors: [String: Tensor]

  package init(info: [UInt8], tensors: [String: Tensor]) { (self.info, self.tensors) = (info, tensors) }

  /// Values in memory that `owner` keeps.
  package struct Tensor: @unchecked Sendable {
    private let bytes: UnsafeRawBufferPointer
    private let owner: AnyObject

    package init(_ bytes: UnsafeRawBufferPointer, owner: AnyObject) { (self.bytes, self.owner) = (bytes, owner) }

    package var byteCount: Int { bytes.count }
    package func withBytes<T>(_ body: (UnsafeRawBufferPointer) -> T) -> T { withExtendedLifetime(owner) { body(bytes) } }
  }

  /// A row of values that is to be kept, in pieces that are to be written one after the other.
  package struct Part {
    package var name: String
    package var type: ScalarType
    package var pieces: [UnsafeRawBufferPointer]
    package var byteCount: Int { pieces.reduce(0) { $0 + $1.count } }

    package init(name: String, type: ScalarType, pieces: [UnsafeRawBufferPointer]) {
      (self.name, self.type, self.pieces) = (name, type, pieces)
    }
  }

  static func tooLarge(_ size: Int, limit: Int) -> String {
    "the clip is not kept: it takes \(formatBytes(size)), the cache has room for \(formatBytes(limit))"
  }
}

/// Entries in this process's memory, at most `limit` bytes of them: those not used for longest go first.
package final class MemoryClipStore: ClipStore {
  private let limit: Int
  private let state = Mutex(State())

  private struct State {
    var entries: [String: Kept] = [:]
    var byteCount = 0
    /// Counts uses.
    var clock = 0

    mutating func makeRoom(_ size: Int, within limit: Int, replacing key: String) {
      remove(key)
      while byteCount + size > limit, let oldest = entries.min(by: { $0.value.used < $1.value.used }) { remove(oldest.key) }
    }

    private mutating func remove(_ key: String) {
      if let kept = entries.removeValue(forKey: key) { byteCount -= kept.byteCount }
    }
  }

  private struct Kept {
    var entry: ClipEntry
    var byteCount: Int
    var used: Int
  }

  package init(limit: Int) { self.limit = limit }

  /// Bytes of all entries.
  package var byteCount: Int { state.withLock { $0.byteCount } }

  package func lookup(_ key: CacheKey, pool: ThreadPool) -> ClipLookup {
    state.withLock { state in
      guard let entry = state.entries[key.text]?.entry else { return .none }
      state.clock += 1
      state.entries[key.text]?.used = state.clock
      return .found(entry)
    }
  }

  package func store(_ key: CacheKey, info: [UInt8], _ parts: [ClipEntry.Part], pool: ThreadPool) -> String? {
    let size = parts.reduce(info.count + key.text.utf8.count) { $0 + $1.byteCount }
    guard size <= limit else { return ClipEntry.tooLarge(size, limit: limit) }
    // Before what is new takes memory.
    state.withLock { $0.makeRoom(size, within: limit, replacing: key.text) }
    var tensors: [String: ClipEntry.Tensor] = [:]
    for part in parts {
      guard let memory = AlignedMemory(byteCount: part.byteCount) else { return "the clip is not kept: there is no memory for it" }
      var end = memory.base
      for piece in part.pieces {
        if let start = piece.baseAddress { end.copyMemory(from: start, byteCount: piece.count) }
        end += piece.count
      }
      tensors[part.name] = ClipEntry.Tensor(UnsafeRawBufferPointer(start: memory.base, count: part.byteCount), owner: memory)
    }
    let entry = ClipEntry(info: info, tensors: tensors)
    state.withLock { state in
      // Another thread may have filled the room.
      state.makeRoom(size, within: limit, replacing: key.text)
      state.clock += 1
      state.entries[key.text] = Kept(entry: entry, byteCount: size, used: state.clock)
      state.byteCount += size
    }
    return nil
  }
}
