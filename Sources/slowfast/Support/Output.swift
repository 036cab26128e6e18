import Foundation

/// Standard output could not be written.
struct OutputError: Error, CustomStringConvertible {
  let code: Int32

  /// Whoever read the output has gone, and knows.
  var isBrokenPipe: Bool { code == EPIPE }
  var description: String { "standard output: \(String(cString: strerror(code)))" }
}

/// The two streams that the command writes, without buffers.
enum Output {
  static func write(_ text: String) throws(OutputError) {
    if let code = write(text, to: STDOUT_FILENO) { throw OutputError(code: code) }
  }

  /// Nobody can be told where this fails; the status still says how the command ended.
  static func writeError(_ text: String) { _ = write(text, to: STDERR_FILENO) }

  /// All of it; the number of the error that keeps it from being written.
  private static func write(_ text: String, to descriptor: Int32) -> Int32? {
    var text = text
    return text.withUTF8 { bytes in
      var rest = UnsafeRawBufferPointer(bytes)[...]
      while !rest.isEmpty {
        let count = Foundation.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
        if count >= 0 {
          rest = rest.dropFirst(count)
          continue
        }
        switch errno {
        case EINTR: break
        case EAGAIN:
          // Somebody else who has the stream made it non-blocking.
          var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          _ = poll(&request, 1, -1)
        default: return errno
        }
      }
      return nil
    }
  }

  /// Columns of the error stream's terminal as it is now; 80 where it does not say.
  static var terminalWidth: Int {
    var size = winsize()
    guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }
}
