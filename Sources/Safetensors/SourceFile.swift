import Support
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A regular file open for reading, by position: several threads may read it at once.
package final class SourceFile: Sendable {
  /// As it was given.
  package let path: String
  /// Its length when it was opened.
  package var byteCount: Int { opened.byteCount }
  /// When it was last changed, in nanoseconds since 1970.
  package var modified: Int64 { opened.modified }
  private let opened: FileStatus

  private let descriptor: Int32
  /// The address of the whole file in memory, mapped when first asked for.
  private let mapped = Mutex<UInt?>(nil)
  private let losses = PageLosses()
  /// In the list of mapped files.
  private let place = Mutex<Int?>(nil)

  package init(path: String) throws(CheckpointError) {
    // Without O_NONBLOCK opening a pipe would wait for a writer.
    let status: FileStatus
    do throws(SystemError) {
      descriptor = try SystemCalls.open(path, O_RDONLY | O_NONBLOCK)
      status = try FileStatus(descriptor: descriptor)
    } catch { throw .cannotOpen(file: path, reason: FileKind(path: path).instead ?? error.message) }
    self.path = path
    opened = status
    guard status.kind == .file else { throw .notAFile(file: path) }
    if case .lfsPointer = FileKind(path: path) { throw .lfsPointer(file: path) }
  }

  deinit {
    MappedFiles.remove(place.withLock { $0 })
    mapped.withLock { if let address = $0 { munmap(UnsafeMutableRawPointer(bitPattern: address), byteCount) } }
    close(descriptor)
  }

  /// Fills `buffer` with the bytes from `offset` on.
  package func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(CheckpointError) {
    let count: Int
    do throws(SystemError) { count = try SystemCalls.read(descriptor, into: buffer, at: offset) } catch {
      throw .cannotRead(file: path, reason: error.message)
    }
    guard count == buffer.count else { throw .truncatedWhileReading(file: path, offset: offset + count) }
  }

  /// Throws where the file was written to, or cut, since it was opened. A file that was replaced or removed is still there for who has it
  /// open.
  package func checkUnchanged() throws(CheckpointError) {
    let status: FileStatus
    do throws(SystemError) { status = try FileStatus(descriptor: descriptor) } catch {
      throw .cannotRead(file: path, reason: error.message)
    }
    guard !losses.happened, status.hasSameBytes(as: opened) else { throw .changed(file: path) }
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
  package func willRead(_ range: Range<Int>) {
    posix_fadvise(descriptor, off_t(range.lowerBound), off_t(range.count), POSIX_FADV_WILLNEED)
  }

  /// The whole file in memory, read page by page when touched; valid as long as this object.
  func mapping() throws(CheckpointError) -> UnsafeRawBufferPointer {
    var failure: CheckpointError?
    let address = mapped.withLock { address in
      if address == nil {
        if let base = mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED {
          address = UInt(bitPattern: base)
          place.withLock { $0 = MappedFiles.add(base, byteCount: byteCount, path: path, losses) }
        } else {
          failure = .cannotRead(file: path, reason: SystemError().message)
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
