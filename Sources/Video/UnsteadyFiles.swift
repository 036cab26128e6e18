import Support

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The files of a clip as they were before it was read, to tell afterwards whether all frames are of one state.
struct UnsteadyFiles {
  private struct File {
    var path: String
    var status: FileStatus
    /// The first bytes and the last, of a video, which may be a recording that goes on.
    var edges: [[UInt8]]
  }
  private let files: [File]

  private static let edge = 4096

  init(_ paths: [String], mayGrow: Bool) {
    files = paths.compactMap { path in
      FileStatus(path: path).map { File(path: path, status: $0, edges: mayGrow ? Self.edges(path, $0.byteCount) : []) }
    }
  }

  /// The first that was written over or cut. One that was replaced by renaming, or removed, was read as it was; of a video that has grown
  /// what was there is looked at.
  var overwritten: String? {
    files.first { file in
      guard let now = FileStatus(path: file.path), now.isSameFile(as: file.status), !now.hasSameBytes(as: file.status) else { return false }
      if file.edges.isEmpty || now.byteCount <= file.status.byteCount { return true }
      return Self.edges(file.path, file.status.byteCount) != file.edges
    }?.path
  }

  /// Of a file's first `count` bytes.
  private static func edges(_ path: String, _ count: Int) -> [[UInt8]] {
    guard let descriptor = try? SystemCalls.open(path, O_RDONLY | O_NONBLOCK) else { return [] }
    defer { close(descriptor) }
    return [0, max(0, count - edge)].map { start in
      var bytes = [UInt8](repeating: 0, count: min(edge, count))
      let length = bytes.withUnsafeMutableBytes { (try? SystemCalls.read(descriptor, into: $0, at: start)) ?? 0 }
      return Array(bytes.prefix(length))
    }
  }
}
