import Foundation

/// Lines of standard input as bytes, whatever its kind; at a terminal, Ctrl-C ends a call.
struct LineReader {
  enum Event {
    /// Without its end, `\n` or `\r\n`.
    case line([UInt8])
    case interrupted
    case end
  }

  private var pending: [UInt8] = []
  private var searched = 0
  private var isAtEnd = false

  /// - Parameter isInterrupted: Asked where a signal may have come.
  mutating func next(isInterrupted: () -> Bool) -> Event {
    while true {
      if let end = pending[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        let line = Array(pending[..<end])
        pending.removeSubrange(...end)
        searched = 0
        return .line(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
      }
      searched = pending.count
      if isAtEnd {
        if pending.isEmpty { return .end }
        defer { (pending, searched) = ([], 0) }
        return .line(pending)
      }
      if isInterrupted() {
        (pending, searched) = ([], 0)
        return .interrupted
      }
      if Self.waitForInput() { read() }
    }
  }

  /// Whether there is something to read; false after a moment, or a signal.
  static func waitForInput() -> Bool {
    var request = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
    return poll(&request, 1, 100) > 0
  }

  private mutating func read() {
    var buffer = [UInt8](repeating: 0, count: 65536)
    let count = buffer.withUnsafeMutableBytes { Foundation.read(STDIN_FILENO, $0.baseAddress, $0.count) }
    if count > 0 { pending += buffer[..<count] } else if count == 0 || (errno != EINTR && errno != EAGAIN) { isAtEnd = true }
  }
}
