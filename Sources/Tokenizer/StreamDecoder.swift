/// Decodes tokens one at a time, as a model makes them, into whole characters: the bytes of one that is not finished yet wait for
/// the next token. All that it returns, joined, is what `Tokenizer.decode` gives for all the tokens at once.
package struct StreamDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipSpecial: Bool
  /// At most 3 bytes between two calls.
  private var waiting: [UInt8] = []

  package init(_ tokenizer: Tokenizer, skipSpecial: Bool = false) {
    self.tokenizer = tokenizer
    self.skipSpecial = skipSpecial
  }

  /// The text that the token finishes, which may be empty.
  package mutating func append(_ id: Int32) -> String {
    tokenizer.appendBytes(of: id, to: &waiting, skipSpecial: skipSpecial)
    let whole = waiting.count - lengthOfUnfinishedCharacter(waiting)
    defer { waiting.removeFirst(whole) }
    return String(decoding: waiting[..<whole], as: UTF8.self)
  }

  /// What is left when no more tokens come: empty, or U+FFFD for a character that was never finished.
  package mutating func finish() -> String {
    defer { waiting = [] }
    return String(decoding: waiting, as: UTF8.self)
  }
}
