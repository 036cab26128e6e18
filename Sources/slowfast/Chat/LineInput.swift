import Foundation
import SlowFast
import Support
import Synchronization

/// Editing of a line at a terminal, with the lines before it: by libedit or readline, whichever the machine has. Both have the
/// functions that are used here, and neither is needed to build or to run.
final class LineEditor {
  typealias LineHandler = @convention(c) (UnsafeMutablePointer<CChar>?) -> Void
  typealias KeyHandler = @convention(c) (Int32, Int32) -> Int32

  private let install: @convention(c) (UnsafePointer<CChar>, LineHandler) -> Void
  private let remove: @convention(c) () -> Void
  private let readCharacter: @convention(c) () -> Void
  private let addHistory: @convention(c) (UnsafePointer<CChar>) -> Int32
  private let resize: (@convention(c) () -> Void)?
  private let takeTerminal: @convention(c) (Int32) -> Void
  private let giveTerminalBack: @convention(c) () -> Void
  private let redraw: @convention(c) () -> Int32
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
      let useHistory = function("using_history", (@convention(c) () -> Void).self),
      let takeTerminal = function("rl_prep_terminal", (@convention(c) (Int32) -> Void).self),
      let giveTerminalBack = function("rl_deprep_terminal", (@convention(c) () -> Void).self),
      let redraw = function("rl_forced_update_display", (@convention(c) () -> Int32).self),
      let bind = function("rl_add_defun", (@convention(c) (UnsafePointer<CChar>, KeyHandler, Int32) -> Int32).self)
    else { return nil }
    (self.install, self.remove, self.readCharacter, self.addHistory) = (install, remove, readCharacter, addHistory)
    (self.takeTerminal, self.giveTerminalBack, self.redraw) = (takeTerminal, giveTerminalBack, redraw)
    resize = function("rl_resize_terminal", (@convention(c) () -> Void).self)
    // Ctrl-C is this program's own.
    dlsym(library, "rl_catch_signals")?.assumingMemoryBound(to: Int32.self).pointee = 0
    // The libraries take a character to be what the locale says.
    if setlocale(LC_CTYPE, "C.UTF-8") == nil { setlocale(LC_CTYPE, "") }
    useHistory()
    _ = "slowfast-interrupt".withCString { name in
      bind(
        name,
        { _, _ in
          ChatInterrupt.press()
          return 0
        }, 3)
    }
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
    takeInterruptKey()
    Suspension.watch(deferring: true)
    defer {
      remove()
      Suspension.unwatch()
    }
    while true {
      switch Self.entered.withLock({ $0 }) {
      case .line(let bytes): return .line(bytes)
      case .end: return .end
      case nil: break
      }
      if isInterrupted() { return .interrupted }
      if Suspension.takeRequest() {
        giveTerminalBack()
        Suspension.stop()
      }
      if Suspension.takeReturn() {
        // The library may take the terminal to be its own still.
        giveTerminalBack()
        takeTerminal(1)
        takeInterruptKey()
        _ = redraw()
      }
      var request = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
      if poll(&request, 1, 100) <= 0 { continue }
      // The terminal is gone.
      if request.revents & Int16(POLLIN) == 0 { return .end }
      readCharacter()
    }
  }

  /// Has Ctrl-C come as a key: of two signals that come at once one would be lost. With its modes the library gives the signal back.
  private func takeInterruptKey() {
    var modes = termios()
    guard tcgetattr(STDIN_FILENO, &modes) == 0 else { return }
    withUnsafeMutableBytes(of: &modes.c_cc) { $0[Int(VINTR)] = 0 }
    tcsetattr(STDIN_FILENO, TCSANOW, &modes)
  }
}

/// Lines of standard input as bytes, whatever its kind; at a terminal, Ctrl-C ends a call.
struct LineReader {
  enum Event {
    /// Without its end, `\n` or `\r\n`.
    case line([UInt8])
    case interrupted
    /// It cannot be read, as a terminal that is gone.
    case failed(SystemError)
    case end
  }

  private var pending: [UInt8] = []
  private var searched = 0
  private var isAtEnd = false
  private var problem: SystemError?

  /// - Parameters:
  ///   - isInterrupted: Asked where a signal may have come.
  ///   - onReturn: Called where the process was stopped and goes on.
  mutating func next(isInterrupted: () -> Bool, onReturn: () -> Void = {}) -> Event {
    while true {
      if let end = pending[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        let line = Array(pending[..<end])
        pending.removeSubrange(...end)
        searched = 0
        return .line(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
      }
      searched = pending.count
      if isAtEnd {
        if let problem { return .failed(problem) }
        if pending.isEmpty { return .end }
        defer { (pending, searched) = ([], 0) }
        return .line(pending)
      }
      if isInterrupted() {
        (pending, searched) = ([], 0)
        return .interrupted
      }
      if Suspension.takeReturn() { onReturn() }
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
    if count > 0 {
      pending += buffer[..<count]
    } else if count == 0 {
      isAtEnd = true
    } else if errno != EINTR, errno != EAGAIN {
      problem = SystemError()
      isAtEnd = true
    }
  }
}

/// The lines that were entered at a terminal, one a line in a file that only its owner reads.
struct ChatHistory {
  private let directory: String
  private static let limit = 1000

  var path: String { directory + "/history" }

  /// nil where the environment names no place.
  init?(environment: [String: String] = ProcessInfo.processInfo.environment) {
    // A relative path is to be ignored.
    func absolute(_ name: String) -> String? { environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil } }
    guard let state = absolute("XDG_STATE_HOME") ?? absolute("HOME").map({ $0 + "/.local/state" }) else { return nil }
    directory = state + "/slowfast"
  }

  /// The last lines, oldest first.
  func lines() -> [String] {
    guard FileStatus(path: path)?.kind == .file, let data = FileManager.default.contents(atPath: path) else { return [] }
    let lines = String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
    if lines.count > 2 * Self.limit {
      let kept = lines.suffix(Self.limit).map { $0 + "\n" }.joined()
      if let file = try? OutputFile(path, replacing: true, mode: 0o600), (try? file.write(Array(kept.utf8))) != nil { try? file.publish() }
    }
    return lines.suffix(Self.limit)
  }

  func append(_ line: String) throws(SystemError) {
    try makeDirectories()
    // Of another kind than a file it might never be opened.
    let descriptor = try SystemCalls.open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode: 0o600)
    defer { close(descriptor) }
    let status = try FileStatus(descriptor: descriptor)
    guard status.kind == .file else { throw SystemError(EINVAL) }
    if status.mode & 0o077 != 0, fchmod(descriptor, 0o600) != 0 { throw SystemError() }
    let bytes = Array((line + "\n").utf8)
    var problem: SystemError?
    bytes.withUnsafeBytes { bytes in
      do throws(SystemError) { try SystemCalls.write(bytes, to: descriptor) } catch { problem = error }
    }
    if let problem { throw problem }
  }

  private func makeDirectories() throws(SystemError) {
    var made = ""
    for name in directory.split(separator: "/") {
      made += "/" + name
      guard FileStatus(path: made) == nil else { continue }
      if mkdir(made, 0o700) != 0, errno != EEXIST { throw SystemError() }
    }
  }
}

/// What a line of a conversation asks for.
enum ChatLine: Equatable {
  case blank
  case question(String)
  case help, clear, frames, quit
  case save(String)
  /// Begins as a command does, and is none.
  case unknown(String)

  static let helpText = """
    /clear       forget the conversation, keep the clip
    /frames      the frames that the model saw
    /save FILE   write the conversation, as JSON where FILE ends in .json
    /quit        end, as Ctrl-D does
    Ctrl-C stops an answer. A question that begins as a command does is written after a space.
    """

  /// A command is a slash and letters only, so that a path may begin a question.
  init(_ line: String) {
    let trimmed = line.trimmed
    guard !trimmed.isEmpty else {
      self = .blank
      return
    }
    let word = line.prefix { !$0.isWhitespace }
    guard word.first == "/", word.dropFirst().allSatisfy(\.isLetter) else {
      self = .question(trimmed)
      return
    }
    let rest = String(line.dropFirst(word.count)).trimmed
    switch (word, rest.isEmpty) {
    case ("/help", true): self = .help
    case ("/clear", true): self = .clear
    case ("/frames", true): self = .frames
    case ("/quit", true), ("/exit", true): self = .quit
    case ("/save", false): self = .save(rest)
    default: self = .unknown(trimmed)
    }
  }

  /// A line as it was read: only the name of a file may be no UTF-8. nil where something else is not.
  init?(bytes: [UInt8]) {
    let command = ChatLine(String(fileName: bytes))
    if case .save = command {
      self = command
    } else if let text = String(validating: bytes, as: UTF8.self) {
      self.init(text)
    } else {
      return nil
    }
  }

  /// What to do about a line that is no command.
  static func hint(_ line: String) -> String {
    if line == "/save" { return "/save needs a file's name: /save FILE" }
    return
      "no command \(line.quoted), expected /help, /clear, /frames, /save FILE or /quit; a question that begins so is written after a space"
  }
}

extension String {
  fileprivate var trimmed: String {
    let start = drop(while: \.isWhitespace)
    return start.lastIndex { !$0.isWhitespace }.map { String(start[...$0]) } ?? ""
  }
}
