import Foundation
import Synchronization

/// Ctrl-C at a terminal: stops an answer, and at the prompt what is being typed. Where an answer does not stop, a second one ends the process.
enum ChatInterrupt {
  private static let pressed = Atomic<Bool>(false)
  private static let isAnswering = Atomic<Bool>(false)

  static func install() {
    signal(SIGINT) { _ in
      let again = ChatInterrupt.pressed.exchange(true, ordering: .relaxed)
      if again, ChatInterrupt.isAnswering.load(ordering: .relaxed) { _exit(130) }
    }
  }

  static var isPressed: Bool { pressed.load(ordering: .relaxed) }

  /// What was pressed before counts no longer.
  static func begin(answering: Bool) {
    pressed.store(false, ordering: .relaxed)
    isAnswering.store(answering, ordering: .relaxed)
  }
}
