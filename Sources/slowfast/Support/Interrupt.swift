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
    // A reader that went away (`slowfast … | head`), and a file as large as it may become, are told by write errors, not by signals:
    // whoever writes cleans up as where a disk is full, and the status is 1.
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
  }

  /// Takes a pending request back: the work it asked to stop has stopped and the process goes on (`chat`).
  static func clear() {
    alarm(0)
    requested.store(false, ordering: .relaxed)
  }
}
