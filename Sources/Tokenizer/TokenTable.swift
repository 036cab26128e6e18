/// The tokens of the BPE vocabulary by id, as the bytes that they stand for, one after the other in one array.
struct TokenTable: Sendable {
  /// Ids are below this, so that no file makes us allocate much more than its own length.
  static let maximumCount = 1 << 22
  static let maximumLength = 0x7FFF

  /// All tokens' bytes.
  let bytes: [UInt8]
  /// `count + 1` places in `bytes`: token `id` is `bytes[starts[id] ..< starts[id + 1]]`. An empty range: no token has this id.
  private let starts: [UInt32]
  /// Tokens whose text is not of the byte alphabet, sorted. Their bytes are the text's UTF-8, and no text is ever encoded to them.
  let literals: [UInt32]
  /// The token that is the one byte, per byte; -1 where there is none.
  let idOfByte: [Int32]

  var count: Int { starts.count - 1 }

  /// `lengths` sum up to the number of bytes, and `literals` are sorted ids.
  init(bytes: [UInt8], lengths: [Int], literals: [UInt32]) {
    self.bytes = bytes
    self.literals = literals
    var starts: [UInt32] = [0]
    starts.reserveCapacity(lengths.count + 1)
    var idOfByte = [Int32](repeating: -1, count: 256)
    var place = 0
    for (id, length) in lengths.enumerated() {
      if length == 1 && idOfByte[Int(bytes[place])] < 0 && !Self.contains(literals, UInt32(id)) {
        idOfByte[Int(bytes[place])] = Int32(id)
      }
      place += length
      starts.append(UInt32(place))
    }
    self.starts = starts
    self.idOfByte = idOfByte
  }

  /// Where the token's bytes are; empty if there is no such token. Any id may be asked for.
  func range(_ id: Int) -> Range<Int> {
    id >= 0 && id < count ? Int(starts[id])..<Int(starts[id + 1]) : 0..<0
  }

  func isLiteral(_ id: Int) -> Bool { !literals.isEmpty && Self.contains(literals, UInt32(id)) }

  /// The token's text as vocabularies write it ("Ġthe"), or nil if there is no such token.
  func text(_ id: Int) -> String? {
    let range = range(id)
    if range.isEmpty { return nil }
    return isLiteral(id) ? String(decoding: bytes[range], as: UTF8.self) : ByteAlphabet.text(of: bytes[range])
  }

  /// The id of the token with this text, by a search through all of them.
  func id(of text: String) -> Int? {
    let mapped = ByteAlphabet.bytes(of: text)
    let wanted = mapped ?? Array(text.utf8)
    if wanted.isEmpty { return nil }
    return (0..<count).first { id in
      let range = range(id)
      return range.count == wanted.count && bytes[range].elementsEqual(wanted) && isLiteral(id) == (mapped == nil)
    }
  }

  /// Whether the merge's result is its left token's bytes and then its right one's.
  func isJoined(_ merge: MergeTable.Merge) -> Bool {
    let (left, right, result) = (range(Int(merge.left)), range(Int(merge.right)), range(Int(merge.result)))
    guard result.count == left.count + right.count else { return false }
    for offset in 0..<left.count where bytes[result.lowerBound + offset] != bytes[left.lowerBound + offset] { return false }
    let second = result.lowerBound + left.count
    for offset in 0..<right.count where bytes[second + offset] != bytes[right.lowerBound + offset] { return false }
    return true
  }

  private static func contains(_ sorted: [UInt32], _ id: UInt32) -> Bool {
    let index = partitionPoint(sorted.count) { sorted[$0] >= id }
    return index < sorted.count && sorted[index] == id
  }
}

/// The 256 printable characters that byte-level tokenizers write bytes as, so that a vocabulary is a file of text: a printable
/// Latin-1 character stands for its own code, and U+0100 … U+0143 for the other bytes in their order ("Ġ" is a space).
enum ByteAlphabet {
  static let scalars: [Unicode.Scalar] = {
    var next: UInt8 = 0
    return (UInt8.min...UInt8.max).map { byte in
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return Unicode.Scalar(byte)
      default:
        defer { next += 1 }
        return Unicode.Scalar(UInt16(0x100) + UInt16(next)) ?? " "
      }
    }
  }()

  /// The byte of each scalar below U+0144; nil for those that stand for none.
  private static let bytes: [UInt8?] = {
    var bytes = [UInt8?](repeating: nil, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar.value)] = UInt8(byte) }
    return bytes
  }()

  /// The bytes that a token's text stands for, or nil if a character of it is not of the alphabet.
  static func bytes(of text: String) -> [UInt8]? {
    var result: [UInt8] = []
    result.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
      guard scalar.value < 0x144, let byte = bytes[Int(scalar.value)] else { return nil }
      result.append(byte)
    }
    return result
  }

  static func text(of bytes: some Sequence<UInt8>) -> String {
    var text = String.UnicodeScalarView()
    for byte in bytes { text.append(scalars[Int(byte)]) }
    return String(text)
  }
}
