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
    place = MappedFiles.add(mapped, byteCount: pagesByteCount, path: file.path)
  }

  deinit {
    MappedFiles.remove(place)
    munmap(pages, pagesByteCount)
  }
}
