import Foundation
import Synchronization

/// Ctrl-C: the first asks the work to stop where it is clean to stop; a second later, or at the next Ctrl-C, the process ends as it is.
/// Whatever is written is written under a temporary name, so that is safe too.
enum Interrupt {
  private static let requested = Atomic<Bool>(false)

  static var isRequested: Bool { requested.load(ordering: .relaxed) }

  static func install() {
    signal(SIGALRM) { _ in
      write(STDERR_FILENO, "\ninterrupted\n", 13)
      _exit(130)
    }
    let stop: @convention(c) (Int32) -> Void = { _ in
      if Interrupt.requested.exchange(true, ordering: .relaxed) { _exit(130) }
      alarm(1)
    }
    signal(SIGINT, stop)
    signal(SIGTERM, stop)
    // Whoever started this process may have left them blocked, as threads of a library's pool do.
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGINT, SIGTERM, SIGALRM] { sigaddset(&signals, number) }
    sigprocmask(SIG_UNBLOCK, &signals, nil)
    ignoreWhatWriteErrorsTell()
  }

  private static func ignoreWhatWriteErrorsTell() {
    // A reader that went away (`slowfast … | head`), and a file as large as it may become, are told by write errors, not by signals:
    // whoever writes cleans up as where a disk is full, and the status is 1.
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
  }

  /// For a server, which waits for both signals itself: no thread that is begun from now on may take them.
  static func leaveToServer() {
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGINT, SIGTERM] {
      signal(number, SIG_DFL)
      sigaddset(&signals, number)
    }
    pthread_sigmask(SIG_BLOCK, &signals, nil)
  }
}

/// Ctrl-C at a terminal: stops an answer, and at the prompt what is being typed. Where an answer does not stop, a second one ends the
/// process.
enum ChatInterrupt {
  private static let presses = Atomic<Int>(0)
  private static let isAnswering = Atomic<Bool>(false)

  static func install() {
    signal(SIGINT) { _ in
      ChatInterrupt.press()
      if ChatInterrupt.presses.load(ordering: .relaxed) > 1, ChatInterrupt.isAnswering.load(ordering: .relaxed) { _exit(130) }
    }
  }

  /// As the signal does.
  static func press() { presses.add(1, ordering: .relaxed) }

  static var isPressed: Bool { presses.load(ordering: .relaxed) > 0 }

  /// How often it was pressed since the last call.
  static func take() -> Int { presses.exchange(0, ordering: .relaxed) }

  /// What was pressed before counts no longer.
  static func begin(answering: Bool) {
    presses.store(0, ordering: .relaxed)
    isAnswering.store(answering, ordering: .relaxed)
  }
}

/// Ctrl-Z at a prompt, and the way back: the terminal has shown other things since, and may be in another mode.
enum Suspension {
  private static let isAskedFor = Atomic<Bool>(false)
  private static let isOver = Atomic<Bool>(false)

  /// From now on coming back is noticed; with `deferring` the process stops only in `stop`, once the terminal is as it was found.
  static func watch(deferring: Bool) {
    signal(SIGCONT) { _ in Suspension.isOver.store(true, ordering: .relaxed) }
    if deferring { signal(SIGTSTP) { _ in Suspension.isAskedFor.store(true, ordering: .relaxed) } }
  }

  /// Ctrl-Z stops the process at once, as where nobody watches.
  static func unwatch() { signal(SIGTSTP, SIG_DFL) }

  static func takeRequest() -> Bool { isAskedFor.exchange(false, ordering: .relaxed) }

  /// Whether the process was stopped and goes on since the last call.
  static func takeReturn() -> Bool { isOver.exchange(false, ordering: .relaxed) }

  /// Returns when the process goes on.
  static func stop() {
    signal(SIGTSTP, SIG_DFL)
    raise(SIGTSTP)
    isOver.store(true, ordering: .relaxed)
    watch(deferring: true)
  }
}

/// The address space that `ulimit -v` limits.
enum AddressSpace {
  /// Has all threads share one heap where it is limited: a heap of its own takes each 64 MiB of it.
  static func spare() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur != rlim_t.max, let symbol = dlsym(nil, "mallopt")
    else { return }
    let arenaMaximum: Int32 = -8  // M_ARENA_MAX, whose header Swift does not import
    _ = unsafeBitCast(symbol, to: (@convention(c) (Int32, Int32) -> Int32).self)(arenaMaximum, 1)
  }
}
