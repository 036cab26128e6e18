import Foundation

/// A file that has no name: it is gone with the last who holds it, however the process ends. Or one that had a name when it was opened, and
/// is what it was, whatever becomes of the name.
final class HeldFile: Sendable {
  let descriptor: Int32
  /// Names it for as long as it is held.
  var path: String { "/proc/self/fd/\(descriptor)" }

  private init(descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  var byteCount: Int {
    var status = stat()
    return fstat(descriptor, &status) == 0 ? Int(status.st_size) : 0
  }

  /// An empty one, in the directory for such.
  static func make() throws(APIError) -> HeldFile {
    let directory = ProcessInfo.processInfo.environment["TMPDIR"].flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
    // O_TMPFILE, which Swift does not import: there is no moment at which it has a name.
    let nameless = Foundation.open(directory, O_DIRECTORY | (1 << 22) | O_RDWR | O_CLOEXEC, 0o600)
    if nameless >= 0 { return HeldFile(descriptor: nameless) }
    var template = Array("\(directory)/slowfast-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    guard descriptor >= 0 else { throw noRoom(errno) }
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    unlink(template)
    return HeldFile(descriptor: descriptor)
  }

  /// A file of one of the directories, be it named by links of theirs; what a link leads out to is none of them.
  static func open(_ path: String, under directories: [String]) throws(APIError) -> HeldFile {
    let missing = APIError(404, "There is no such file in the directories whose files may be named.", code: "file_not_found")
    guard path.hasPrefix("/"), !path.utf8.contains(0) else { throw missing }
    // Held without being opened: to open a pipe or a device that it may turn out to be is to do something to it.
    let place = Foundation.open(path, pathOnly | O_CLOEXEC)
    guard place >= 0 else { throw missing }
    let held = HeldFile(descriptor: place)
    var status = stat()
    // Where what is held really lies: a name that is looked at before may be another file's when it is opened.
    guard let place = link(held.path), fstat(held.descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
      directories.contains(where: { place.hasPrefix($0.hasSuffix("/") ? $0 : $0 + "/") })
    else { throw missing }
    let descriptor = Foundation.open(held.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { throw missing }
    return HeldFile(descriptor: descriptor)
  }

  /// `O_PATH`, which the module of the C library does not show.
  private static let pathOnly: Int32 = 0o10000000

  private static func link(_ path: String) -> String? {
    var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX) + 1)
    let count = buffer.withUnsafeMutableBufferPointer { bytes in
      bytes.withMemoryRebound(to: CChar.self) { $0.baseAddress.map { readlink(path, $0, bytes.count) } ?? -1 }
    }
    return count > 0 && count < buffer.count ? String(validating: buffer[..<count], as: UTF8.self) : nil
  }

  /// Appends.
  func write(_ bytes: some ContiguousBytes) throws(APIError) {
    let problem: Int32? = bytes.withUnsafeBytes { bytes in
      var rest = bytes
      while !rest.isEmpty {
        let count = Foundation.write(descriptor, rest.baseAddress, rest.count)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return errno }
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      }
      return nil
    }
    if let problem { throw Self.noRoom(problem) }
  }

  private static func noRoom(_ number: Int32) -> APIError {
    APIError(503, "The server has no room to keep it: \(String(cString: strerror(number))).", code: "no_room")
  }

  /// Appends what is written in base64, of either alphabet, with or without its end's signs.
  func write(base64 text: Substring, _ path: String) throws(APIError) {
    var copy = text
    let result: Result<Void, APIError> = copy.withUTF8 { utf8 in
      Result { () throws(APIError) in
        var bytes: [UInt8] = []
        bytes.reserveCapacity(1 << 20)
        var (bits, count, padding) = (UInt32(0), 0, 0)
        for byte in utf8 {
          switch byte {
          case 0x0A, 0x0D, 0x20: continue
          case UInt8(ascii: "="): padding += 1
          default:
            let value = Self.base64[Int(byte)]
            guard value < 64, padding == 0 else { throw APIError(400, "The data is not base64.", path) }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
              count -= 8
              bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
          }
          if bytes.count >= 1 << 20 {
            try write(bytes)
            bytes.removeAll(keepingCapacity: true)
          }
        }
        // Six bits alone are no byte.
        guard count != 6, padding <= 2 else { throw APIError(400, "The data is not base64: it ends too early.", path) }
        try write(bytes)
      }
    }
    try result.get()
  }

  private static let base64: [UInt8] = {
    var values = [UInt8](repeating: 255, count: 256)
    for (value, byte) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8.enumerated() {
      values[Int(byte)] = UInt8(value)
    }
    values[Int(UInt8(ascii: "-"))] = 62
    values[Int(UInt8(ascii: "_"))] = 63
    return values
  }()
}
