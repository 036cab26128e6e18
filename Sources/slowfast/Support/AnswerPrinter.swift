/// Streams an answer to standard output.
final class AnswerPrinter {
  private let isSilent: Bool
  private var problem: UnwritableOutput?

  init(isSilent: Bool = false) { self.isSilent = isSilent }

  /// Takes the next piece and says whether to go on: not where nobody can read the answer.
  func print(_ text: String) -> Bool {
    if isSilent { return true }
    do throws(UnwritableOutput) { try Display.stream(text) } catch { problem = error }
    return problem == nil
  }

  /// Throws what kept the answer from being printed.
  func finish() throws(UnwritableOutput) {
    if let problem { throw problem }
    if !isSilent { try Display.print() }
  }
}
