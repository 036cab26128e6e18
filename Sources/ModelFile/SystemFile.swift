import Parallel
import Support

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// An open file, read and written at given offsets.
final class SystemFile: Sendable {
  let path: String
  let descriptor: Int32
  /// Of what is mapped of it.
  let losses = PageLosses()

  /// To be read.
  init(reading path: String) throws(ModelFileError) {
    self.path = path
    // Without O_NONBLOCK, opening a named pipe would wait for somebody to write.
    do throws(SystemError) { descriptor = try SystemCalls.open(path, O_RDONLY | O_NONBLOCK) } catch {
      throw .cannotOpen(path: path, code: error.code)
    }
    guard try status().kind == .file else { throw .notRegularFile(path: path) }
  }

  /// To be read and written; made empty where there is none. It is a file of this user's, and no link to one: whoever may write to the
  /// directory could else have another file written to.
  init(writing path: String, mode: mode_t = 0o666) throws(ModelFileError) {
    self.path = path
    do throws(SystemError) { descriptor = try SystemCalls.open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode: mode) } catch {
      throw .cannotCreate(path: path, code: error.code)
    }
    let status = try status()
    guard status.kind == .file else { throw .notRegularFile(path: path) }
    guard status.owner == geteuid() else { throw .cannotCreate(path: path, code: EPERM) }
  }

  deinit { close(descriptor) }

  func status() throws(ModelFileError) -> FileStatus {
    do throws(SystemError) { return try FileStatus(descriptor: descriptor) } catch {
      throw .readFailed(path: path, offset: 0, code: error.code)
    }
  }

  /// Fills `buffer` with the bytes from `offset`.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(ModelFileError) {
    let count: Int
    do throws(SystemError) { count = try SystemCalls.read(descriptor, into: buffer, at: offset) } catch {
      throw .readFailed(path: path, offset: offset, code: error.code)
    }
    guard count == buffer.count else { throw .endedEarly(path: path, offset: offset + count, missing: buffer.count - count) }
  }

  /// `count` bytes from `offset`. The caller has checked that the file has them.
  func read(_ count: Int, at offset: Int) throws(ModelFileError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try bytes.withMutableBytes { buffer throws(ModelFileError) in try read(into: buffer, at: offset) }
    return bytes
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(ModelFileError) {
    do throws(SystemError) { try SystemCalls.write(bytes, to: descriptor, at: offset) } catch {
      throw failure(error, at: offset, byteCount: bytes.count)
    }
  }

  func write(_ bytes: [UInt8], at offset: Int) throws(ModelFileError) {
    try bytes.withBytes { buffer throws(ModelFileError) in try write(buffer, at: offset) }
  }

  /// Cuts or extends (with zeros) to `byteCount`.
  func truncate(to byteCount: Int) throws(ModelFileError) {
    while ftruncate(descriptor, off_t(byteCount)) != 0 {
      if errno != EINTR { throw failure(SystemError(), at: byteCount, byteCount: 0) }
    }
  }

  /// Returns when the bytes are on the disk.
  func synchronize() throws(ModelFileError) {
    do throws(SystemError) { try SystemCalls.synchronize(descriptor) } catch { throw failure(error, at: 0, byteCount: 0) }
  }

  private func failure(_ error: SystemError, at offset: Int, byteCount: Int) -> ModelFileError {
    error.isNoRoom
      ? .diskFull(path: path, offset: offset, byteCount: byteCount) : .writeFailed(path: path, offset: offset, code: error.code)
  }

  /// False where another process holds the lock.
  func lock() throws(ModelFileError) -> Bool {
    do throws(SystemError) { return try SystemCalls.lock(descriptor) } catch { throw .cannotCreate(path: path, code: error.code) }
  }

  /// Has the system read ahead. Failing costs speed and nothing else.
  func willNeed(_ range: Range<Int>) {
    _ = posix_fadvise(descriptor, off_t(range.lowerBound), off_t(range.count), POSIX_FADV_WILLNEED)
  }
}

/// A range of a file as read-only memory, as long as the object lives.
final class FileMapping: @unchecked Sendable {
  /// The range's first byte.
  let base: UnsafeRawPointer
  private let pages: UnsafeMutableRawPointer
  private let pagesByteCount: Int
  /// In the list of mapped files.
  private let place: Int?
  private let losses: PageLosses

  init(_ file: SystemFile, _ range: Range<Int>) throws(ModelFileError) {
    // Touching a page beyond the end of a file that became shorter would end the program.
    let missing = range.upperBound - (try file.status().byteCount)
    guard missing <= 0 else { throw .endedEarly(path: file.path, offset: range.upperBound - missing, missing: missing) }
    // Pages are larger than 4096 bytes on some machines: the mapping begins at the page that holds the range's first byte.
    let page = max(4096, sysconf(Int32(_SC_PAGESIZE)))
    let start = range.lowerBound / page * page
    pagesByteCount = range.upperBound - start
    guard let mapped = mmap(nil, pagesByteCount, PROT_READ, MAP_PRIVATE, file.descriptor, off_t(start)), mapped != MAP_FAILED else {
      throw errno == ENOMEM
        ? .outOfMemory(path: file.path, byteCount: pagesByteCount)
        : .readFailed(path: file.path, offset: range.lowerBound, code: errno)
    }
    pages = mapped
    base = UnsafeRawPointer(mapped) + (range.lowerBound - start)
    losses = file.losses
    place = MappedFiles.add(mapped, byteCount: pagesByteCount, path: file.path, losses)
  }

  deinit {
    MappedFiles.remove(place)
    munmap(pages, pagesByteCount)
  }
}

/// A model file in the making, under its temporary name beside the output and locked against other processes.
final class PartialFile {
  let file: SystemFile
  /// Whole tensors, in order.
  private(set) var tensors: [StoredTensor] = []
  /// Where the last of them ends, or the prelude.
  private(set) var end = Format.preludeLength

  private let journal: SystemFile
  private let journalPath: String
  private var journalEnd = 0

  /// Takes up what an earlier run of the same setup left, each tensor checked; whatever else is there goes.
  init(at path: String, setup: Journal.Setup, mode: mode_t, pool: ThreadPool) throws(ModelFileError) {
    file = try PartialFile.lock(path, mode)
    journalPath = path + ".journal"
    do throws(ModelFileError) { journal = try SystemFile(writing: journalPath, mode: mode) } catch {
      // What an earlier run left is for one that has the room.
      if try file.status().byteCount == 0 { SystemCalls.remove(path) }
      throw error
    }
    do throws(ModelFileError) { try takeUp(setup, pool) } catch {
      // Where not even the beginning can be written, nothing of it stays.
      if end == Format.preludeLength { remove() }
      throw error
    }
  }

  private func takeUp(_ setup: Journal.Setup, _ pool: ThreadPool) throws(ModelFileError) {
    let found = try journal.read(min(journal.status().byteCount, Format.maximumTableLength), at: 0)
    let dataLength = try file.status().byteCount
    if let entries = Journal.entries(found, setup: setup, dataLength: dataLength, path: journalPath) {
      let whole = try PartialFile.wholeCount(entries.map(\.tensor), file, pool)
      tensors = entries.prefix(whole).map(\.tensor)
      end = tensors.last?.planes.last?.end ?? end
      journalEnd = whole > 0 ? entries[whole - 1].end : setup.header.count
      try journal.truncate(to: journalEnd)
    } else {
      try journal.truncate(to: 0)
      try journal.write(setup.header, at: 0)
      journalEnd = setup.header.count
    }
    // What follows the last whole tensor goes, and so does the prelude of a run that was interrupted at its very end: gaps are zeros.
    try file.truncate(to: end == Format.preludeLength ? 0 : end)
    try file.write([UInt8](repeating: 0, count: Format.preludeLength), at: 0)
  }

  /// Notes that a tensor is whole.
  func add(_ tensor: StoredTensor) throws(ModelFileError) {
    let entry = Journal.entry(tensor)
    try journal.write(entry, at: journalEnd)
    journalEnd += entry.count
    tensors.append(tensor)
    end = tensor.planes.last?.end ?? end
  }

  /// Gives the file, whole and durable, its name; the journal goes.
  func publish(as path: String, overwrite: Bool) throws(ModelFileError) {
    try file.synchronize()
    // The journal goes first: without it, what a kill leaves in between is begun anew, not a stray beside a finished file.
    SystemCalls.remove(journalPath)
    do throws(SystemError) {
      try OutputFile.publish(file.path, as: path, replacing: overwrite)
      try SystemCalls.synchronizeDirectory(of: path)
    } catch {
      throw .output(error.code == EEXIST ? .exists(path: path) : .cannotWrite(path: path, error))
    }
  }

  /// Takes away the second name that a run has left its output which was killed while it published it, where the file system gives a name
  /// and takes another in two steps.
  static func removeSecondName(_ path: String, of output: String) {
    guard let partial = FileStatus(path: path, followingLinks: false), let found = FileStatus(path: output, followingLinks: false),
      partial.isSameFile(as: found)
    else { return }
    SystemCalls.remove(path)
  }

  func remove() {
    SystemCalls.remove(journalPath)
    SystemCalls.remove(file.path)
  }

  private static func lock(_ path: String, _ mode: mode_t) throws(ModelFileError) -> SystemFile {
    while true {
      let file = try SystemFile(writing: path, mode: mode)
      guard try file.lock() else { throw .locked(path: path) }
      // Between opening and locking, the process that held it may have renamed or removed it.
      let status = try file.status()
      guard let named = FileStatus(path: path, followingLinks: false), named.isSameFile(as: status) else { continue }
      if status.links == 1 { return file }
      // A run that ended between linking its output and unlinking this name: the file is the output, and not to be touched.
      SystemCalls.remove(path)
    }
  }

  /// How many tensors from the first on have all their checksums right.
  private static func wholeCount(_ tensors: [StoredTensor], _ file: SystemFile, _ pool: ThreadPool) throws(ModelFileError) -> Int {
    let chunks = tensors.enumerated().flatMap { index, tensor in
      tensor.planes.flatMap { plane in plane.chunks.map { (tensor: index, part: plane.part, chunk: $0) } }
    }
    let fetcher = ChunkFetcher(file, workers: pool.threadCount)
    let damaged = FirstIndex()
    try pool.forEach(chunks.count) { index, worker throws(ModelFileError) in
      do throws(ModelFileError) {
        _ = try fetcher.stored(chunks[index].chunk, of: chunks[index].part, worker: worker)
      } catch {
        switch error {
        case .chunkChecksum, .endedEarly: damaged.note(chunks[index].tensor)
        default: throw error
        }
      }
    }
    return damaged.value ?? tensors.count
  }
}

/// What is whole in a partial file: a sidecar that grows by a record each time a tensor is done, so that an interrupted run goes on where
/// it was. No part of the format: no reader but the writer's next run sees it.
///
/// A header (what is being written, and how), then for each tensor its record as in the table and the record's checksum. Nothing is
/// flushed: after a crash the tensors' own checksums decide what to believe.
struct Journal {
  /// What must be the same for a run to go on with another's work.
  struct Setup: Equatable {
    var fingerprint: String
    var chunkSize: Int
    var compression: ChunkCompression

    var header: [UInt8] {
      var bytes = Array("SFQJ".utf8)
      bytes.append(littleEndian: UInt32(1))
      bytes.append(littleEndian: UInt32(chunkSize))
      if case .zstd(let level, let codes) = compression {
        bytes.append(littleEndian: Int64(level))
        bytes.append(codes ? 1 : 2)
      } else {
        bytes.append(littleEndian: Int64(0))
        bytes.append(0)
      }
      bytes.append(littleEndian: UInt64(fingerprint.utf8.count))
      bytes.append(contentsOf: fingerprint.utf8)
      bytes.append(littleEndian: checksum(bytes))
      return bytes
    }
  }

  /// What an earlier run of the same setup left: whole records, up to the first that is not, and where each ends.
  static func entries(_ bytes: [UInt8], setup: Setup, dataLength: Int, path: String) -> [(tensor: StoredTensor, end: Int)]? {
    let header = setup.header
    guard bytes.starts(with: header) else { return nil }
    var reader = FileBytes(bytes[header.count...], at: header.count, path: path)
    let room = Format.preludeLength..<max(Format.preludeLength, dataLength)
    var parser = TableParser(path: path, chunkSize: setup.chunkSize, room: room)
    var entries: [(StoredTensor, Int)] = []
    do throws(ModelFileError) {
      while reader.available > 0 {
        let start = reader.offset
        let tensor = try parser.tensor(&reader)
        let found = checksum(bytes[start..<reader.offset])
        guard try reader.integer(UInt64.self) == found else { break }
        entries.append((tensor, reader.offset))
      }
    } catch {
      // The run was interrupted while it wrote this record; those before it count.
    }
    return entries
  }

  static func entry(_ tensor: StoredTensor) -> [UInt8] {
    var bytes = tensor.record
    bytes.append(littleEndian: checksum(bytes))
    return bytes
  }
}
