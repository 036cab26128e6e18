#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Zeroed memory at a 64-byte boundary, owned by its object.
///
/// Blocks of a mebibyte or more are mapped by themselves: the system has them back the moment the object goes, pages that nobody writes
/// cost nothing, and huge pages are asked for.
package final class AlignedMemory: @unchecked Sendable {
  /// The first byte; valid as long as the object lives.
  package let base: UnsafeMutableRawPointer
  package let byteCount: Int
  private let isMapped: Bool

  /// Room for one full vector beyond the end: a kernel may load, never store, there.
  private static let margin = 64

  /// `nil` when the system has no more memory, or where the count is no number of bytes.
  package init?(byteCount: Int) {
    guard byteCount >= 0, byteCount <= Int.max - AlignedMemory.margin else { return nil }
    self.byteCount = byteCount
    let size = byteCount + AlignedMemory.margin
    isMapped = byteCount >= 1 << 20
    if isMapped {
      guard let mapped = AlignedMemory.map(size) else { return nil }
      madvise(mapped, size, 14)  // MADV_HUGEPAGE
      base = mapped
    } else {
      var pointer: UnsafeMutableRawPointer?
      guard posix_memalign(&pointer, 64, size) == 0, let pointer else { return nil }
      memset(pointer, 0, size)
      base = pointer
    }
  }

  /// Zeroed pages. Those that may hold a huge page begin where one can. The system by itself maps wherever there is room, and then the
  /// first and the last mebibytes of a block get small pages, which cost a third of the speed at which fresh memory is filled.
  private static func map(_ size: Int) -> UnsafeMutableRawPointer? {
    guard size <= Int.max - 2 * hugePage else { return nil }
    let kept = wholePages(size)
    let spare = size >= hugePage ? hugePage : 0
    guard
      let start = mmap(nil, kept + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), start != MAP_FAILED
    else { return nil }
    guard spare > 0 else { return start }
    let head = (hugePage - Int(bitPattern: start) % hugePage) % hugePage
    if head > 0 { munmap(start, head) }
    if head < spare { munmap(start + head + kept, spare - head) }
    return start + head
  }

  private static let hugePage = 2 << 20

  /// Up to a multiple of every page size that there is.
  private static func wholePages(_ size: Int) -> Int { (size + 0xFFFF) & ~0xFFFF }

  deinit {
    if isMapped { munmap(base, AlignedMemory.wholePages(byteCount + AlignedMemory.margin)) } else { free(base) }
  }
}
