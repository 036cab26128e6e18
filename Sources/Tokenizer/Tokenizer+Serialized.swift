import Support

extension Tokenizer {
  /// The tokenizer in the form that a model file carries (Formats/tokenizer.md): everything that encoding and decoding need.
  public func serialized() -> [UInt8] {
    let texts = added.tokens.map { Array($0.text.utf8) }
    let header = SerializedHeader(
      preTokenizer: preTokenizer, usesNFC: usesNFC, tokens: tokens.count, tokenBytes: tokens.bytes.count,
      merges: merges.merges.count, addedTokens: texts.count, addedBytes: texts.reduce(0) { $0 + $1.count },
      endToken: endToken ?? -1)

    var bytes = SerializedHeader.magic
    bytes.reserveCapacity(header.totalLength)
    bytes.append(littleEndian: SerializedHeader.version)
    bytes.append(header.preTokenizer.rawValue)
    bytes.append(header.usesNFC ? 1 : 0)
    for count in [header.tokens, header.tokenBytes, header.merges, header.addedTokens, header.addedBytes] {
      bytes.append(littleEndian: UInt32(count))
    }
    bytes.append(littleEndian: header.endToken)

    for id in 0..<tokens.count {
      bytes.append(littleEndian: UInt16(tokens.range(id).count) | (tokens.isLiteral(id) ? SerializedHeader.literal : 0))
    }
    while bytes.count < header.mergesOffset { bytes.append(0) }
    for merge in merges.merges {
      for id in [merge.left, merge.right, merge.result] { bytes.append(littleEndian: id) }
    }
    for (token, text) in zip(added.tokens, texts) {
      bytes.append(littleEndian: token.id)
      bytes.append(littleEndian: UInt16(text.count))
      var flags: UInt16 = 0
      for (bit, flag) in SerializedHeader.flags.enumerated() where token[keyPath: flag] { flags |= 1 << bit }
      bytes.append(littleEndian: flags)
    }
    bytes += tokens.bytes
    for text in texts { bytes += text }
    return bytes
  }

  /// A tokenizer from what `serialized()` wrote. Every count, length and id is checked.
  package init(serialized bytes: [UInt8]) throws(TokenizerError) {
    let header = try SerializedHeader(bytes)
    var reader = try SerializedReader(bytes, header)
    let tokens = try reader.readTokens()
    let merges = try reader.readMerges(tokens)
    let added = try reader.readAddedTokens(tokens)
    self.init(
      tokens: tokens, merges: merges, added: added, preTokenizer: header.preTokenizer, usesNFC: header.usesNFC,
      endToken: header.endToken == -1 ? nil : header.endToken)
    if let endToken, token(endToken) == nil { throw .invalidField(offset: 28, reason: "the end token \(endToken) does not exist") }
  }
}

/// The first bytes of a serialized tokenizer: what follows, and how long it is. See Formats/tokenizer.md.
private struct SerializedHeader {
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

extension SerializedHeader {
  /// Checks all that can be known from the header, the whole length included.
  init(_ bytes: [UInt8]) throws(TokenizerError) {
    guard bytes.starts(with: Self.magic) else { throw .notSerialized }
    guard bytes.count >= Self.length else { throw .wrongLength(expected: Self.length, found: bytes.count) }
    var reader = SerializedBytes(serialized: bytes)
    _ = try reader.bytes(Self.magic.count)
    let version = try reader.integer(UInt16.self)
    guard version == Self.version else { throw .unsupportedVersion(found: Int(version), supported: Int(Self.version)) }
    let pattern = try reader.integer(UInt8.self)
    guard let preTokenizer = PreTokenizer(rawValue: pattern) else {
      throw .invalidField(offset: 6, reason: "unknown pre-tokenizer \(pattern)")
    }
    let flags = try reader.integer(UInt8.self)
    guard flags <= 1 else { throw .invalidField(offset: 7, reason: "unknown flags \(flags)") }

    func count(_ what: String, limit: Int) throws(TokenizerError) -> Int {
      let offset = reader.offset
      let count = Int(try reader.integer(UInt32.self))
      guard count <= limit else { throw .invalidField(offset: offset, reason: "\(count) \(what), at most \(limit) are possible") }
      return count
    }
    self.preTokenizer = preTokenizer
    usesNFC = flags == 1
    tokens = try count("tokens", limit: TokenTable.maximumCount)
    tokenBytes = try count("bytes of tokens", limit: Int(UInt32.max))
    merges = try count("merges", limit: MergeTable.maximumCount)
    addedTokens = try count("added tokens", limit: AddedTokens.maximumCount)
    addedBytes = try count("bytes of added tokens", limit: Int(UInt32.max))
    endToken = try reader.integer(Int32.self)
    guard bytes.count == totalLength else { throw .wrongLength(expected: totalLength, found: bytes.count) }
  }
}

private typealias SerializedBytes = ByteReader<TokenizerError>

extension SerializedBytes {
  fileprivate init(serialized bytes: [UInt8]) {
    self.init(bytes[...]) { offset, needed, available in .wrongLength(expected: offset + needed, found: offset + available) }
  }
}

/// Reads the parts after the header, which has been checked, so that the bytes are all there.
private struct SerializedReader {
  private let bytes: [UInt8]
  private let header: SerializedHeader
  private var reader: SerializedBytes

  init(_ bytes: [UInt8], _ header: SerializedHeader) throws(TokenizerError) {
    self.bytes = bytes
    self.header = header
    reader = SerializedBytes(serialized: bytes)
    _ = try reader.bytes(SerializedHeader.length)
  }

  mutating func readTokens() throws(TokenizerError) -> TokenTable {
    var lengths: [Int] = []
    lengths.reserveCapacity(header.tokens)
    var literals: [UInt32] = []
    var sum = 0
    for (id, entry) in try reader.integers(header.tokens, of: UInt16.self).enumerated() {
      let length = Int(entry & ~SerializedHeader.literal)
      if entry & SerializedHeader.literal != 0 { literals.append(UInt32(id)) }
      lengths.append(length)
      sum += length
    }
    guard sum == header.tokenBytes else {
      throw .invalidField(offset: 12, reason: "\(header.tokenBytes) bytes of tokens, but their lengths add up to \(sum)")
    }
    guard try reader.bytes(header.mergesOffset - reader.offset).allSatisfy({ $0 == 0 }) else {
      throw .invalidField(offset: header.mergesOffset - 2, reason: "the padding is not zero")
    }
    let start = header.tokenBytesOffset
    let tokens = TokenTable(bytes: Array(bytes[start..<start + sum]), lengths: lengths, literals: literals)
    for id in literals.map(Int.init) {
      let range = tokens.range(id)
      guard let text = String(validating: tokens.bytes[range], as: UTF8.self), ByteAlphabet.bytes(of: text) == nil else {
        throw .invalidField(offset: start + range.lowerBound, reason: "token \(id) is not UTF-8 outside of the byte alphabet")
      }
    }
    return tokens
  }

  mutating func readMerges(_ tokens: TokenTable) throws(TokenizerError) -> MergeTable {
    var merges: [MergeTable.Merge] = []
    merges.reserveCapacity(header.merges)
    let start = reader.offset
    let ids = try reader.integers(3 * header.merges, of: UInt32.self)
    for index in 0..<header.merges {
      let offset = start + 12 * index
      let merge = MergeTable.Merge(left: ids[3 * index], right: ids[3 * index + 1], result: ids[3 * index + 2])
      for id in [merge.left, merge.right, merge.result] {
        guard !tokens.range(Int(id)).isEmpty, !tokens.isLiteral(Int(id)) else {
          throw .invalidField(offset: offset, reason: "a merge of the token \(id), which is none that merges")
        }
      }
      guard tokens.isJoined(merge) else {
        throw .invalidField(offset: offset, reason: "tokens \(merge.left) and \(merge.right) do not make up token \(merge.result)")
      }
      merges.append(merge)
    }
    do {
      return try MergeTable(merges, tokens: tokens)
    } catch {
      throw .invalidField(offset: start + error.rank * 12, reason: "a second merge of the same two tokens")
    }
  }

  mutating func readAddedTokens(_ tokens: TokenTable) throws(TokenizerError) -> [AddedToken] {
    var added: [AddedToken] = []
    var texts: Set<[UInt8]> = []
    var place = header.tokenBytesOffset + header.tokenBytes
    for _ in 0..<header.addedTokens {
      let offset = reader.offset
      let id = try reader.integer(Int32.self)
      let length = Int(try reader.integer(UInt16.self))
      let flags = try reader.integer(UInt16.self)
      guard id > added.last?.id ?? -1, id < TokenTable.maximumCount else {
        throw .invalidField(offset: offset, reason: "added token \(id) is out of order or out of range")
      }
      guard flags >> SerializedHeader.flags.count == 0 else {
        throw .invalidField(offset: offset + 6, reason: "added token \(id) has unknown flags \(flags)")
      }
      guard length > 0, length <= bytes.count - place, let text = String(validating: bytes[place..<place + length], as: UTF8.self) else {
        throw .invalidField(offset: offset + 4, reason: "added token \(id) has no text of \(length) bytes of UTF-8")
      }
      guard texts.insert(Array(text.utf8)).inserted else {
        throw .invalidField(offset: offset, reason: "added token \(id) has the text of another")
      }
      if !tokens.range(Int(id)).isEmpty, tokens.text(Int(id)) != text {
        throw .invalidField(offset: offset, reason: "added token \(id) has the id of another token")
      }
      var token = AddedToken(id: id, text: text, isSpecial: false)
      for (bit, flag) in SerializedHeader.flags.enumerated() { token[keyPath: flag] = flags >> bit & 1 == 1 }
      added.append(token)
      place += length
    }
    guard place == bytes.count else {
      throw .invalidField(offset: 24, reason: "\(bytes.count - place) more bytes than the added tokens have")
    }
    return added
  }
}
