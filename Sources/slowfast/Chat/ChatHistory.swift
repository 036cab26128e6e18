import Foundation
import Support

/// The lines that were entered at a terminal, one a line in a file that only its owner reads.
struct ChatHistory {
  private let directory: String
  private static let limit = 1000

  var path: String { directory + "/history" }

  /// nil where the environment names no place.
  init?(environment: [String: String] = ProcessInfo.processInfo.environment) {
    // A relative path is to be ignored.
    func absolute(_ name: String) -> String? { environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil } }
    guard let state = absolute("XDG_STATE_HOME") ?? absolute("HOME").map({ $0 + "/.local/state" }) else { return nil }
    directory = state + "/slowfast"
  }

  /// The last lines, oldest first.
  func lines() -> [String] {
    guard FileStatus(path: path)?.kind == .file, let data = FileManager.default.contents(atPath: path) else { return [] }
    let lines = String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
    if lines.count > 2 * Self.limit {
      let kept = lines.suffix(Self.limit).map { $0 + "\n" }.joined()
      if let file = try? OutputFile(path, replacing: true, mode: 0o600), (try? file.write(Array(kept.utf8))) != nil { try? file.publish() }
    }
    return lines.suffix(Self.limit)
  }

  func append(_ line: String) throws(SystemError) {
    try makeDirectories()
    // Of another kind than a file it might never be opened.
    let descriptor = try SystemCalls.open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode: 0o600)
    defer { close(descriptor) }
    let status = try FileStatus(descriptor: descriptor)
    guard status.kind == .file else { throw SystemError(EINVAL) }
    if status.mode & 0o077 != 0, fchmod(descriptor, 0o600) != 0 { throw SystemError() }
    let bytes = Array((line + "\n").utf8)
    var problem: SystemError?
    bytes.withUnsafeBytes { bytes in
      do throws(SystemError) { try SystemCalls.write(bytes, to: descriptor) } catch { problem = error }
    }
    if let problem { throw problem }
  }

  private func makeDirectories() throws(SystemError) {
    var made = ""
    for name in directory.split(separator: "/") {
      made += "/" + name
      guard FileStatus(path: made) == nil else { continue }
      if mkdir(made, 0o700) != 0, errno != EEXIST { throw SystemError() }
    }
  }
}
