import Support

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

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

  /// Gives the pages back; they are read from the file again when they are next touched.
  func dropPages() { madvise(pages, pagesByteCount, MADV_DONTNEED) }

  /// Has the system read the file ahead.
  func willNeed() { madvise(pages, pagesByteCount, MADV_WILLNEED) }
}
