import Support

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
  public func encode(_ text: String, allowSpecial: Bool = true) -> [Int32] { encode(text, allowSpecial: allowSpecial, plain: []) }

  /// The ids of `text`; special tokens that touch one of the ranges `plain` of its UTF-8 bytes are taken for the characters that they are
  /// written with.
  package func encode(_ text: String, plain: [Range<Int>]) -> [Int32] { encode(text, allowSpecial: true, plain: plain) }

  private func encode(_ text: String, allowSpecial: Bool, plain: [Range<Int>]) -> [Int32] {
    var ids: [Int32] = []
    var encoder = BytePairEncoder(self)
    let bytes = Array(text.utf8)
    added.asWritten.forEachPart(bytes, 0..<bytes.count, allowSpecial: allowSpecial, plain: plain) { part in
      switch part {
      case .token(let id): ids.append(id)
      case .text(let range):
        // Places in normalized text are others: there is none where a special token would be looked for in it.
        let allowSpecial = allowSpecial && !plain.contains { $0.overlaps(range) }
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

  /// The tokens that any text is made of, which added tokens are not, with their bytes.
  package var textTokens: [(id: Int32, bytes: [UInt8])] {
    (0..<tokens.count).compactMap { id in
      let range = tokens.range(id)
      guard !range.isEmpty, !tokens.isLiteral(id), added[Int32(id)] == nil else { return nil }
      return (Int32(id), Array(tokens.bytes[range]))
    }
  }

  /// The bytes that the token stands for, which need not be whole characters; none where there is no such token.
  public func bytes(of id: Int32) -> [UInt8] {
    var bytes: [UInt8] = []
    appendBytes(of: id, to: &bytes, skipSpecial: false)
    return bytes
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

/// What can be wrong with a tokenizer's files or with its serialized form.
package enum TokenizerError: Error, Equatable, Sendable {
  /// The directory has neither `tokenizer.json` nor both `vocab.json` and `merges.txt`.
  case noTokenizer(directory: String)
  case unreadable(file: String, reason: String)
  /// Not JSON, or not of the shape that a tokenizer's file has.
  case malformed(file: String, reason: String)
  /// A setting that changes how text is encoded in a way that this module does not know.
  case unsupported(file: String, setting: String, found: String, supported: String)
  /// More tokens or merges than any tokenizer has.
  case tooMany(file: String, what: String, count: Int, limit: Int)
  case idOutOfRange(file: String, token: String, id: Int, limit: Int)
  case tokenTooLong(file: String, id: Int, bytes: Int, limit: Int)
  case idOfTwoTokens(file: String, id: Int, first: String, second: String)
  case tokenWithTwoIDs(file: String, token: String, first: Int, second: Int)
  /// A merge that is not two tokens. Merges are counted from 0.
  case malformedMerge(file: String, index: Int, found: String)
  /// A merge of a token, or to a token, that the vocabulary does not have.
  case unknownTokenInMerge(file: String, index: Int, token: String)

  // A tokenizer and the model that it belongs to; `source` is the checkpoint or the model file.
  case idBeyondEmbedding(source: String, token: String, id: Int, rows: Int)
  /// It has no such single token, which the prompt is made of.
  case missingPromptToken(source: String, token: String)

  /// The serialized form does not begin with its magic bytes.
  case notSerialized
  case unsupportedVersion(found: Int, supported: Int)
  /// The serialized form has not the length that its header tells.
  case wrongLength(expected: Int, found: Int)
  /// A field of the serialized form that cannot be: where, and why.
  case invalidField(offset: Int, reason: String)
}

extension TokenizerError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .noTokenizer(let directory):
      "\(directory.escaped()): no tokenizer: expected tokenizer.json, or vocab.json and merges.txt"
    case .unreadable(let file, let reason): "\(file.escaped()): cannot be read: \(reason.escaped())"
    case .malformed(let file, let reason): "\(file.escaped()): \(reason.escaped())"
    case .unsupported(let file, let setting, let found, let supported):
      "\(file.escaped()): \(setting.escaped()) is \(found.escaped()), expected \(supported)"
    case .tooMany(let file, let what, let count, let limit): "\(file.escaped()): \(count) \(what), at most \(limit) are possible"
    case .idOutOfRange(let file, let token, let id, let limit):
      "\(file.escaped()): token \"\(token.escaped())\" has the id \(id), expected 0 ..< \(limit)"
    case .tokenTooLong(let file, let id, let bytes, let limit):
      "\(file.escaped()): token \(id) has \(bytes) bytes, at most \(limit) are possible"
    case .idOfTwoTokens(let file, let id, let first, let second):
      "\(file.escaped()): the id \(id) has two tokens, \"\(first.escaped())\" and \"\(second.escaped())\""
    case .tokenWithTwoIDs(let file, let token, let first, let second):
      "\(file.escaped()): the token \"\(token.escaped())\" has two ids, \(first) and \(second)"
    case .malformedMerge(let file, let index, let found):
      "\(file.escaped()): merge \(index) is \"\(found.escaped())\", expected two tokens"
    case .unknownTokenInMerge(let file, let index, let token):
      "\(file.escaped()): merge \(index) needs the token \"\(token.escaped())\", which is not in the vocabulary"
    case .idBeyondEmbedding(let source, let token, let id, let rows):
      "\(source.escaped()): the tokenizer's token \"\(token.escaped())\" has the id \(id), but the embedding only \(rows) rows"
    case .missingPromptToken(let source, let token):
      "\(source.escaped()): the tokenizer has no token \"\(token)\", which every prompt needs; "
        + "is a file of the tokenizer missing, or is it no chat model?"
    case .notSerialized: "tokenizer: not a serialized tokenizer: expected it to begin with \"SFTK\""
    case .unsupportedVersion(let found, let supported): "tokenizer: format version \(found), expected \(supported)"
    case .wrongLength(let expected, let found): "tokenizer: \(found) bytes, expected \(expected)"
    case .invalidField(let offset, let reason): "tokenizer: at byte \(offset): \(reason.escaped())"
    }
  }
}

extension TokenizerError: ClassifiedError {
  package var kind: SlowFastError.Kind { .invalidModel }

  package var namesItsFile: Bool {
    switch self {
    case .notSerialized, .unsupportedVersion, .wrongLength, .invalidField: false
    default: true
    }
  }
}
