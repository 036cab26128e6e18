import Foundation
import Support
import Synchronization

/// Standard output could not be written.
struct UnwritableOutput: Error, CustomStringConvertible {
  let code: Int32

  /// Whoever read the output has gone, and knows.
  var isBrokenPipe: Bool { code == EPIPE }
  var description: String { "standard output: \(SystemError(code).message)" }
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

  /// Whether what is written to one of them lands between what is written to the other: `2>&1`.
  static var streamsAreOne: Bool {
    guard let output = try? FileStatus(descriptor: STDOUT_FILENO), let errors = try? FileStatus(descriptor: STDERR_FILENO) else {
      return false
    }
    return output.isSameFile(as: errors)
  }

  /// Columns of the error stream's terminal as it is now; 80 where it does not say.
  static var terminalWidth: Int {
    var size = winsize()
    guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }
}

/// What the command says: results on standard output; messages and progress on the error stream, so that output can be piped.
///
/// A terminal shows both. What stands on its last line is therefore known here only: a progress line goes before anything else is written,
/// and an unfinished line of output is never erased.
enum Display {
  /// Whether the error stream is one.
  static let isTerminal = isatty(STDERR_FILENO) == 1

  private struct LastLine {
    var progress: String?
    var isUnfinished = false
    var hasOutput = false
  }
  private static let lastLine = Mutex(LastLine())

  /// Whether standard output has got something: an answer may stand on the terminal though it came there through a pipe.
  static var hasOutput: Bool { lastLine.withLock { $0.hasOutput } }

  /// A result, or the next piece of one.
  static func stream(_ text: String) throws(UnwritableOutput) {
    guard !text.isEmpty else { return }
    try lastLine.withLock { line throws(UnwritableOutput) in
      erase(&line)
      line.hasOutput = true
      line.isUnfinished = text.utf8.last != UInt8(ascii: "\n")
      try Output.write(text)
    }
  }

  static func print(_ text: String = "") throws(UnwritableOutput) { try stream(text + "\n") }

  /// An object over several lines, or on one.
  static func printJSON(_ value: some Encodable, onOneLine: Bool = false) throws {
    try print(try Printing.json(value, onOneLine: onOneLine))
  }

  /// A message: a line of its own on the error stream.
  static func printError(_ text: String) {
    lastLine.withLock { line in
      erase(&line)
      let isInterrupted = line.isUnfinished && isTerminal
      line.isUnfinished = false
      Output.writeError((isInterrupted ? "\n" : "") + text + "\n")
    }
  }

  /// Replaces the progress line; an unfinished line of output stays instead.
  static func showProgress(_ text: ProgressText) {
    lastLine.withLock { line in
      guard !line.isUnfinished else { return }
      // Not to the last column, where some terminals wrap; and the "^C" of an interrupt has room.
      let fitted = text.fitted(to: Output.terminalWidth - 3)
      guard fitted != line.progress else { return }
      line.progress = fitted
      Output.writeError("\r\(fitted)\u{1B}[K")
    }
  }

  /// Progress as a message. At a terminal an unfinished line of output is not broken for it.
  static func printProgress(_ text: ProgressText) {
    let isUnfinished = lastLine.withLock { $0.isUnfinished }
    if !(isTerminal && isUnfinished) { printError(text.plain) }
  }

  /// Takes the progress line away.
  static func clearLine() { lastLine.withLock { erase(&$0) } }

  /// The terminal's user has ended the line on which a question was asked.
  static func lineWasEntered() { lastLine.withLock { $0.isUnfinished = false } }

  private static func erase(_ line: inout LastLine) {
    guard line.progress != nil else { return }
    line.progress = nil
    Output.writeError("\r\u{1B}[K")
  }
}

/// Streams an answer to standard output: as it is to a file or a pipe, without control characters to a terminal.
final class AnswerPrinter {
  private let isSilent: Bool
  private let isTerminal = isatty(STDOUT_FILENO) == 1
  private var problem: UnwritableOutput?

  init(isSilent: Bool = false) { self.isSilent = isSilent }

  /// Takes the next piece and says whether to go on: not where nobody can read the answer.
  func print(_ text: String) -> Bool {
    if isSilent { return true }
    do throws(UnwritableOutput) { try Display.stream(isTerminal ? text.withoutControls : text) } catch { problem = error }
    return problem == nil
  }

  /// Throws what kept the answer from being printed.
  func finish() throws(UnwritableOutput) {
    if let problem { throw problem }
    if !isSilent { try Display.print() }
  }
}
