#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// An open file, read and written at given offsets. Short reads and writes go on, interrupted ones are repeated.
final class SystemFile: Sendable {
  let path: String
  let descriptor: Int32

  /// To be read.
  init(reading path: String) throws(ModelFileError) {
    self.path = path
    // Without O_NONBLOCK, opening a named pipe would wait for somebody to write.
    descriptor = try SystemFile.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, { .cannotOpen(path: path, code: $0) })
    guard try status().isRegular else { throw .notRegularFile(path: path) }
  }

  /// To be read and written; made empty where there is none.
  init(writing path: String) throws(ModelFileError) {
    self.path = path
    descriptor = try SystemFile.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, { .cannotCreate(path: path, code: $0) })
    guard try status().isRegular else { throw .notRegularFile(path: path) }
  }

  deinit { close(descriptor) }

  private static func open(_ path: String, _ flags: Int32, _ failure: (Int32) -> ModelFileError) throws(ModelFileError) -> Int32 {
    // A path with a zero byte would be cut there.
    guard !path.utf8.contains(0) else { throw failure(EINVAL) }
    while true {
      #if canImport(Glibc)
        let descriptor = Glibc.open(path, flags, 0o666)
      #else
        let descriptor = Musl.open(path, flags, 0o666)
      #endif
      if descriptor >= 0 { return descriptor }
      if errno != EINTR { throw failure(errno) }
    }
  }

  /// What identifies a file and how long it is.
  struct Status: Equatable {
    var device: UInt64
    var inode: UInt64
    var links: Int
    var byteCount: Int
    var isRegular: Bool

    init(_ status: stat) {
      device = UInt64(status.st_dev)
      inode = UInt64(status.st_ino)
      links = Int(status.st_nlink)
      byteCount = Int(status.st_size)
      isRegular = status.st_mode & S_IFMT == S_IFREG
    }
  }

  func status() throws(ModelFileError) -> Status {
    var result = stat()
    guard fstat(descriptor, &result) == 0 else { throw .readFailed(path: path, offset: 0, code: errno) }
    return Status(result)
  }

  /// nil where there is no file of that name.
  static func status(of path: String) -> Status? {
    var result = stat()
    return stat(path, &result) == 0 ? Status(result) : nil
  }

  /// Fills `buffer` with the bytes from `offset`.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(ModelFileError) {
    var done = 0
    while done < buffer.count {
      let count = pread(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(offset + done))
      if count > 0 {
        done += count
      } else if count == 0 {
        throw .endedEarly(path: path, offset: offset + done, missing: buffer.count - done)
      } else if errno != EINTR {
        throw .readFailed(path: path, offset: offset + done, code: errno)
      }
    }
  }

  /// `count` bytes from `offset`. The caller has checked that the file has them.
  func read(_ count: Int, at offset: Int) throws(ModelFileError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try bytes.withMutableBytes { buffer throws(ModelFileError) in try read(into: buffer, at: offset) }
    return bytes
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(ModelFileError) {
    var done = 0
    while done < bytes.count {
      let count = pwrite(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
      if count > 0 {
        done += count
      } else if count < 0 && errno == EINTR {
        continue
      } else if count == 0 || [ENOSPC, EDQUOT, EFBIG].contains(errno) {
        throw .diskFull(path: path, offset: offset + done, byteCount: bytes.count - done)
      } else {
        throw .writeFailed(path: path, offset: offset + done, code: errno)
      }
    }
  }

  func write(_ bytes: [UInt8], at offset: Int) throws(ModelFileError) {
    try bytes.withBytes { buffer throws(ModelFileError) in try write(buffer, at: offset) }
  }

  /// Cuts or extends (with zeros) to `byteCount`.
  func truncate(to byteCount: Int) throws(ModelFileError) {
    while ftruncate(descriptor, off_t(byteCount)) != 0 {
      if errno == EINTR { continue }
      if errno == ENOSPC || errno == EDQUOT || errno == EFBIG { throw .diskFull(path: path, offset: byteCount, byteCount: 0) }
      throw .writeFailed(path: path, offset: byteCount, code: errno)
    }
  }

  /// Returns when the bytes are on the disk.
  func synchronize() throws(ModelFileError) {
    while fsync(descriptor) != 0 {
      if errno == EINTR { continue }
      if errno == ENOSPC || errno == EDQUOT { throw .diskFull(path: path, offset: 0, byteCount: 0) }
      throw .writeFailed(path: path, offset: 0, code: errno)
    }
  }

  /// False where another process holds the lock.
  func lock() throws(ModelFileError) -> Bool {
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      if errno == EINTR { continue }
      if errno == EWOULDBLOCK { return false }
      throw .cannotCreate(path: path, code: errno)
    }
    return true
  }

  /// Has the system read ahead. Failing costs speed and nothing else.
  func willNeed(_ range: Range<Int>) {
    _ = posix_fadvise(descriptor, off_t(range.lowerBound), off_t(range.count), POSIX_FADV_WILLNEED)
  }
}

/// Gives a finished file its name.
enum Publication {
  /// Renames `partial` to `path` and makes the new name durable. Without `overwrite`, a file that has the name by now stays.
  static func publish(_ partial: String, as path: String, overwrite: Bool) throws(ModelFileError) {
    // A second link cannot replace a file, which renaming would.
    if !overwrite && link(partial, path) == 0 {
      unlink(partial)
    } else {
      if !overwrite {
        if errno == EEXIST { throw .outputExists(path: path) }
        // A file system without links: look, then rename.
        if SystemFile.status(of: path) != nil { throw .outputExists(path: path) }
      }
      guard rename(partial, path) == 0 else { throw .cannotPublish(path: path, code: errno) }
    }
    try synchronizeDirectory(of: path)
  }

  private static func synchronizeDirectory(of path: String) throws(ModelFileError) {
    let parent = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    let directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw .cannotPublish(path: path, code: errno) }
    defer { close(directory) }
    while fsync(directory) != 0 {
      if errno == EINTR { continue }
      // Some file systems know no such thing for a directory.
      if errno == EINVAL || errno == ENOTSUP { return }
      throw .cannotPublish(path: path, code: errno)
    }
  }

  static func remove(_ path: String) { unlink(path) }
}

/// The system's words for an errno.
func systemMessage(_ code: Int32) -> String {
  String(cString: strerror(code))
}
