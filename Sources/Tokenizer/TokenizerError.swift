import Support

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
      "\(source.escaped()): the tokenizer has no token \"\(token)\", which every prompt needs; is a file of the tokenizer missing, or is it no chat model?"
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
