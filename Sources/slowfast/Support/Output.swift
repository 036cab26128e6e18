import Foundation

/// Standard output could not be written.
struct UnwritableOutput: Error, CustomStringConvertible {
  let code: Int32

  /// Whoever read the output has gone, and knows.
  var isBrokenPipe: Bool { code == EPIPE }
  var description: String { "standard output: \(String(cString: strerror(code)))" }
}

/// The two streams that the command writes, without buffers.
enum Output {
  /// Puts something in the place of standard streams that are closed, which the next file to be opened would take otherwise and then get
  /// what is meant for them. It can only be used the other way round, so that using it fails as before.
  static func holdClosedStreams() {
    for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) < 0 {
      _ = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
  }

  /// The end of standard output: some file systems tell only now what they could not write.
  static func finish() throws(UnwritableOutput) {
    if close(STDOUT_FILENO) != 0, errno != EBADF, errno != EINTR { throw UnwritableOutput(code: errno) }
  }

  static func write(_ text: String) throws(UnwritableOutput) {
    if let code = write(text, to: STDOUT_FILENO) { throw UnwritableOutput(code: code) }
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
