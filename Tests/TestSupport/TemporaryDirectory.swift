import Foundation

/// A directory that goes with the value.
public final class TemporaryDirectory: Sendable {
  public let path: String

  /// In memory where the system has such a place, for thousands of small files are written; or in another directory.
  public init(in parent: String? = nil) throws {
    let parent = parent ?? (access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NSTemporaryDirectory())
    path = "\(parent)/slowfast-tests-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of a file in it, which need not be there.
  public func file(_ name: String) -> String { "\(path)/\(name)" }

  /// The names in it, sorted.
  public var contents: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }

  /// Writes a file and returns its path.
  @discardableResult public func write(_ name: String, _ bytes: some Sequence<UInt8>) throws -> String {
    try write(name, Array(bytes))
  }

  @discardableResult public func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }

  private func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    // Foundation would wait for the disk after each file.
    let descriptor = open(file(name), O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    guard descriptor >= 0 else { throw CocoaError(.fileWriteUnknown) }
    defer { close(descriptor) }
    var written = 0
    while written < bytes.count {
      let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      guard count > 0 else { throw CocoaError(.fileWriteUnknown) }
      written += count
    }
    return file(name)
  }
}
