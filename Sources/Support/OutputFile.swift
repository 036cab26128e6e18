#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Why a file is not written.
package enum OutputError: Error, Equatable {
  /// Something has the name, and nobody asked for it to be replaced.
  case exists(path: String)
  /// What has the name is no file: replacing it would lose more than bytes.
  case notReplaceable(path: String, kind: FileStatus.Kind)
  /// It is what is read, under this or another name.
  case isInput(path: String, input: String)
  /// Another process is writing it.
  case locked(path: String)
  case cannotWrite(path: String, SystemError)
  /// What means standard output elsewhere.
  case dash
  case unnamed
}

extension OutputError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .exists(let path): "\(path.escaped()): exists already"
    case .notReplaceable(let path, let kind): "\(path.escaped()): is \(kind.rawValue), expected the name of a file to write"
    case .isInput(let path, let input):
      path == input ? "\(path.escaped()): is what is read" : "\(path.escaped()): is \(input.escaped()), which is read"
    case .locked(let path): "\(path.escaped()): another process is writing it"
    case .unnamed: "the name of the file to write is empty"
    case .dash: "-: expected the name of a file, standard output is not written to; ./- is a file of this name"
    case .cannotWrite(let path, let error): "\(path.escaped()): cannot write: \(error.message)"
    }
  }
}

/// A file that appears under its name when it is whole, or not at all.
///
/// Until then it has no name where the file system can do that, else one of its own beside the output. It never replaces a directory, a
/// device or a link, nor anything that is read.
package final class OutputFile {
  package let path: String
  private let replacing: Bool
  private let descriptor: Int32
  /// The name it has until it is published; nil for none.
  private var temporary: String?

  /// Throws what keeps a file from being written to `path`. Without `replacing`, a file that is there does; `inputs` are the names of what
  /// is read.
  package static func check(_ path: String, replacing: Bool, inputs: [String] = []) throws(OutputError) {
    if path == "-" { throw .dash }
    if path.isEmpty { throw .unnamed }
    guard !path.hasSuffix("/") else { throw .notReplaceable(path: path, kind: .directory) }
    guard let found = FileStatus(path: path, followingLinks: false) else { return }
    for input in inputs {
      if let status = FileStatus(path: input), let target = FileStatus(path: path), status.isSameFile(as: target) {
        throw .isInput(path: path, input: input)
      }
    }
    guard found.kind == .file else { throw .notReplaceable(path: path, kind: found.kind) }
    if !replacing { throw .exists(path: path) }
  }

  package init(_ path: String, replacing: Bool, inputs: [String] = [], mode: mode_t = 0o666) throws(OutputError) {
    try Self.check(path, replacing: replacing, inputs: inputs)
    self.path = path
    self.replacing = replacing
    do throws(SystemError) {
      if let nameless = try Self.nameless(in: SystemCalls.parent(of: path), mode) {
        (descriptor, temporary) = (nameless, nil)
      } else {
        let named = Self.temporaryName(path)
        (descriptor, temporary) = (try Self.locked(named, mode), named)
      }
    } catch { throw error.code == EWOULDBLOCK ? .locked(path: path) : .cannotWrite(path: path, error) }
  }

  deinit {
    close(descriptor)
    if let temporary { SystemCalls.remove(temporary) }
  }

  /// The same for all processes, so that the next one finds what one left that was killed. Who has a file of this name holds its lock.
  private static func temporaryName(_ path: String) -> String { "\(path).new.partial" }

  /// A new file of that name, locked; EWOULDBLOCK where another process has it.
  private static func locked(_ named: String, _ mode: mode_t) throws(SystemError) -> Int32 {
    while true {
      try removeAbandoned(named, waiting: false)
      do throws(SystemError) {
        let descriptor = try SystemCalls.open(named, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: mode)
        // Before it was locked, another process may have taken it for one that was left.
        if SystemCalls.holdsLock(descriptor), try isNamed(named, descriptor) { return descriptor }
        close(descriptor)
      } catch { if error.code != EEXIST { throw error } }
    }
  }

  /// Takes away what a process left under a temporary name that ended before it was done. Where one is at work there, waits for it, or
  /// throws EWOULDBLOCK.
  private static func removeAbandoned(_ named: String, waiting: Bool) throws(SystemError) {
    guard FileStatus(path: named, followingLinks: false) != nil else { return }
    if let descriptor = try? SystemCalls.open(named, O_RDWR | O_NOFOLLOW | O_NONBLOCK) {
      defer { close(descriptor) }
      guard SystemCalls.holdsLock(descriptor, waiting: waiting) else { throw SystemError(EWOULDBLOCK) }
      if try !isNamed(named, descriptor) { return }
    }
    SystemCalls.remove(named)
    if FileStatus(path: named, followingLinks: false)?.kind == .directory { throw SystemError(EISDIR) }
  }

  private static func isNamed(_ path: String, _ descriptor: Int32) throws(SystemError) -> Bool {
    FileStatus(path: path, followingLinks: false)?.isSameFile(as: try FileStatus(descriptor: descriptor)) == true
  }

  /// A file without a name, which vanishes with its process; nil where that cannot be had, or could not be given a name later.
  private static func nameless(in directory: String, _ mode: mode_t) throws(SystemError) -> Int32? {
    // O_TMPFILE, which Swift does not import.
    let temporaryFile = O_DIRECTORY | (1 << 22)
    do throws(SystemError) {
      let descriptor = try SystemCalls.open(directory, temporaryFile | O_WRONLY, mode: mode)
      if FileStatus(path: Self.link(to: descriptor)) != nil { return descriptor }
      close(descriptor)
      return nil
    } catch {
      // A file system, or a kernel, that knows no such file.
      if [EOPNOTSUPP, EISDIR, EINVAL, ENOENT].contains(error.code), FileStatus(path: directory)?.kind == .directory { return nil }
      throw error
    }
  }

  private static func link(to descriptor: Int32) -> String { "/proc/self/fd/\(descriptor)" }

  /// Adds bytes at the end.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(OutputError) {
    do throws(SystemError) { try SystemCalls.write(bytes, to: descriptor) } catch { throw .cannotWrite(path: path, error) }
  }

  package func write(_ bytes: [UInt8]) throws(OutputError) { try write(contentsOf: bytes) }

  /// The values' bytes, as they are in memory.
  package func write<Value: BitwiseCopyable>(contentsOf values: [Value]) throws(OutputError) {
    // A closure's typed error is lost in `withUnsafeBytes`.
    let result = values.withUnsafeBytes { bytes -> Result<Void, OutputError> in
      do throws(OutputError) { return .success(try write(bytes)) } catch { return .failure(error) }
    }
    try result.get()
  }

  /// Makes the bytes durable, gives the file its name, and makes that durable.
  package func publish() throws(OutputError) {
    do throws(SystemError) {
      try SystemCalls.synchronize(descriptor)
      if let temporary {
        try Self.publish(temporary, as: path, replacing: replacing)
        self.temporary = nil
      } else {
        do throws(SystemError) { try SystemCalls.link(Self.link(to: descriptor), to: path, followingLinks: true) } catch {
          guard replacing, error.code == EEXIST else { throw error }
          try replace()
        }
      }
      try SystemCalls.synchronizeDirectory(of: path)
    } catch {
      if error.code == EEXIST { throw .exists(path: path) }
      throw .cannotWrite(path: path, error)
    }
  }

  /// Puts a file without a name in place of another. Only renaming replaces, and only what has a name can be renamed.
  private func replace() throws(SystemError) {
    let named = Self.temporaryName(path)
    _ = SystemCalls.holdsLock(descriptor)
    while temporary == nil {
      try Self.removeAbandoned(named, waiting: true)
      do throws(SystemError) {
        try SystemCalls.link(Self.link(to: descriptor), to: named, followingLinks: true)
        temporary = named
      } catch { if error.code != EEXIST { throw error } }
    }
    try SystemCalls.rename(named, to: path)
    temporary = nil
  }

  /// Gives a whole file another name; EEXIST where something has that name by now and `replacing` is not asked for.
  package static func publish(_ temporary: String, as path: String, replacing: Bool) throws(SystemError) {
    if replacing { return try SystemCalls.rename(temporary, to: path) }
    do throws(SystemError) { return try SystemCalls.renameReplacingNothing(temporary, to: path) } catch {
      if error.code == EEXIST { throw error }
    }
    // A file system, or a kernel, that cannot. A second link replaces nothing either.
    do throws(SystemError) {
      try SystemCalls.link(temporary, to: path)
      SystemCalls.remove(temporary)
    } catch {
      if error.code == EEXIST { throw error }
      // A file system without links: look, then rename.
      if FileStatus(path: path, followingLinks: false) != nil { throw SystemError(EEXIST) }
      try SystemCalls.rename(temporary, to: path)
    }
  }

  /// Whether a file of that name, which is none of `inputs`, has these bytes and no others.
  package static func holds(_ bytes: UnsafeRawBufferPointer, at path: String, inputs: [String] = []) throws(OutputError) -> Bool {
    guard let found = FileStatus(path: path, followingLinks: false), found.kind == .file, found.byteCount == bytes.count else {
      return false
    }
    try check(path, replacing: true, inputs: inputs)
    guard let contents = try? SystemCalls.contents(of: path, limit: bytes.count) else { return false }
    return contents.elementsEqual(bytes)
  }

  /// A whole file at once.
  package static func write(_ bytes: UnsafeRawBufferPointer, to path: String, replacing: Bool, inputs: [String] = []) throws(OutputError) {
    let file = try OutputFile(path, replacing: replacing, inputs: inputs)
    try file.write(bytes)
    try file.publish()
  }
}
