import Compute
import Foundation
import ModelFile
import Parallel
import Support
import Synchronization
import Tensors
import Video

/// Where what clips become is kept, by what it was computed from.
package protocol ClipStore: Sendable {
  /// Bytes of all entries, at most.
  var limit: Int { get }
  func lookup(_ key: CacheKey, pool: ThreadPool) -> ClipLookup
  /// Keeps an entry, in place of one that is there. Returns what kept it from doing so, if that is worth telling.
  func store(_ key: CacheKey, info: [UInt8], _ parts: [ClipEntry.Part], pool: ThreadPool) -> String?
  /// Frames that were made as `kind` says, for one clip.
  func frames(_ kind: CacheKey, pool: ThreadPool) -> any FrameReader
  /// Keeps frames, each under its part's name. Returns what kept them from it.
  func store(frames parts: [ClipEntry.Part], _ kind: CacheKey, pool: ThreadPool) -> String?
}

/// Looks for frames of one kind. Not for two threads at once.
package protocol FrameReader: AnyObject {
  /// nil where there is none of that name.
  func find(_ name: String) -> ClipEntry.Tensor?
  /// Entries that could not be used, and why.
  var problems: [String] { get }
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
  private let state: Mutex<State>

  private struct State {
    var limit: Int
    var entries: [String: Kept] = [:]
    var byteCount = 0
    /// Counts uses.
    var clock = 0

    mutating func makeRoom(_ size: Int) {
      guard byteCount + size > limit else { return }
      for (key, _) in entries.sorted(by: { $0.value.used < $1.value.used }) where byteCount + size > limit { remove(key) }
    }

    mutating func remove(_ key: String) {
      if let kept = entries.removeValue(forKey: key) { byteCount -= kept.byteCount }
    }

    mutating func find(_ key: String) -> ClipEntry? {
      guard let entry = entries[key]?.entry else { return nil }
      clock += 1
      entries[key]?.used = clock
      return entry
    }

    mutating func insert(_ key: String, _ entry: ClipEntry, _ size: Int) {
      remove(key)
      clock += 1
      entries[key] = Kept(entry: entry, byteCount: size, used: clock)
      byteCount += size
    }
  }

  private struct Kept {
    var entry: ClipEntry
    var byteCount: Int
    var used: Int
  }

  package init(limit: Int) { state = Mutex(State(limit: limit)) }

  package var limit: Int { state.withLock { $0.limit } }

  /// Takes in so many bytes more from now on, or fewer: what does not fit then goes.
  package func changeLimit(by bytes: Int) {
    state.withLock { state in
      state.limit += bytes
      state.makeRoom(0)
    }
  }

  /// Bytes of all entries.
  package var byteCount: Int { state.withLock { $0.byteCount } }

  package func lookup(_ key: CacheKey, pool: ThreadPool) -> ClipLookup {
    state.withLock { $0.find(key.text) }.map(ClipLookup.found) ?? .none
  }

  package func store(_ key: CacheKey, info: [UInt8], _ parts: [ClipEntry.Part], pool: ThreadPool) -> String? {
    keep([(key.text, info, parts)])
  }

  package func frames(_ kind: CacheKey, pool: ThreadPool) -> any FrameReader { Reader(store: self, kind: kind) }

  package func store(frames parts: [ClipEntry.Part], _ kind: CacheKey, pool: ThreadPool) -> String? {
    keep(parts.map { (Self.key($0.name, kind), [], [$0]) })
  }

  private static func key(_ frame: String, _ kind: CacheKey) -> String { "\(kind.name) \(frame)" }

  private final class Reader: FrameReader {
    private let (store, kind): (MemoryClipStore, CacheKey)

    init(store: MemoryClipStore, kind: CacheKey) { (self.store, self.kind) = (store, kind) }

    func find(_ name: String) -> ClipEntry.Tensor? {
      store.state.withLock { $0.find(MemoryClipStore.key(name, kind)) }?.tensors[name]
    }

    var problems: [String] { [] }
  }

  /// Several entries, all or none.
  private func keep(_ entries: [(key: String, info: [UInt8], parts: [ClipEntry.Part])]) -> String? {
    let sizes = entries.map { $0.parts.reduce($0.info.count + $0.key.utf8.count) { $0 + $1.byteCount } }
    let size = sizes.reduce(0, +)
    let limit = limit
    guard size <= limit else { return ClipEntry.tooLarge(size, limit: limit) }
    // Before what is new takes memory.
    state.withLock { state in
      for entry in entries { state.remove(entry.key) }
      state.makeRoom(size)
    }
    var made: [ClipEntry] = []
    for entry in entries {
      var tensors: [String: ClipEntry.Tensor] = [:]
      for part in entry.parts {
        guard let memory = AlignedMemory(byteCount: part.byteCount) else { return "the clip is not kept: there is no memory for it" }
        var end = memory.base
        for piece in part.pieces {
          if let start = piece.baseAddress { end.copyMemory(from: start, byteCount: piece.count) }
          end += piece.count
        }
        tensors[part.name] = ClipEntry.Tensor(UnsafeRawBufferPointer(start: memory.base, count: part.byteCount), owner: memory)
      }
      made.append(ClipEntry(info: entry.info, tensors: tensors))
    }
    state.withLock { state in
      // Another thread may have filled the room.
      state.makeRoom(size)
      for (index, entry) in entries.enumerated() { state.insert(entry.key, made[index], sizes[index]) }
    }
    return nil
  }
}

/// What an entry of a clip cache was computed from, in words. Entries are the same only where all of it is.
package struct CacheKey: Sendable, Equatable {
  package let text: String

  /// Changes whenever what is computed, or how it is laid out, does.
  private static let version = 3

  private init(_ lines: [String]) { text = (["slowfast clip cache \(Self.version)"] + lines).joined(separator: "\n") }

  /// A file name without its suffix: 128 bits of the text.
  package var name: String { [text, "again " + text].map { checksum(Array($0.utf8)).hexadecimal() }.joined() }

  /// Rows of single frames: how they are made, without what they show. `rows` and `type` of one, and whether it is a view of a picture.
  /// Where they take over what earlier ones' blocks made (`reuse`), they are those of one clip, or of a stream.
  package static func frames(
    rows: Int, isPicture: Bool, reuse: Double, within clip: CacheKey?, type: KeyValueType, model: VideoLanguageModel, kernels: String
  ) -> CacheKey {
    CacheKey(
      ["frames", model.identity, "kernels \(kernels)", "\(rows) rows of \(isPicture ? "a picture" : "a clip")", "values \(type)"]
        + (reuse == 0 ? [] : ["reuse below \(reuse)", clip?.text ?? "stream"]))
  }

  /// What one clip is made of. `content` identifies what its files hold.
  package static func features(
    content: String, sampling: SamplingRequest, reuse: Double, model: VideoLanguageModel, kernels: String, isAlone: Bool,
    fastFrames: Int?, slowTokens: KeyValueType
  ) -> CacheKey {
    let range = [sampling.start, sampling.end].map { $0.map { "\($0)" } ?? "-" }.joined(separator: " to ")
    return CacheKey(
      [
        "features", model.identity, "kernels \(kernels)", reuse == 0 ? "reuse -" : "reuse below \(reuse)",
        // Nothing for those that were kept before there was a choice.
      ] + (isAlone ? [] : ["beside others"]) + (fastFrames.map { ["fast frames \($0)"] } ?? [])
        + (slowTokens == .float32 ? [] : ["slow tokens \(slowTokens)"]) + [
          "frames \(sampling.frames), \(sampling.rule), \(range), stream \(sampling.stream.map { "\($0)" } ?? "-")", content,
        ])
  }

  /// Keys and values of the prompt up to the last clip. `text` are its token ids, `clips` the keys of the clips between them.
  package static func prefix(text: [Int32], clips: [CacheKey], cacheType: KeyValueType) -> CacheKey {
    CacheKey(["prefix", "values \(cacheType)", "ids \(text)"] + clips.map(\.text))
  }
}

extension ClipSource {
  /// Checksums and lengths of everything that the clip is made of.
  package func contentIdentity() throws(SlowFastError) -> String {
    switch self {
    case .picture(let image): return "picture \(image.width)x\(image.height) \(checksum(image.pixels))"
    case .live(let window):
      return try ClipSource.frames(window.frames.map(\.image)).contentIdentity() + " \(window.report.frames.map(\.seconds))"
    case .frames(let images):
      return "pixels " + images.map { "\($0.width)x\($0.height) \(checksum($0.pixels))" }.joined(separator: " ")
    case .visual(let source):
      switch source.kind {
      case .video, .image: return "file " + (try fileIdentity(source.path))
      case .directory(let paths):
        var parts: [String] = []
        for path in paths { parts.append(try fileIdentity(path)) }
        return "directory " + parts.joined(separator: " ")
      }
    }
  }
}

/// The files that a clip is made of, as they were at some time.
package struct ClipFiles {
  private let states: [(path: String, status: FileStatus?)]

  package init(_ source: ClipSource) { states = source.paths.map { ($0, FileStatus(path: $0)) } }

  /// Nothing was done to them since.
  package var isUntouched: Bool {
    states.allSatisfy { path, before in
      guard let before, let now = FileStatus(path: path) else { return false }
      return now.isUntouched(since: before)
    }
  }
}

extension ClipSource {
  /// The names of the files that it reads; none for frames in memory.
  package var paths: [String] { if case .visual(let source) = self { source.paths } else { [] } }

  /// As messages name it.
  package var name: String { if case .visual(let source) = self { source.path } else { "frames" } }
}

/// A file's length and the checksum of its blocks' checksums.
private func fileIdentity(_ path: String) throws(SlowFastError) -> String {
  do {
    let file = FileHandle(fileDescriptor: try SystemCalls.open(path, O_RDONLY | O_NONBLOCK), closeOnDealloc: true)
    var sums: [UInt8] = []
    var length = 0
    while let block = try file.read(upToCount: 4 << 20), !block.isEmpty {
      length += block.count
      let sum = block.withUnsafeBytes { checksum($0) }
      withUnsafeBytes(of: sum.littleEndian) { sums += Array($0) }
    }
    return "\(length):\(checksum(sums))"
  } catch { throw SlowFastError(VideoError.unreadable(path: path, reason: (error as? SystemError)?.message ?? "\(error)")) }
}
