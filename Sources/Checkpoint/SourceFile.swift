import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A regular file open for reading, by position: several threads may read it at once.
public final class SourceFile: Sendable {
  /// As it was given.
  public let path: String
  /// Its length when it was opened.
  public let byteCount: Int
  /// When it was last changed, in nanoseconds since 1970.
  public let modified: Int64

  private let descriptor: Int32
  /// The address of the whole file in memory, mapped when first asked for.
  private let mapped = Mutex<UInt?>(nil)

  public init(path: String) throws(CheckpointError) {
    // Without O_NONBLOCK opening a pipe would wait for a writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw .cannotOpen(file: path, reason: systemError(errno)) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      let reason = systemError(errno)
      close(descriptor)
      throw .cannotOpen(file: path, reason: reason)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw .notAFile(file: path)
    }
    self.path = path
    self.descriptor = descriptor
    byteCount = Int(status.st_size)
    modified = Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
  }

  deinit {
    mapped.withLock { if let address = $0 { munmap(UnsafeMutableRawPointer(bitPattern: address), byteCount) } }
    close(descriptor)
  }

  /// Fills `buffer` with the bytes from `offset` on.
  public func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(CheckpointError) {
    var done = 0
    while done < buffer.count {
      guard let base = buffer.baseAddress else { return }
      let count = pread(descriptor, base + done, buffer.count - done, off_t(offset + done))
      if count > 0 {
        done += count
      } else if count == 0 {
        throw .truncatedWhileReading(file: path, offset: offset + done)
      } else if errno != EINTR {
        throw .cannotRead(file: path, reason: systemError(errno))
      }
    }
  }

  /// All of it; refused if it has more than `limit` bytes.
  func contents(limit: Int) throws(CheckpointError) -> [UInt8] {
    guard byteCount <= limit else { throw .fileTooLarge(file: path, bytes: byteCount, limit: limit) }
    return try bytes(0..<byteCount)
  }

  /// A copy of the bytes in `range`, which must lie inside the file.
  package func bytes(_ range: Range<Int>) throws(CheckpointError) -> [UInt8] {
    var failure: CheckpointError?
    let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
      do throws(CheckpointError) {
        try read(at: range.lowerBound, into: UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: buffer[..<range.count])))
        count = range.count
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return bytes
  }

  /// Tells the system that the bytes in `range` will be read soon: it reads them ahead while the caller computes.
  public func willRead(_ range: Range<Int>) {
    posix_fadvise(descriptor, off_t(range.lowerBound), off_t(range.count), POSIX_FADV_WILLNEED)
  }

  /// The whole file in memory, read page by page when touched; valid as long as this object.
  func mapping() throws(CheckpointError) -> UnsafeRawBufferPointer {
    var failure: CheckpointError?
    let address = mapped.withLock { address in
      if address == nil {
        if let base = mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED {
          address = UInt(bitPattern: base)
        } else {
          failure = .cannotRead(file: path, reason: systemError(errno))
        }
      }
      return address
    }
    if let failure { throw failure }
    return UnsafeRawBufferPointer(start: address.flatMap { UnsafeRawPointer(bitPattern: $0) }, count: byteCount)
  }

  /// Gives the mapped pages that lie wholly inside `range` back to the system; they are read again when touched again.
  func releasePages(_ range: Range<Int>) {
    let page = Int(getpagesize())
    let first = (range.lowerBound + page - 1) / page * page
    let end = range.upperBound / page * page
    mapped.withLock { address in
      guard let address, first < end else { return }
      madvise(UnsafeMutableRawPointer(bitPattern: address + UInt(first)), end - first, MADV_DONTNEED)
    }
  }
}

/// The system's words for an error number.
func systemError(_ number: Int32) -> String { String(cString: strerror(number)) }
