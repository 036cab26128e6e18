import Support

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Writes files that are there whole or not at all.
enum AtomicFile {
  /// Writes `bytes` under another name beside `path`, then gives it its name; an earlier file of that name is replaced.
  static func write(_ bytes: UnsafeRawBufferPointer, to path: String) throws(VideoError) {
    guard !path.isEmpty, !path.utf8.contains(0) else { throw .unwritable(path: path, reason: "not a name of a file") }
    let temporary = "\(path).\(getpid()).partial"
    let descriptor = temporary.withFileName { open($0, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666) }
    guard descriptor >= 0 else { throw failure(path) }
    do throws(VideoError) {
      try writeAll(bytes, to: descriptor, path)
      guard fsync(descriptor) == 0 else { throw failure(path) }
    } catch {
      close(descriptor)
      _ = temporary.withFileName { unlink($0) }
      throw error
    }
    guard close(descriptor) == 0, temporary.withFileName({ from in path.withFileName { rename(from, $0) } }) == 0 else {
      let error = failure(path)
      _ = temporary.withFileName { unlink($0) }
      throw error
    }
  }

  private static func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, _ path: String) throws(VideoError) {
    var done = 0
    while done < bytes.count, let base = bytes.baseAddress {
      let written = systemWrite(descriptor, base + done, bytes.count - done)
      if written > 0 {
        done += written
      } else if errno != EINTR {
        throw failure(path)
      }
    }
  }

  private static func failure(_ path: String) -> VideoError { .unwritable(path: path, reason: String(cString: strerror(errno))) }
}

/// The system's `write`, which a method of this name would hide.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int { write(descriptor, bytes, count) }
