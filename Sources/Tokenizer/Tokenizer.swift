/// Byte-level byte pair encoding as Qwen2 and GPT-2 use it: text to token ids and back, the same as HuggingFace's `tokenizers`.
///
/// A text is split at added tokens, brought to normalization form C, cut into pre-tokens by the pattern that the checkpoint
/// names, and each pre-token's bytes are merged to tokens. A value is immutable and may be used from several threads at once.
public struct Tokenizer: Sendable {
  let tokens: TokenTable
  let merges: MergeTable
  let added: AddedTokens
  let preTokenizer: PreTokenizer
  /// Whether texts are brought to Unicode's normalization form C first.
  let usesNFC: Bool

  /// The token that ends a turn or a text, where the checkpoint names one (`eos_token`).
  public let endToken: Int32?

  /// All added tokens by id, the special ones among them.
  package var addedTokens: [AddedToken] { added.tokens }

  /// One more than the highest id, which a model's embedding table must have as many rows as. Not every id below it need be in use.
  public let vocabularySize: Int

  init(tokens: TokenTable, merges: MergeTable, added: [AddedToken], preTokenizer: PreTokenizer, usesNFC: Bool, endToken: Int32?) {
    self.tokens = tokens
    self.merges = merges
    self.added = AddedTokens(added.sorted { $0.id < $1.id }, usesNFC: usesNFC)
    self.preTokenizer = preTokenizer
    self.usesNFC = usesNFC
    self.endToken = endToken
    vocabularySize = max(tokens.count, (self.added.tokens.last.map { Int($0.id) } ?? -1) + 1)
  }

  /// The id of the token with exactly this text, as vocabularies write it ("Ġthe", "<|im_end|>"). Searches the whole vocabulary:
  /// some hundred microseconds, so ask once.
  public func id(of token: String) -> Int32? {
    added.tokens.first { $0.text.utf8.elementsEqual(token.utf8) }?.id ?? tokens.id(of: token).map(Int32.init)
  }

  /// The token's text, as vocabularies write it ("Ġthe"); nil if there is no such token.
  public func token(_ id: Int32) -> String? { added[id]?.text ?? tokens.text(Int(id)) }

  /// The ids of `text`.
  ///
  /// - Parameter allowSpecial: false takes special tokens in the text for the characters that they are written with.
  public func encode(_ text: String, allowSpecial: Bool = true) -> [Int32] {
    var ids: [Int32] = []
    var encoder = BytePairEncoder(self)
    let bytes = Array(text.utf8)
    added.asWritten.forEachPart(bytes, 0..<bytes.count, allowSpecial: allowSpecial) { part in
      switch part {
      case .token(let id): ids.append(id)
      case .text(let range):
        if usesNFC, let normalized = NFC.normalize(bytes, range) {
          encode(normalized, 0..<normalized.count, allowSpecial: allowSpecial, &encoder, &ids)
        } else {
          encode(bytes, range, allowSpecial: allowSpecial, &encoder, &ids)
        }
      }
    }
    return ids
  }

  /// Of normalized text, in which the added tokens that are looked for as written are found already.
  private func encode(
    _ bytes: [UInt8], _ range: Range<Int>, allowSpecial: Bool, _ encoder: inout BytePairEncoder, _ ids: inout [Int32]
  ) {
    added.inNormalized.forEachPart(bytes, range, allowSpecial: allowSpecial) { part in
      switch part {
      case .token(let id): ids.append(id)
      case .text(let range): preTokenizer.forEach(bytes, range) { encoder.encode(bytes, $0, to: &ids) }
      }
    }
  }

  /// The text of `ids`. Bytes that are not UTF-8 become U+FFFD; ids of no token are passed over, as HuggingFace does.
  public func decode(_ ids: some Sequence<Int32>, skipSpecial: Bool = false) -> String {
    var bytes: [UInt8] = []
    for id in ids { appendBytes(of: id, to: &bytes, skipSpecial: skipSpecial) }
    return String(decoding: bytes, as: UTF8.self)
  }

  func appendBytes(of id: Int32, to bytes: inout [UInt8], skipSpecial: Bool) {
    if let decoded = added.bytes(id) {
      if !(skipSpecial && added[id]?.isSpecial == true) { bytes += decoded }
    } else {
      bytes += tokens.bytes[tokens.range(Int(id))]
    }
  }
}

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
