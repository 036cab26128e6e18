import Foundation
import SlowFast
import Synchronization

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
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if !onOneLine { encoder.outputFormatting.insert(.prettyPrinted) }
    encoder.keyEncodingStrategy = .convertToSnakeCase
    try print(String(decoding: try encoder.encode(value), as: UTF8.self))
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

  static func seconds(_ value: Double) -> String {
    if value >= 3600 { return "\(Int(value) / 3600) h \(Int(value) % 3600 / 60) min" }
    if value >= 100 { return "\(Int(value) / 60) min \(Int(value) % 60) s" }
    return "\(fixed(value, 1)) s"
  }

  static func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
}
