import Foundation
import ModelFile
import Parallel
import Support
import Synchronization
import Tensors

/// Where clips that were watched are kept for the next time.
public struct ClipCacheOptions: Sendable, Equatable {
  /// Made if it is not there.
  public var directory: String
  /// Bytes of all entries; those not used for longest go first.
  public var limit: Int

  /// About twenty clips of 64 frames at full size.
  public static let defaultLimit = 4 << 30

  /// A cache in a directory, which is made where it is missing, within `limit` bytes.
  public init(directory: String, limit: Int = ClipCacheOptions.defaultLimit) {
    self.directory = directory
    self.limit = limit
  }
}

/// A directory of entries, each a file in the model files' format (`Formats/sfq.md`): every chunk has a checksum, a file appears under its
/// name only when it is whole, and its temporary name is locked while a process writes it. So several processes may use one directory.
///
/// Frames that were encoded one after the other are kept together in a pack, a tensor for each, whose name begins with what they have in
/// common; which frames there are stands in the packs alone.
package struct ClipCache: ClipStore {
  private let directory: String
  private let bound: CacheBound
  package var limit: Int { bound.bytes.load(ordering: .relaxed) }
  private let known = KnownPacks()
  fileprivate static let (suffix, packSuffix) = (".clip", ".frames")

  package init(_ options: ClipCacheOptions) throws(SlowFastError) {
    guard options.limit > 0 else { throw .badOption("clipCache.limit", found: "\(options.limit)", expected: "more than 0") }
    try self.init(directory: options.directory, limit: options.limit)
  }

  /// Without room, which `changeLimit` gives: what is there goes.
  package init(emptying directory: String) throws(SlowFastError) { try self.init(directory: directory, limit: 0) }

  private init(directory: String, limit: Int) throws(SlowFastError) {
    (self.directory, bound) = (directory, CacheBound(limit))
    do throws(SystemError) { try SystemCalls.makeDirectory(directory, mode: 0o700) } catch {
      throw .cannotCache(directory: directory, reason: "the directory cannot be made: \(error.message)")
    }
    guard directory.withFileName({ access($0, W_OK | X_OK) }) == 0 else {
      throw .cannotCache(directory: directory, reason: "the directory cannot be written to")
    }
    // Whoever can write there decides what is answered.
    if let status = FileStatus(path: directory) {
      guard status.owner == geteuid() else { throw .cannotCache(directory: directory, reason: "the directory is another user's") }
      guard status.mode & 0o022 == 0 else {
        throw .cannotCache(directory: directory, reason: "others may write to the directory; chmod go-w makes it yours alone")
      }
    }
    trim()
  }

  /// Takes in so many bytes more from now on, or fewer: what does not fit then goes.
  package func changeLimit(by bytes: Int) {
    bound.bytes.add(bytes, ordering: .relaxed)
    if bytes < 0 { trim() }
  }

  /// Removes what is beyond the limit, which may have been larger before, and what interrupted processes left.
  private func trim() {
    guard let turn = CacheTurn(directory) else { return }
    turn.byteCount = evict(to: limit)
  }

  /// Whether nothing but what a cache makes is in the directory, one that is missing or empty included.
  package static func isAlone(in directory: String) -> Bool {
    guard let status = FileStatus(path: directory, followingLinks: false) else { return true }
    guard status.kind == .directory, let names = try? SystemCalls.entries(of: directory) else { return false }
    return names.allSatisfy(isOwn)
  }

  /// Takes a cache away: its files, and the directory where nothing else is in it.
  package static func remove(_ directory: String) {
    for name in (try? SystemCalls.entries(of: directory)) ?? [] where isOwn(name) { SystemCalls.remove("\(directory)/\(name)") }
    _ = directory.withFileName { rmdir($0) }
  }

  private static func isOwn(_ name: String) -> Bool {
    name == ".lock" || name.wholeMatch(of: /[0-9a-f]{32}(-[0-9a-f]{16})?\.(clip|frames)(\.new)?(\.partial)?(\.journal)?/) != nil
  }

  private func path(_ key: CacheKey) -> String { "\(directory)/\(key.name)\(Self.suffix)" }

  /// The entry of that key, every checksum checked.
  package func lookup(_ key: CacheKey, pool: ThreadPool) -> ClipLookup {
    let path = path(key)
    guard FileStatus(path: path) != nil else { return .none }
    do throws(ModelFileError) {
      // Read, not mapped: other processes may cut it, and a lost page could not be told from a clip.
      let file = try ModelFileReader(path: path, isMapped: false)
      guard try file.section("key") == Array(key.text.utf8) else { return .none }
      let info = try file.section("info")
      let tensors = try file.loadAll(of: file.tensors.map(\.name), pool: pool)
      // Used now: it goes last.
      _ = path.withFileName { utimes($0, nil) }
      let values = tensors.compactMap { tensor in
        tensor[.values].map { (tensor.name, ClipEntry.Tensor($0.bytes, owner: tensor)) }
      }
      // Names that differ may still be equal as Unicode has it.
      return .found(ClipEntry(info: info, tensors: Dictionary(values, uniquingKeysWith: { first, _ in first })))
    } catch {
      // Another process may have removed it since.
      if case .cannotOpen(_, ENOENT) = error { return .none }
      return .damaged("\(error)")
    }
  }

  package func store(_ key: CacheKey, info: [UInt8], _ parts: [ClipEntry.Part], pool: ThreadPool) -> String? {
    write(path(key), from: key.text, key, info, parts, pool: pool)
  }

  package func frames(_ kind: CacheKey, pool: ThreadPool) -> any FrameReader { PackReader(directory, kind, known, pool: pool) }

  package func store(frames parts: [ClipEntry.Part], _ kind: CacheKey, pool: ThreadPool) -> String? {
    let names = parts.map(\.name).joined(separator: " ")
    let path = "\(directory)/\(kind.name)-\(checksum(Array(names.utf8)).hexadecimal())\(Self.packSuffix)"
    return write(path, from: kind.text + "\n" + names, kind, [], parts, pool: pool)
  }

  /// Beside what is kept in it, a file takes so many bytes at most.
  package static func fileBytes(parts: Int) -> Int { (parts + 4) << 12 }

  /// `fingerprint`: of everything in it.
  private func write(
    _ path: String, from fingerprint: String, _ key: CacheKey, _ info: [UInt8], _ parts: [ClipEntry.Part], pool: ThreadPool
  ) -> String? {
    let size = parts.reduce(info.count + key.text.utf8.count + Self.fileBytes(parts: parts.count)) { $0 + $1.byteCount }
    let limit = limit
    guard size <= limit else { return ClipEntry.tooLarge(size, limit: limit) }
    let turn = CacheTurn(directory)
    let room = limit - size
    var others = turn?.byteCount ?? .max
    if others > room { others = evict(to: room) }
    // Until it is there it counts with what it takes at most.
    turn?.byteCount = others + size
    do throws(ModelFileError) {
      let writer = try ModelFileWriter(path: path, fingerprint: fingerprint, compression: .none, overwrite: true, mode: 0o600, pool: pool)
      do throws(ModelFileError) {
        // What an interrupted run has written of the same entry is taken over.
        for part in parts.dropFirst(writer.resumed.count) {
          let encoding: TensorEncoding = part.type == .float16 ? .float16 : .float32
          try writer.beginTensor(TensorDescriptor(name: part.name, shape: [part.byteCount / part.type.size], encoding: encoding))
          for piece in part.pieces { try writer.write(.values, piece) }
          try writer.endTensor()
        }
        try writer.addSection("key", Array(key.text.utf8))
        try writer.addSection("info", info)
        try writer.finish()
        turn?.byteCount = FileStatus(path: path).map { others + $0.byteCount }
      } catch {
        writer.abort()
        throw error
      }
      return nil
    } catch {
      // Another process is writing the same entry: one of them is enough.
      if case .locked = error { return nil }
      return "the clip is not kept: \(error)"
    }
  }

  /// Removes the entries that were used least lately until the others take at most `limit` bytes, and what interrupted processes left.
  /// Returns what the others take.
  private func evict(to limit: Int) -> Int {
    var entries: [(path: String, bytes: Int, used: Int64)] = []
    // Somebody else's files may have such endings.
    for name in (try? SystemCalls.entries(of: directory)) ?? [] where Self.isOwn(name) {
      let path = "\(directory)/\(name)"
      let isOurs = { (end: String) in name.hasSuffix(Self.suffix + end) || name.hasSuffix(Self.packSuffix + end) }
      if isOurs(".partial") {
        removeIfAbandoned(path)
      } else if isOurs(""), let status = FileStatus(path: path, followingLinks: false) {
        entries.append((path, status.byteCount, status.modified))
      }
    }
    var total = 0
    var kept = 0
    for entry in entries.sorted(by: { $0.used > $1.used }) {
      total += entry.bytes
      if total > limit { unlink(entry.path) } else { kept = total }
    }
    return kept
  }

  /// A temporary file that no process holds the lock of.
  private func removeIfAbandoned(_ path: String) {
    guard let descriptor = try? SystemCalls.open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK) else { return }
    defer { close(descriptor) }
    guard let isOurs = try? SystemCalls.lock(descriptor), isOurs else { return }
    SystemCalls.remove(path + ".journal")
    SystemCalls.remove(path)
  }
}

/// Bytes of all entries, at most.
private final class CacheBound: Sendable {
  let bytes: Atomic<Int>

  init(_ bytes: Int) { self.bytes = Atomic(bytes) }
}

/// The turn of one process, of all that use a directory, to make room and to fill it, so that together they stay within the limit. The
/// file that is locked holds a number of bytes that all entries together do not exceed: whoever adds one says so there, so that not every
/// one has to look at all others.
private final class CacheTurn {
  private let lock: Int32

  /// Waits for it; nil where the directory does not let it.
  init?(_ directory: String) {
    guard let lock = try? SystemCalls.open(directory + "/.lock", O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600) else { return nil }
    self.lock = lock
    _ = SystemCalls.holdsLock(lock, waiting: true)
  }

  deinit { close(lock) }

  private static let digits = 20

  /// nil where it is not known.
  var byteCount: Int? {
    get {
      var bytes = [UInt8](repeating: 0, count: Self.digits + 1)
      guard pread(lock, &bytes, bytes.count, 0) == Self.digits else { return nil }
      return Int(String(decoding: bytes.prefix(Self.digits), as: UTF8.self))
    }
    set {
      let text = newValue.map { String($0) } ?? ""
      let bytes = Array((String(repeating: "0", count: Self.digits - text.utf8.count) + text).utf8)
      if newValue == nil || pwrite(lock, bytes, bytes.count, 0) != bytes.count { ftruncate(lock, 0) }
    }
  }
}

/// Which frames are in which packs of each kind, as far as they were looked at. A pack under a name is always the same.
private final class KnownPacks: Sendable {
  private struct Packs {
    /// Names of the frames in each pack, and of each frame a pack that has it.
    var names: [String: [String]] = [:]
    var places: [String: String] = [:]

    mutating func forget(_ path: String) {
      for name in names.removeValue(forKey: path) ?? [] where places[name] == path { places[name] = nil }
    }
  }

  private let kinds = Mutex<[String: Packs]>([:])

  func place(of name: String, ofKind kind: String) -> String? { kinds.withLock { $0[kind]?.places[name] } }

  /// Forgets packs that are no longer there, and returns those that were never looked at.
  func update(to paths: Set<String>, ofKind kind: String) -> [String] {
    kinds.withLock { kinds in
      let packs = kinds[kind, default: Packs()]
      for path in packs.names.keys where !paths.contains(path) { kinds[kind]?.forget(path) }
      return paths.filter { packs.names[$0] == nil }
    }
  }

  func add(_ path: String, _ names: [String], ofKind kind: String) {
    kinds.withLock { kinds in
      kinds[kind, default: Packs()].names[path] = names
      for name in names { kinds[kind]?.places[name] = path }
    }
  }

  func forget(_ path: String, ofKind kind: String) { kinds.withLock { $0[kind]?.forget(path) } }
}

private final class PackReader: FrameReader {
  private(set) var problems: [String] = []
  private let directory: String
  private let kind: CacheKey
  private let known: KnownPacks
  private let pool: ThreadPool
  private var hasLookedAround = false
  private var opened: [String: ModelFileReader] = [:]
  /// Files that are open together.
  private static let mostOpened = 32

  init(_ directory: String, _ kind: CacheKey, _ known: KnownPacks, pool: ThreadPool) {
    (self.directory, self.kind, self.known, self.pool) = (directory, kind, known, pool)
  }

  func find(_ name: String) -> ClipEntry.Tensor? {
    if !hasLookedAround { lookAround() }
    guard let path = known.place(of: name, ofKind: kind.name) else { return nil }
    return reading(path) { file throws(ModelFileError) in
      let tensor = try file.load(name, pool: pool)
      return tensor[.values].map { ClipEntry.Tensor($0.bytes, owner: tensor) }
    }
  }

  /// Reads which frames are in the packs that are new.
  private func lookAround() {
    let prefix = "\(kind.name)-"
    let names = ((try? SystemCalls.entries(of: directory)) ?? []).filter { $0.hasPrefix(prefix) && $0.hasSuffix(ClipCache.packSuffix) }
    for path in known.update(to: Set(names.map { "\(directory)/\($0)" }), ofKind: kind.name) {
      let names = reading(path) { file throws(ModelFileError) in
        try file.section("key") == Array(kind.text.utf8) ? file.tensors.map(\.name) : []
      }
      opened[path] = nil
      if let names { known.add(path, names, ofKind: kind.name) }
    }
    hasLookedAround = true
  }

  /// A pack that cannot be read is removed, so that its frames are made anew.
  private func reading<T>(_ path: String, _ body: (ModelFileReader) throws(ModelFileError) -> T?) -> T? {
    do throws(ModelFileError) {
      var file = opened[path]
      if file == nil {
        if opened.count >= Self.mostOpened { opened = [:] }
        file = try ModelFileReader(path: path, isMapped: false)
        opened[path] = file
        // Used now: it goes last.
        if hasLookedAround { _ = path.withFileName { utimes($0, nil) } }
      }
      return try file.flatMap { file throws(ModelFileError) in try body(file) }
    } catch {
      opened[path] = nil
      known.forget(path, ofKind: kind.name)
      // Another process may have removed it since, and one that cannot be opened may be sound.
      if case .cannotOpen(_, let code) = error {
        if code != ENOENT { problems.append("\(error)") }
        return nil
      }
      SystemCalls.remove(path)
      problems.append("\(error)")
      return nil
    }
  }
}
