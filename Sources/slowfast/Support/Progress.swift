import ArgumentParser
import Foundation
import SlowFast
import Support
import Synchronization

/// One line that follows work in stages, with an estimate of the time left of a long one.
final class ProgressLine: Sendable {
  private struct Stage {
    var name = ""
    var start = Date()
  }
  private let stage = Mutex(Stage())
  private let style: ProgressStyle
  private let lastPlainLine = Mutex(Date())

  /// Of a command whose output is JSON or not: among objects plain lines are out of place.
  init(_ arguments: ProgressArguments, isJSON: Bool = false) {
    let isMixed = isJSON && !Display.isTerminal && Output.streamsAreOne
    style = isMixed && arguments.style == .plain ? .none : arguments.style
  }

  @Sendable func show(_ progress: SessionProgress) {
    switch progress {
    case .loading(let done, let total): line("loading", done, total, "\(formatBytes(done)) of \(formatBytes(total))")
    case .decoding(let frame, let total): line("encoding", frame - 1, total, "frame \(frame) of \(total)")
    case .encoding(let frame, let total): line("encoding", frame, total, "frame \(frame) of \(total)")
    case .readingClip(let layer, let total): line("reading the clip", layer, total, "\(layer) of \(counted(total, "layer"))")
    case .prefilling(let token, let total): line("prefilling", token, total, "\(token) of \(counted(total, "token"))")
    case .generating(let token, let total):
      if style == .bar, Display.hasOutput { return }
      draw(ProgressText(name: "answering", count: "\(counted(token, "token")) of at most \(total)"))
    }
  }

  /// Work that is not counted.
  @Sendable func show(_ name: String) { draw(ProgressText(name: name)) }

  /// `done` of `total` bytes, with their rate; those done `before` this run do not count for it.
  func rate(_ name: String, _ done: Int, _ total: Int, before: Int, _ text: String) {
    let elapsed = elapsed(name)
    let rate = elapsed > 0.5 ? Double(done - before) / elapsed : 0
    draw(
      ProgressText(
        name: name, fraction: (done, total), count: "\(text), \(formatBytes(done)) of \(formatBytes(total))",
        rate: "\(Printing.fixed(rate / 1e6, 0)) MB/s",
        timeLeft: rate > 0 && elapsed > 2 ? Printing.seconds(Double(total - done) / rate) : nil))
  }

  /// `done` of `total` units of work called `name`.
  func line(_ name: String, _ done: Int, _ total: Int, _ text: String) {
    let elapsed = elapsed(name)
    let isForeseeable = done > 0 && done < total && elapsed > 2
    draw(
      ProgressText(
        name: name, fraction: (done, total), count: text,
        timeLeft: isForeseeable ? Printing.seconds(elapsed / Double(done) * Double(total - done)) : nil))
  }

  private func draw(_ text: ProgressText) {
    switch style {
    case .none: break
    case .bar: Display.showProgress(text)
    case .plain:
      let isDue = lastPlainLine.withLock { last in
        guard Date().timeIntervalSince(last) >= 30 else { return false }
        last = Date()
        return true
      }
      if isDue { Display.printProgress(text) }
    }
  }

  /// Seconds since the work of this name began, which may be now.
  private func elapsed(_ name: String) -> Double {
    stage.withLock { stage in
      if name != stage.name { stage = Stage(name: name) }
      return Date().timeIntervalSince(stage.start)
    }
  }
}

enum ProgressStyle: String, ExpressibleByArgument, CaseIterable {
  case none
  /// A line every 30 seconds.
  case plain
  /// One line that changes.
  case bar
}

/// What every command takes that shows how far it is.
struct ProgressArguments: ParsableArguments {
  @Option(help: "bar, plain (a line every 30 seconds, but not among JSON) or none. Default: bar at a terminal, plain elsewhere.")
  var progress: ProgressStyle?

  var style: ProgressStyle {
    if let progress { return progress }
    // A terminal that says so cannot erase.
    return Display.isTerminal && ProcessInfo.processInfo.environment["TERM"] != "dumb" ? .bar : .plain
  }
}

/// A progress line in parts, some of which a narrow terminal does without.
struct ProgressText {
  var name: String
  /// Done, and in all; nil for work that is not counted.
  var fraction: (done: Int, total: Int)?
  var count = ""
  var rate: String?
  var timeLeft: String?

  /// As much as has room: without the rate first, then without the time left, then without the bar; the rest is cut.
  func fitted(to columns: Int) -> String {
    var text = self
    for leaveOut: (inout ProgressText) -> Void in [{ _ in }, { $0.rate = nil }, { $0.timeLeft = nil }, { $0.fraction = nil }] {
      leaveOut(&text)
      if text.whole.columns <= columns { return text.whole }
    }
    return text.whole.cut(toColumns: columns)
  }

  /// Without the bar.
  var plain: String {
    var text = self
    text.fraction = nil
    return text.whole
  }

  private var whole: String {
    let counts = [count, rate, timeLeft.map { "\($0) left" }].compactMap { $0 }.filter { !$0.isEmpty }.joined(separator: ", ")
    return [name.escaped(), fraction.map { Self.bar($0.done, of: $0.total) } ?? "", counts].filter { !$0.isEmpty }.joined(separator: " ")
  }

  private static func bar(_ done: Int, of total: Int, width: Int = 24) -> String {
    let filled = total > 0 ? min(width, width * done / total) : 0
    return String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
  }
}

extension String {
  /// Columns that a terminal shows it in.
  fileprivate var columns: Int { unicodeScalars.reduce(0) { $0 + $1.columns } }

  fileprivate func cut(toColumns columns: Int) -> String {
    guard self.columns > columns else { return self }
    guard columns > 0 else { return "" }
    var result = UnicodeScalarView()
    var room = columns - 1
    for scalar in unicodeScalars {
      room -= scalar.columns
      if room < 0 { break }
      result.append(scalar)
    }
    return String(result) + "…"
  }
}

extension Unicode.Scalar {
  /// 0 for what is drawn over the character before it, 2 for what Unicode calls wide or full width, and for what may be drawn so.
  fileprivate var columns: Int {
    switch properties.generalCategory {
    case .nonspacingMark, .enclosingMark, .format: return 0
    default: break
    }
    if properties.isEmojiPresentation { return 2 }
    switch value {
    case 0x1100...0x115f, 0x2e80...0x303e, 0x3041...0xa4cf, 0xa960...0xa97f, 0xac00...0xd7a3, 0xf900...0xfaff, 0xfe10...0xfe19,
      0xfe30...0xfe6f,
      0xff01...0xff60, 0xffe0...0xffe6, 0x16fe0...0x18dff, 0x1aff0...0x1b2ff, 0x1f200...0x1f6ff, 0x1f900...0x1f9ff, 0x20000...0x3fffd:
      return 2
    default: return 1
    }
  }
}
