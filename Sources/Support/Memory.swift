import Synchronization

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

/// Whether an open file has lost pages that were mapped of it: what was computed from them since is worth nothing.
package final class PageLosses: @unchecked Sendable {
  /// Set by a signal's handler.
  fileprivate let mark = UnsafeMutablePointer<UInt8>.allocate(capacity: 1)

  package init() { mark.initialize(to: 0) }
  deinit { mark.deallocate() }

  package var happened: Bool { mark.pointee != 0 }
}

/// The memory that is a file's own pages. Touching a page that the file no longer has, or that its disk cannot read, is a bus error, which
/// says neither which file nor why. With `reportLostPages` the process ends with a line that does; with `outliveLostPages` it reads zeros,
/// and `PageLosses` say so.
package enum MappedFiles {
  private struct Entry {
    var start: UInt = 0
    var end: UInt = 0
    /// Ends with a zero; kept for good, one for each name.
    var name: UnsafePointer<CChar>?
    var losses: UnsafeMutablePointer<UInt8>?
  }

  /// Written under the lock, read by the signal's handler without: it ends the process whatever it meets.
  nonisolated(unsafe) private static let entries: UnsafeMutablePointer<Entry> = {
    let entries = UnsafeMutablePointer<Entry>.allocate(capacity: capacity)
    entries.initialize(repeating: Entry(), count: capacity)
    return entries
  }()
  /// Mappings beyond it are not told apart from other bus errors.
  private static let capacity = 4096

  private struct Names: @unchecked Sendable { var byPath: [String: UnsafePointer<CChar>] = [:] }
  private static let names = Mutex(Names())

  /// Notes a mapping, whose owner keeps `losses`; returns its place for `remove`.
  package static func add(_ base: UnsafeRawPointer, byteCount: Int, path: String, _ losses: PageLosses) -> Int? {
    names.withLock { names in
      guard let place = (0..<capacity).first(where: { entries[$0].start == 0 }) else { return nil }
      var name = names.byPath[path]
      if name == nil {
        name = strdup(path.escaped(limit: 4096)).map { UnsafePointer($0) }
        names.byPath[path] = name
      }
      let start = UInt(bitPattern: base)
      entries[place] = Entry(start: start, end: start + UInt(byteCount), name: name, losses: losses.mark)
      return place
    }
  }

  package static func remove(_ place: Int?) {
    guard let place else { return }
    names.withLock { _ in entries[place] = Entry() }
  }

  nonisolated(unsafe) private static var outlives = false
  nonisolated(unsafe) private static var pageSize: UInt = 4096

  /// From now on lost pages are zeros: for a process that has more to do than what needs them, and asks for losses before it uses what
  /// came of any page.
  package static func outliveLostPages() {
    reportLostPages()
    outlives = true
  }

  /// From now on a page that its file has lost ends the process with one line on the error stream and status 1.
  package static func reportLostPages() {
    // Made now: a handler must not be the first to ask for them.
    _ = entries
    pageSize = UInt(max(4096, sysconf(Int32(_SC_PAGESIZE))))
    var action = sigaction()
    action.sa_flags = SA_SIGINFO
    action.__sigaction_handler.sa_sigaction = { _, info, _ in
      if let address = info?.pointee._sifields._sigfault.si_addr, MappedFiles.handle(UInt(bitPattern: address)) { return }
      // No mapping of ours: as it would have been.
      signal(SIGBUS, SIG_DFL)
      raise(SIGBUS)
    }
    sigaction(SIGBUS, &action, nil)
  }

  /// Whether the address can be read now. Only calls that a signal's handler may make, and the system's own `mmap`.
  private static func handle(_ address: UInt) -> Bool {
    for place in 0..<capacity where entries[place].start <= address && address < entries[place].end {
      if outlives { return fill(entries[place], from: address) }
      guard let name = entries[place].name else { continue }
      if isatty(STDERR_FILENO) == 1 { write("\r\u{1B}[K") }
      write("error: ")
      _ = Self.write(name, strlen(name))
      write(": became shorter while it was used, or cannot be read\n")
      _exit(1)
    }
    return false
  }

  /// Zeros up to the mapping's end: the next page would be lost as well.
  private static func fill(_ entry: Entry, from address: UInt) -> Bool {
    entry.losses?.pointee = 1
    let start = address / pageSize * pageSize
    let end = (entry.end + pageSize - 1) / pageSize * pageSize
    return mmap(UnsafeMutableRawPointer(bitPattern: start), Int(end - start), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
      != MAP_FAILED
  }

  private static func write(_ text: StaticString) {
    text.utf8Start.withMemoryRebound(to: CChar.self, capacity: text.utf8CodeUnitCount) { _ = write($0, text.utf8CodeUnitCount) }
  }

  private static func write(_ bytes: UnsafePointer<CChar>, _ count: Int) -> Int {
    #if canImport(Glibc)
      Glibc.write(STDERR_FILENO, bytes, count)
    #else
      Musl.write(STDERR_FILENO, bytes, count)
    #endif
  }
}
