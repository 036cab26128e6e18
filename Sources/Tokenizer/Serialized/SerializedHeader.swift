/// The first bytes of a serialized tokenizer: what follows, and how long it is. See Formats/tokenizer.md.
struct SerializedHeader {
  static let magic: [UInt8] = Array("SFTK".utf8)
  static let version: UInt16 = 1
  static let length = 32
  static let literal: UInt16 = 0x8000

  var preTokenizer: PreTokenizer
  var usesNFC: Bool
  var tokens: Int
  var tokenBytes: Int
  var merges: Int
  var addedTokens: Int
  var addedBytes: Int
  var endToken: Int32

  /// Where the tokens' lengths end: they are padded to a multiple of 4.
  var mergesOffset: Int { Self.length + (tokens + 1) / 2 * 4 }
  var addedOffset: Int { mergesOffset + merges * 12 }
  var tokenBytesOffset: Int { addedOffset + addedTokens * 8 }
  var totalLength: Int { tokenBytesOffset + tokenBytes + addedBytes }

  /// The bits of an added token's flags.
  static let flags: [WritableKeyPath<AddedToken, Bool> & Sendable] = [
    \.isSpecial, \.isNormalized, \.stripsLeft, \.stripsRight, \.isSingleWord,
  ]
}
