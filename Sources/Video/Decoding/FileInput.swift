import CLibAV
import Support

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What the system says of a path.
enum PathKind {
  case file(size: Int64)
  case directory

  init(of path: String) throws(VideoError) {
    // A zero byte would end the name early, and another file would be opened.
    guard !path.isEmpty, !path.utf8.contains(0) else { throw .notFound(path: path) }
    guard let status = FileStatus(path: path) else {
      let error = SystemError()
      throw [ENOENT, ENOTDIR].contains(error.code) ? .notFound(path: path) : .unreadable(path: path, reason: error.message)
    }
    switch status.kind {
    case .directory: self = .directory
    case .file: self = .file(size: Int64(status.byteCount))
    default: throw .notAFile(path: path)
    }
  }
}

/// A file that libav reads through, so that names are never taken for URLs or patterns, reading stops when it is cancelled, and the
/// system's own error is known.
final class FileInput {
  let path: String
  let size: Int64
  /// Asks the caller whether to stop.
  let cancelled: () -> Bool
  /// `errno` of the last read that failed, or zero.
  private(set) var readError: Int32 = 0

  private let descriptor: Int32
  private var offset: Int64 = 0

  init(path: String, cancelled: @escaping () -> Bool) throws(VideoError) {
    guard case .file(let size) = try PathKind(of: path) else { throw .notAFile(path: path) }
    guard size > 0 else { throw .empty(path: path) }
    do throws(SystemError) { descriptor = try SystemCalls.open(path, O_RDONLY) } catch {
      throw .unreadable(path: path, reason: error.message)
    }
    self.path = path
    self.size = size
    self.cancelled = cancelled
  }

  deinit { close(descriptor) }

  /// Up to `count` bytes from where the last call ended; libav's codes for end and failure.
  fileprivate func read(_ target: UnsafeMutablePointer<UInt8>, _ count: Int32) -> Int32 {
    if cancelled() { return lav_error_exit }
    guard count > 0 else { return 0 }
    do throws(SystemError) {
      let got = try SystemCalls.read(descriptor, into: UnsafeMutableRawBufferPointer(start: target, count: Int(count)), at: Int(offset))
      offset += Int64(got)
      return got > 0 ? Int32(got) : lav_error_end
    } catch {
      readError = error.code
      return lav_error_of_errno(error.code)
    }
  }

  fileprivate func seek(_ distance: Int64, _ whence: Int32) -> Int64 {
    let base: Int64
    switch whence & ~AVSEEK_FORCE {
    case AVSEEK_SIZE: return size
    case SEEK_SET: base = 0
    case SEEK_CUR: base = offset
    case SEEK_END: base = size
    default: return Int64(lav_error_of_errno(EINVAL))
    }
    let (target, overflow) = base.addingReportingOverflow(distance)
    guard !overflow, target >= 0 else { return Int64(lav_error_of_errno(EINVAL)) }
    offset = target
    return target
  }

  /// All bytes; a file of more than `limit` is refused.
  func readAll(limit: Int) throws(VideoError) -> [UInt8] {
    guard size <= limit else { throw .tooManyBytes(path: path, bytes: Int(size), limit: limit) }
    return try read(first: Int(size))
  }

  /// The first bytes, up to `limit`.
  func read(first limit: Int) throws(VideoError) -> [UInt8] {
    var failure: Int32 = 0
    let count = min(limit, Int(size))
    try LibAV.reserve(count)
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while filled < count, failure == 0, let base = buffer.baseAddress {
        let got = read(base + filled, Int32(min(count - filled, 1 << 20)))
        if got < 0 { failure = got } else { filled += Int(got) }
      }
    }
    if failure == lav_error_exit { throw .cancelled }
    // A file that became shorter meanwhile is what it is now.
    guard failure == 0 || failure == lav_error_end else { throw .unreadable(path: path, reason: LibAV.text(failure)) }
    return bytes
  }
}

/// libav's handle of a `FileInput`; it must outlive the format context that reads through it.
final class InputContext {
  let pointer: UnsafeMutablePointer<AVIOContext>
  private let input: FileInput

  init(_ input: FileInput) throws(VideoError) {
    let capacity: Int32 = 1 << 16
    guard let buffer = av_malloc(Int(capacity)) else { throw .outOfMemory }
    let opaque = Unmanaged.passUnretained(input).toOpaque()
    let context = avio_alloc_context(
      buffer.assumingMemoryBound(to: UInt8.self), capacity, 0, opaque,
      { opaque, target, count in
        guard let opaque, let target else { return lav_error_of_errno(EINVAL) }
        return Unmanaged<FileInput>.fromOpaque(opaque).takeUnretainedValue().read(target, count)
      }, nil,
      { opaque, distance, whence in
        guard let opaque else { return Int64(lav_error_of_errno(EINVAL)) }
        return Unmanaged<FileInput>.fromOpaque(opaque).takeUnretainedValue().seek(distance, whence)
      })
    guard let context else {
      av_free(buffer)
      throw .outOfMemory
    }
    pointer = context
    self.input = input
  }

  deinit {
    // libav may have replaced the buffer meanwhile.
    av_free(pointer.pointee.buffer)
    var context: UnsafeMutablePointer<AVIOContext>? = pointer
    avio_context_free(&context)
  }
}
