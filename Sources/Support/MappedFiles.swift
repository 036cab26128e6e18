import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The memory that is a file's own pages. Touching a page that the file no longer has is a bus error, which says neither which file nor
/// why; with `reportLostPages` the process ends with a line that does.
package enum MappedFiles {
  private struct Entry {
    var start: UInt
    var end: UInt
    /// Ends with a zero; kept for good, one for each name.
    var name: UnsafePointer<CChar>?
  }

  /// Written under the lock, read by the signal's handler without: it ends the process whatever it meets.
  nonisolated(unsafe) private static let entries: UnsafeMutablePointer<Entry> = {
    let entries = UnsafeMutablePointer<Entry>.allocate(capacity: capacity)
    entries.initialize(repeating: Entry(start: 0, end: 0, name: nil), count: capacity)
    return entries
  }()
  /// Mappings beyond it are not told apart from other bus errors.
  private static let capacity = 4096

  private struct Names: @unchecked Sendable { var byPath: [String: UnsafePointer<CChar>] = [:] }
  private static let names = Mutex(Names())

  /// Notes a mapping; returns its place for `remove`.
  package static func add(_ base: UnsafeRawPointer, byteCount: Int, path: String) -> Int? {
    names.withLock { names in
      guard let place = (0..<capacity).first(where: { entries[$0].start == 0 }) else { return nil }
      var name = names.byPath[path]
      if name == nil {
        name = strdup(path.escaped(limit: 4096)).map { UnsafePointer($0) }
        names.byPath[path] = name
      }
      let start = UInt(bitPattern: base)
      entries[place] = Entry(start: start, end: start + UInt(byteCount), name: name)
      return place
    }
  }

  package static func remove(_ place: Int?) {
    guard let place else { return }
    names.withLock { _ in entries[place] = Entry(start: 0, end: 0, name: nil) }
  }

  /// From now on a page that its file has lost ends the process with one line on the error stream and `status`.
  package static func reportLostPages() {
    // Made now: a handler must not be the first to ask for them.
    _ = entries
    var action = sigaction()
    action.sa_flags = SA_SIGINFO
    action.__sigaction_handler.sa_sigaction = { _, info, _ in
      if let address = info?.pointee._sifields._sigfault.si_addr { MappedFiles.report(UInt(bitPattern: address)) }
      // No mapping of ours: as it would have been.
      signal(SIGBUS, SIG_DFL)
      raise(SIGBUS)
    }
    sigaction(SIGBUS, &action, nil)
  }

  /// Only calls that a signal's handler may make.
  private static func report(_ address: UInt) {
    for place in 0..<capacity where entries[place].start <= address && address < entries[place].end {
      guard let name = entries[place].name else { continue }
      if isatty(STDERR_FILENO) == 1 { write("\r\u{1B}[K") }
      write("error: ")
      _ = Self.write(name, strlen(name))
      write(": became shorter while it was used\n")
      _exit(1)
    }
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
