import Foundation
import SlowFast
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

  init(_ style: ProgressStyle) { self.style = style }

  @Sendable func show(_ progress: SessionProgress) {
    switch progress {
    case .loading(let done, let total): line("loading", done, total, "\(formatBytes(done)) of \(formatBytes(total))")
    case .decoding(let frame, let total): line("encoding", frame - 1, total, "frame \(frame) of \(total)")
    case .encoding(let frame, let total): line("encoding", frame, total, "frame \(frame) of \(total)")
    case .readingClip(let layer, let total): line("reading the clip", layer, total, "\(layer) of \(total) layers")
    case .prefilling(let token, let total): line("prefilling", token, total, "\(token) of \(total) tokens")
    case .generating(let token, let total):
      if style == .bar, Display.hasOutput { return }
      draw(ProgressText(name: "answering", count: "\(token) tokens of at most \(total)"))
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
        rate: "\(Display.fixed(rate / 1e6, 0)) MB/s",
        timeLeft: rate > 0 && elapsed > 2 ? Display.seconds(Double(total - done) / rate) : nil))
  }

  /// `done` of `total` units of work called `name`.
  func line(_ name: String, _ done: Int, _ total: Int, _ text: String) {
    let elapsed = elapsed(name)
    let isForeseeable = done > 0 && done < total && elapsed > 2
    draw(
      ProgressText(
        name: name, fraction: (done, total), count: text,
        timeLeft: isForeseeable ? Display.seconds(elapsed / Double(done) * Double(total - done)) : nil))
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
