#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Zeroed memory at a 64-byte boundary, owned by its object.
///
/// Blocks of a mebibyte or more are mapped by themselves: the system has them back the moment the object goes, pages that nobody writes
/// cost nothing, and huge pages are asked for.
public final class AlignedMemory: @unchecked Sendable {
  /// The first byte; valid as long as the object lives.
  public let base: UnsafeMutableRawPointer
  public let byteCount: Int
  private let isMapped: Bool

  /// Room for one full vector beyond the end: a kernel may load, never store, there.
  private static let margin = 64

  /// `nil` when the system has no more memory, or where the count is no number of bytes.
  public init?(byteCount: Int) {
    guard byteCount >= 0, byteCount <= Int.max - AlignedMemory.margin else { return nil }
    self.byteCount = byteCount
    let size = byteCount + AlignedMemory.margin
    isMapped = byteCount >= 1 << 20
    if isMapped {
      guard
        let mapped = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), mapped != MAP_FAILED
      else { return nil }
      madvise(mapped, size, 14 /* MADV_HUGEPAGE */)
      base = mapped
    } else {
      var pointer: UnsafeMutableRawPointer?
      guard posix_memalign(&pointer, 64, size) == 0, let pointer else { return nil }
      memset(pointer, 0, size)
      base = pointer
    }
  }

  deinit {
    if isMapped { munmap(base, byteCount + AlignedMemory.margin) } else { free(base) }
  }
}
