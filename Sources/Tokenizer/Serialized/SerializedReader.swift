/// Reads the parts after the header, which has been checked, so that the bytes are all there.
struct SerializedReader {
  private let bytes: [UInt8]
  private let header: SerializedHeader
  private var reader: ByteReader

  init(_ bytes: [UInt8], _ header: SerializedHeader) {
    self.bytes = bytes
    self.header = header
    reader = ByteReader(bytes)
    _ = reader.read(count: SerializedHeader.length)
  }

  mutating func readTokens() throws(TokenizerError) -> TokenTable {
    var lengths: [Int] = []
    lengths.reserveCapacity(header.tokens)
    var literals: [UInt32] = []
    var sum = 0
    for id in 0..<header.tokens {
      let entry = reader.read(UInt16.self)
      let length = Int(entry & ~SerializedHeader.literal)
      if entry & SerializedHeader.literal != 0 { literals.append(UInt32(id)) }
      lengths.append(length)
      sum += length
    }
    guard sum == header.tokenBytes else {
      throw .invalidField(offset: 12, reason: "\(header.tokenBytes) bytes of tokens, but their lengths add up to \(sum)")
    }
    guard reader.read(count: header.mergesOffset - reader.offset).allSatisfy({ $0 == 0 }) else {
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
    for _ in 0..<header.merges {
      let offset = reader.offset
      let merge = MergeTable.Merge(left: reader.read(), right: reader.read(), result: reader.read())
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
      let id = reader.read(Int32.self)
      let length = Int(reader.read(UInt16.self))
      let flags = reader.read(UInt16.self)
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
