import Foundation
import Support

/// Streams an answer to standard output: as it is to a file or a pipe, without control characters to a terminal.
final class AnswerPrinter {
  private let isSilent: Bool
  private let isTerminal = isatty(STDOUT_FILENO) == 1
  private var problem: UnwritableOutput?

  init(isSilent: Bool = false) { self.isSilent = isSilent }

  /// Takes the next piece and says whether to go on: not where nobody can read the answer.
  func print(_ text: String) -> Bool {
    if isSilent { return true }
    do throws(UnwritableOutput) { try Display.stream(isTerminal ? text.withoutControls : text) } catch { problem = error }
    return problem == nil
  }

  /// Throws what kept the answer from being printed.
  func finish() throws(UnwritableOutput) {
    if let problem { throw problem }
    if !isSilent { try Display.print() }
  }
}
