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
    var reader = SerializedReader(bytes, header)
    let tokens = try reader.readTokens()
    let merges = try reader.readMerges(tokens)
    let added = try reader.readAddedTokens(tokens)
    self.init(
      tokens: tokens, merges: merges, added: added, preTokenizer: header.preTokenizer, usesNFC: header.usesNFC,
      endToken: header.endToken == -1 ? nil : header.endToken)
    if let endToken, token(endToken) == nil { throw .invalidField(offset: 28, reason: "the end token \(endToken) does not exist") }
  }
}

extension SerializedHeader {
  /// Checks all that can be known from the header, the whole length included.
  init(_ bytes: [UInt8]) throws(TokenizerError) {
    guard bytes.starts(with: Self.magic) else { throw .notSerialized }
    guard bytes.count >= Self.length else { throw .wrongLength(expected: Self.length, found: bytes.count) }
    var reader = ByteReader(bytes)
    _ = reader.read(count: Self.magic.count)
    let version = reader.read(UInt16.self)
    guard version == Self.version else { throw .unsupportedVersion(found: Int(version), supported: Int(Self.version)) }
    let pattern = reader.read(UInt8.self)
    guard let preTokenizer = PreTokenizer(rawValue: pattern) else {
      throw .invalidField(offset: 6, reason: "unknown pre-tokenizer \(pattern)")
    }
    let flags = reader.read(UInt8.self)
    guard flags <= 1 else { throw .invalidField(offset: 7, reason: "unknown flags \(flags)") }

    func count(_ what: String, limit: Int) throws(TokenizerError) -> Int {
      let offset = reader.offset
      let count = Int(reader.read(UInt32.self))
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
    endToken = reader.read(Int32.self)
    guard bytes.count == totalLength else { throw .wrongLength(expected: totalLength, found: bytes.count) }
  }
}
