import Foundation
import SlowFast
import Synchronization

/// Text for people: progress on the error stream and only where that is a terminal, so that output can be piped.
enum Display {
  static let isTerminal = isatty(STDERR_FILENO) == 1

  static func printError(_ text: String) {
    clearLine()
    FileHandle.standardError.write(Data((text + "\n").utf8))
  }

  /// Replaces the progress line.
  static func showProgress(_ text: String) {
    guard isTerminal else { return }
    FileHandle.standardError.write(Data("\r\u{1B}[K\(text)".utf8))
  }

  static func clearLine() {
    guard isTerminal else { return }
    FileHandle.standardError.write(Data("\r\u{1B}[K".utf8))
  }

  /// Text of an answer as it is made.
  static func stream(_ text: String) {
    FileHandle.standardOutput.write(Data(text.utf8))
  }

  static func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
  }

  static func bar(_ done: Int, of total: Int, width: Int = 24) -> String {
    let filled = total > 0 ? min(width, width * done / total) : 0
    return String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
  }

  static func seconds(_ value: Double) -> String {
    if value >= 3600 { return "\(Int(value) / 3600) h \(Int(value) % 3600 / 60) min" }
    if value >= 100 { return "\(Int(value) / 60) min \(Int(value) % 60) s" }
    return "\(fixed(value, 1)) s"
  }

  static func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
}

/// One line that follows a session's progress, with an estimate of the time left for the long stage.
final class ProgressLine: Sendable {
  private struct Stage {
    var name = ""
    var start = Date()
  }
  private let stage = Mutex(Stage())

  @Sendable func show(_ progress: SessionProgress) {
    switch progress {
    case .loading(let done, let total): line("loading", done, total, "\(formatBytes(done)) of \(formatBytes(total))")
    case .decoding(let frame, let total): line("encoding", frame - 1, total, "frame \(frame) of \(total)")
    case .encoding(let frame, let total): line("encoding", frame, total, "frame \(frame) of \(total)")
    case .prefilling(let token, let total): line("prefilling", token, total, "\(token) of \(total) tokens")
    }
  }

  /// `done` of `total` bytes, with their rate; those done `before` this run do not count for it.
  func rate(_ name: String, _ done: Int, _ total: Int, before: Int, _ text: String) {
    let start = stage.withLock { stage in
      if name != stage.name { stage = Stage(name: name) }
      return stage.start
    }
    let elapsed = Date().timeIntervalSince(start)
    let rate = elapsed > 0.5 ? Double(done - before) / elapsed : 0
    let left = rate > 0 && elapsed > 2 ? ", \(Display.seconds(Double(total - done) / rate)) left" : ""
    Display.showProgress(
      "\(name) \(Display.bar(done, of: total)) \(text), \(formatBytes(done)) of \(formatBytes(total)), "
        + "\(Display.fixed(rate / 1e6, 0)) MB/s\(left)")
  }

  /// `done` of `total` units of work called `name`.
  func line(_ name: String, _ done: Int, _ total: Int, _ text: String) {
    stage.withLock { stage in
      if name != stage.name { stage = Stage(name: name) }
      let elapsed = Date().timeIntervalSince(stage.start)
      let left = done > 0 && done < total && elapsed > 2 ? ", \(Display.seconds(elapsed / Double(done) * Double(total - done))) left" : ""
      Display.showProgress("\(name) \(Display.bar(done, of: total)) \(text)\(left)")
    }
  }
}

/// Streams an answer to standard output, in place of the progress line.
final class AnswerPrinter {
  private let isSilent: Bool
  private var hasBegun = false

  init(isSilent: Bool = false) { self.isSilent = isSilent }

  /// Takes the next piece; the answer always goes on.
  func print(_ text: String) -> Bool {
    if isSilent { return true }
    if !hasBegun { Display.clearLine() }
    hasBegun = true
    Display.stream(text)
    return true
  }
}
