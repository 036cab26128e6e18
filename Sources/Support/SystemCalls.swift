#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// An error number of a system call that failed.
package struct SystemError: Error, Equatable {
  package let code: Int32

  package init(_ code: Int32) { self.code = code }

  /// The last call's.
  package init() { code = errno }

  /// There is no room for what was to be written: the disk is full, or a quota or the largest size of a file is reached.
  package var isNoRoom: Bool { [ENOSPC, EDQUOT, EFBIG].contains(code) }

  /// The system's words.
  package var message: String { String(cString: strerror(code)) }
}

/// Calls of POSIX on names and descriptors: interrupted ones are repeated, short ones go on.
package enum SystemCalls {
  /// `open(2)`, close-on-exec. A name with a zero byte, which would be cut there, is refused.
  package static func open(_ path: String, _ flags: Int32, mode: mode_t = 0o666) throws(SystemError) -> Int32 {
    guard !path.utf8.contains(0) else { throw SystemError(EINVAL) }
    while true {
      let descriptor = path.withFileName { name in
        #if canImport(Glibc)
          Glibc.open(name, flags | O_CLOEXEC, mode)
        #else
          Musl.open(name, flags | O_CLOEXEC, mode)
        #endif
      }
      if descriptor >= 0 { return descriptor }
      if errno != EINTR { throw SystemError() }
    }
  }

  /// Writes all of `bytes` at the descriptor's position.
  package static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) throws(SystemError) {
    try transfer(bytes.count) { done, count in
      #if canImport(Glibc)
        Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, count)
      #else
        Musl.write(descriptor, bytes.baseAddress.map { $0 + done }, count)
      #endif
    }
  }

  /// Writes all of `bytes` at `offset`.
  package static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, at offset: Int) throws(SystemError) {
    try transfer(bytes.count) { done, count in pwrite(descriptor, bytes.baseAddress.map { $0 + done }, count, off_t(offset + done)) }
  }

  /// Repeats a call that writes `count` bytes after the first `done` until all `total` are written. Linux takes at most 2 GiB at once.
  private static func transfer(_ total: Int, _ call: (_ done: Int, _ count: Int) -> Int) throws(SystemError) {
    var done = 0
    while done < total {
      let count = call(done, min(total - done, 1 << 30))
      if count > 0 {
        done += count
      } else if count == 0 {
        throw SystemError(ENOSPC)
      } else if errno != EINTR {
        throw SystemError()
      }
    }
  }

  /// Fills `buffer` with the bytes from `offset` on; fewer where the file ends. Returns how many.
  package static func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(SystemError) -> Int {
    var done = 0
    while done < buffer.count {
      let count = pread(descriptor, buffer.baseAddress.map { $0 + done }, min(buffer.count - done, 1 << 30), off_t(offset + done))
      if count == 0 { break }
      if count > 0 { done += count } else if errno != EINTR { throw SystemError() }
    }
    return done
  }

  /// All of a file; nil where it is none, or longer than `limit`.
  package static func contents(of path: String, limit: Int) throws(SystemError) -> [UInt8]? {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer.
    let descriptor = try open(path, O_RDONLY | O_NONBLOCK)
    defer { close(descriptor) }
    let status = try FileStatus(descriptor: descriptor)
    guard status.kind == .file, status.byteCount <= limit else { return nil }
    var bytes = [UInt8](repeating: 0, count: status.byteCount)
    let result = bytes.withUnsafeMutableBytes { buffer -> Result<Int, SystemError> in
      do throws(SystemError) { return .success(try read(descriptor, into: buffer, at: 0)) } catch { return .failure(error) }
    }
    bytes.removeLast(bytes.count - (try result.get()))
    return bytes
  }

  /// Returns when what was written is on the disk. A descriptor of a directory makes its names durable, where the file system can.
  package static func synchronize(_ descriptor: Int32) throws(SystemError) {
    while fsync(descriptor) != 0 {
      if errno == EINTR { continue }
      // Some file systems know no such thing, for a directory above all.
      if errno == EINVAL || errno == ENOTSUP { return }
      throw SystemError()
    }
  }

  /// Makes the names in the directory that holds `path` durable.
  package static func synchronizeDirectory(of path: String) throws(SystemError) {
    let directory = try open(parent(of: path), O_RDONLY | O_DIRECTORY)
    defer { close(directory) }
    try synchronize(directory)
  }

  /// The directory that a name is in, as a name.
  package static func parent(of path: String) -> String {
    path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
  }

  /// False where another process holds the lock, which can only be if nobody is `waiting` for it.
  package static func lock(_ descriptor: Int32, waiting: Bool = false) throws(SystemError) -> Bool {
    while flock(descriptor, waiting ? LOCK_EX : LOCK_EX | LOCK_NB) != 0 {
      if errno == EINTR { continue }
      if errno == EWOULDBLOCK { return false }
      throw SystemError()
    }
    return true
  }

  /// The same where a lock is a courtesy: on a file system that knows none, whoever asks has it.
  package static func holdsLock(_ descriptor: Int32, waiting: Bool = false) -> Bool {
    do throws(SystemError) { return try lock(descriptor, waiting: waiting) } catch { return true }
  }

  package static func rename(_ old: String, to new: String) throws(SystemError) {
    let result = old.withFileName { old in
      new.withFileName { new in
        #if canImport(Glibc)
          Glibc.rename(old, new)
        #else
          Musl.rename(old, new)
        #endif
      }
    }
    if result != 0 { throw SystemError() }
  }

  /// EEXIST where something has the new name, EINVAL on a file system that cannot tell.
  package static func renameReplacingNothing(_ old: String, to new: String) throws(SystemError) {
    // Swift's Glibc does not import renameat2.
    typealias Call = @convention(c) (Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32) -> Int32
    guard let symbol = dlsym(nil, "renameat2") else { throw SystemError(ENOSYS) }
    let call = unsafeBitCast(symbol, to: Call.self)
    let noReplace: UInt32 = 1
    let result = old.withFileName { old in new.withFileName { new in call(AT_FDCWD, old, AT_FDCWD, new, noReplace) } }
    if result != 0 { throw SystemError() }
  }

  package static func link(_ old: String, to new: String, followingLinks: Bool = false) throws(SystemError) {
    let flags = followingLinks ? AT_SYMLINK_FOLLOW : 0
    let result = old.withFileName { old in new.withFileName { new in linkat(AT_FDCWD, old, AT_FDCWD, new, flags) } }
    if result != 0 { throw SystemError() }
  }

  /// Removes a name, if it is there.
  package static func remove(_ path: String) { _ = path.withFileName { unlink($0) } }
}

/// What identifies a file, and whether it changed.
package struct FileStatus: Equatable, Sendable {
  package enum Kind: String, Sendable {
    case file = "a file"
    case directory = "a directory"
    case link = "a symbolic link"
    case device = "a device"
    case pipe = "a pipe"
    case socket = "a socket"
  }

  package var device: UInt64
  package var inode: UInt64
  package var links: Int
  package var owner: UInt32
  /// The permission bits.
  package var mode: UInt32
  package var kind: Kind
  package var byteCount: Int
  /// When content, and when anything, was last changed; nanoseconds since 1970.
  package var modified: Int64
  package var changed: Int64

  package init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    links = Int(status.st_nlink)
    owner = status.st_uid
    mode = status.st_mode & 0o7777
    byteCount = Int(status.st_size)
    modified = Self.nanoseconds(status.st_mtim)
    changed = Self.nanoseconds(status.st_ctim)
    switch status.st_mode & S_IFMT {
    case S_IFDIR: kind = .directory
    case S_IFLNK: kind = .link
    case S_IFCHR, S_IFBLK: kind = .device
    case S_IFIFO: kind = .pipe
    case S_IFSOCK: kind = .socket
    default: kind = .file
    }
  }

  private static func nanoseconds(_ time: timespec) -> Int64 { Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec) }

  package init(descriptor: Int32) throws(SystemError) {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw SystemError() }
    self.init(status)
  }

  /// nil where there is nothing of that name. With `followingLinks` a link is what it leads to.
  package init?(path: String, followingLinks: Bool = true) {
    var status = stat()
    guard path.withFileName({ followingLinks ? stat($0, &status) : lstat($0, &status) }) == 0 else { return nil }
    self.init(status)
  }

  /// Nothing at all was done to it.
  package func isUntouched(since other: FileStatus) -> Bool { hasSameBytes(as: other) && changed == other.changed }

  /// Nothing was written to it, as far as its length and time tell. Names may have been given and taken since.
  package func hasSameBytes(as other: FileStatus) -> Bool {
    isSameFile(as: other) && byteCount == other.byteCount && modified == other.modified
  }

  package func isSameFile(as other: FileStatus) -> Bool { device == other.device && inode == other.inode }
}
