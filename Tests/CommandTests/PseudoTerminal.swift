import Foundation
import Testing

/// A run of the built command at a terminal of its own, which is input, output and error stream and sends Ctrl-C as a signal.
final class PseudoTerminal {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  private let terminal: Int32
  private let process: pid_t
  private let deadline = Date() + 120 * slowness
  private(set) var screen: TerminalScreen
  /// Everything that was written.
  private(set) var bytes: [UInt8] = []
  private var isOver = false

  /// A terminal whose size is unknown says 0. With a `script` a shell with job control runs it, and has the command as `$0`, its
  /// arguments as `$@`.
  init(_ arguments: [String], columns: Int, isSizeKnown: Bool = true, script: String? = nil, environment: [String: String] = [:]) throws {
    terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
    screen = TerminalScreen(columns: columns)
    // TIOCSPTLCK and TIOCGPTN, which unlockpt and ptsname call, and Swift imports neither of all four.
    var (isLocked, number): (Int32, UInt32) = (0, 0)
    guard terminal >= 0, ioctl(terminal, 0x4004_5431, &isLocked) == 0, ioctl(terminal, 0x8004_5430, &number) == 0 else {
      throw Failure(description: "no pseudo-terminal: \(String(cString: strerror(errno)))")
    }
    let name = "/dev/pts/\(number)"
    Self.setWidth(isSizeKnown ? columns : 0, of: terminal)

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    // The first terminal that a session's leader opens is its own.
    posix_spawn_file_actions_addopen(&actions, 0, name, O_RDWR, 0)
    posix_spawn_file_actions_adddup2(&actions, 0, 1)
    posix_spawn_file_actions_adddup2(&actions, 0, 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // POSIX_SPAWN_SETSID, which Swift does not import.
    posix_spawnattr_setflags(&attributes, 0x80)

    var variables = ProcessInfo.processInfo.environment.filter { $0.key != "SLOWFAST_KERNELS" }
    variables["TERM"] = "xterm"
    variables.merge(environment) { _, new in new }
    var words: [UnsafeMutablePointer<CChar>?] =
      ((script.map { ["/bin/sh", "-mc", $0] } ?? []) + [Run.executable] + arguments).map { strdup($0) } + [nil]
    var settings: [UnsafeMutablePointer<CChar>?] = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for pointer in words + settings { free(pointer) } }
    var identifier: pid_t = 0
    let problem = posix_spawn(&identifier, script == nil ? Run.executable : "/bin/sh", &actions, &attributes, &words, &settings)
    process = identifier
    if problem != 0 { throw Failure(description: "\(Run.executable): \(String(cString: strerror(problem)))") }
  }

  deinit {
    if !isOver {
      kill(process, SIGKILL)
      waitpid(process, nil, 0)
    }
    close(terminal)
  }

  /// Everything that was written, as text.
  var text: String { String(decoding: bytes, as: UTF8.self) }

  /// The progress lines that were drawn, in order.
  var progress: [String] {
    text.matches(of: /\r([^\r\n]+?)\e\[K/).map { String($0.output.1) }
  }

  func resize(columns: Int) {
    screen.resize(columns: columns)
    Self.setWidth(columns, of: terminal)
  }

  private static func setWidth(_ columns: Int, of terminal: Int32) {
    var size = winsize(ws_row: 24, ws_col: UInt16(columns), ws_xpixel: 0, ws_ypixel: 0)
    _ = ioctl(terminal, UInt(TIOCSWINSZ), &size)
  }

  /// As typed: a line ends with `\r`, `\u{3}` is Ctrl-C, `\u{4}` Ctrl-D.
  func type(_ text: String) {
    let typed = Array(text.utf8)
    _ = typed.withUnsafeBytes { write(terminal, $0.baseAddress, $0.count) }
  }

  /// Reads until `condition` holds; false where the command ended, or took too long, before that.
  func wait(until condition: (PseudoTerminal) -> Bool) -> Bool {
    while !condition(self) {
      if !read() { return false }
    }
    return true
  }

  /// Reads to the end and gives the status, as a shell would show it.
  func finish() throws -> Int32 {
    while read() {}
    if Date() >= deadline { kill(process, SIGKILL) }
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
    isOver = true
    return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
  }

  /// What is there, or comes within a moment; false at the end.
  private func read() -> Bool {
    guard Date() < deadline else { return false }
    var request = pollfd(fd: terminal, events: Int16(POLLIN), revents: 0)
    if poll(&request, 1, 100) == 0 { return true }
    var buffer = [UInt8](repeating: 0, count: 65536)
    // The last process that has the terminal is gone: an input error.
    let count = buffer.withUnsafeMutableBytes { Glibc.read(terminal, $0.baseAddress, $0.count) }
    if count < 0, errno == EINTR { return true }
    guard count > 0 else { return false }
    bytes += buffer[..<count]
    screen.feed(buffer[..<count])
    return true
  }
}
