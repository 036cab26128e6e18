import Foundation
import Synchronization

/// Editing of a line at a terminal, with the lines before it: by libedit or readline, whichever the machine has. Both have the functions that are
/// used here, and neither is needed to build or to run.
final class LineEditor {
  typealias LineHandler = @convention(c) (UnsafeMutablePointer<CChar>?) -> Void

  private let install: @convention(c) (UnsafePointer<CChar>, LineHandler) -> Void
  private let remove: @convention(c) () -> Void
  private let readCharacter: @convention(c) () -> Void
  private let addHistory: @convention(c) (UnsafePointer<CChar>) -> Int32
  private let resize: (@convention(c) () -> Void)?
  private var isStarted = false

  /// What the library's handler got: a line, or the end of input.
  private enum Entered {
    case line([UInt8])
    case end
  }
  private static let entered = Mutex<Entered?>(nil)

  static let libraries = ["libedit.so.2", "libreadline.so.8"]

  /// nil where there is no such library, or a terminal that cannot move its cursor.
  init?(libraries: [String] = libraries) {
    guard let terminal = ProcessInfo.processInfo.environment["TERM"], !terminal.isEmpty, terminal != "dumb" else { return nil }
    guard let library = libraries.lazy.compactMap({ dlopen($0, RTLD_NOW | RTLD_LOCAL) }).first else { return nil }
    func function<F>(_ name: String, _: F.Type) -> F? { dlsym(library, name).map { unsafeBitCast($0, to: F.self) } }
    guard let install = function("rl_callback_handler_install", (@convention(c) (UnsafePointer<CChar>, LineHandler) -> Void).self),
      let remove = function("rl_callback_handler_remove", (@convention(c) () -> Void).self),
      let readCharacter = function("rl_callback_read_char", (@convention(c) () -> Void).self),
      let addHistory = function("add_history", (@convention(c) (UnsafePointer<CChar>) -> Int32).self),
      let useHistory = function("using_history", (@convention(c) () -> Void).self)
    else { return nil }
    (self.install, self.remove, self.readCharacter, self.addHistory) = (install, remove, readCharacter, addHistory)
    resize = function("rl_resize_terminal", (@convention(c) () -> Void).self)
    // Ctrl-C is this program's own.
    dlsym(library, "rl_catch_signals")?.assumingMemoryBound(to: Int32.self).pointee = 0
    // The libraries take a character to be what the locale says.
    if setlocale(LC_CTYPE, "C.UTF-8") == nil { setlocale(LC_CTYPE, "") }
    useHistory()
  }

  func remember(_ line: String) { _ = line.withCString(addHistory) }

  func next(prompt: String, isInterrupted: () -> Bool) -> LineReader.Event {
    if isStarted { resize?() }
    isStarted = true
    Self.entered.withLock { $0 = nil }
    prompt.withCString { prompt in
      install(prompt) { line in
        LineEditor.entered.withLock { $0 = line.map { .line(Array(UnsafeRawBufferPointer(start: $0, count: strlen($0)))) } ?? .end }
        free(line)
      }
    }
    defer { remove() }
    while true {
      switch Self.entered.withLock({ $0 }) {
      case .line(let bytes): return .line(bytes)
      case .end: return .end
      case nil: break
      }
      if isInterrupted() { return .interrupted }
      var request = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
      if poll(&request, 1, 100) <= 0 { continue }
      // The terminal is gone.
      if request.revents & Int16(POLLIN) == 0 { return .end }
      readCharacter()
    }
  }
}
