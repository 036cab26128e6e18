/// What can be wrong with a tokenizer's files or with its serialized form.
public enum TokenizerError: Error, Equatable, Sendable {
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
  /// A role, such as `eos_token`, of a token that there is not.
  case unknownTokenInRole(file: String, role: String, token: String)

  /// The serialized form does not begin with its magic bytes.
  case notSerialized
  case unsupportedVersion(found: Int, supported: Int)
  /// The serialized form has not the length that its header tells.
  case wrongLength(expected: Int, found: Int)
  /// A field of the serialized form that cannot be: where, and why.
  case invalidField(offset: Int, reason: String)
}

extension TokenizerError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .noTokenizer(let directory):
      "\(escaped(directory)): no tokenizer: expected tokenizer.json, or vocab.json and merges.txt"
    case .unreadable(let file, let reason): "\(escaped(file)): cannot be read: \(escaped(reason))"
    case .malformed(let file, let reason): "\(escaped(file)): \(escaped(reason))"
    case .unsupported(let file, let setting, let found, let supported):
      "\(escaped(file)): \(escaped(setting)) is \(escaped(found)), expected \(supported)"
    case .tooMany(let file, let what, let count, let limit): "\(escaped(file)): \(count) \(what), at most \(limit) are possible"
    case .idOutOfRange(let file, let token, let id, let limit):
      "\(escaped(file)): token \"\(escaped(token))\" has the id \(id), expected 0 ..< \(limit)"
    case .tokenTooLong(let file, let id, let bytes, let limit):
      "\(escaped(file)): token \(id) has \(bytes) bytes, at most \(limit) are possible"
    case .idOfTwoTokens(let file, let id, let first, let second):
      "\(escaped(file)): the id \(id) has two tokens, \"\(escaped(first))\" and \"\(escaped(second))\""
    case .tokenWithTwoIDs(let file, let token, let first, let second):
      "\(escaped(file)): the token \"\(escaped(token))\" has two ids, \(first) and \(second)"
    case .malformedMerge(let file, let index, let found):
      "\(escaped(file)): merge \(index) is \"\(escaped(found))\", expected two tokens"
    case .unknownTokenInMerge(let file, let index, let token):
      "\(escaped(file)): merge \(index) needs the token \"\(escaped(token))\", which is not in the vocabulary"
    case .unknownTokenInRole(let file, let role, let token):
      "\(escaped(file)): \(role) is \"\(escaped(token))\", which is not in the vocabulary"
    case .notSerialized: "tokenizer: not a serialized tokenizer: expected it to begin with \"SFTK\""
    case .unsupportedVersion(let found, let supported): "tokenizer: format version \(found), expected \(supported)"
    case .wrongLength(let expected, let found): "tokenizer: \(found) bytes, expected \(expected)"
    case .invalidField(let offset, let reason): "tokenizer: at byte \(offset): \(escaped(reason))"
    }
  }
}

/// Text from outside for an error message: of printable length, with control characters written as `\u{…}`.
func escaped(_ text: String) -> String {
  var result = ""
  for (index, scalar) in text.unicodeScalars.enumerated() {
    if index == 200 { return result + "…" }
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned:
      result += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}
