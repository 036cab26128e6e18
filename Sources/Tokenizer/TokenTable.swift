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

/// A token that stands beside the BPE vocabulary and is found in a text before all else, such as `<|im_start|>`.
package struct AddedToken: Hashable, Sendable {
  package var id: Int32
  package var text: String
  /// Left out by `decode(_:skipSpecial:)`, and not looked for by `encode(_:allowSpecial:)` if that is told so.
  package var isSpecial: Bool
  /// Looked for in the normalized text, and in its normalized form.
  package var isNormalized = false
  /// Takes the white space before it, after it.
  package var stripsLeft = false
  package var stripsRight = false
  /// Is not found next to a character that words are made of.
  package var isSingleWord = false

  package init(id: Int32, text: String, isSpecial: Bool) {
    self.id = id
    self.text = text
    self.isSpecial = isSpecial
  }
}

/// The added tokens, and the search for them: leftmost first, the longest of those that begin at the same place.
struct AddedTokens: Sendable {
  static let maximumCount = 1 << 16
  static let maximumLength = 0xFFFF

  let tokens: [AddedToken]
  /// What each decodes to: `tokens`, in the same order.
  private let decoded: [[UInt8]]
  private let indexOfId: [Int32: Int]
  let asWritten: Matcher
  let inNormalized: Matcher

  /// The ids differ, and so do the texts.
  init(_ tokens: [AddedToken], usesNFC: Bool) {
    self.tokens = tokens
    let normalized = tokens.map { token in
      let bytes = Array(token.text.utf8)
      return token.isNormalized && usesNFC ? NFC.normalize(bytes, 0..<bytes.count) ?? bytes : bytes
    }
    // As HuggingFace decodes them: through the byte alphabet like any token, if they happen to be written in it.
    decoded = normalized.map { ByteAlphabet.bytes(of: String(decoding: $0, as: UTF8.self)) ?? $0 }
    indexOfId = Dictionary(tokens.enumerated().map { ($1.id, $0) }) { first, _ in first }
    asWritten = Matcher(tokens.indices.filter { !tokens[$0].isNormalized }.map { (normalized[$0], tokens[$0]) })
    inNormalized = Matcher(tokens.indices.filter { tokens[$0].isNormalized }.map { (normalized[$0], tokens[$0]) })
  }

  subscript(id: Int32) -> AddedToken? { indexOfId[id].map { tokens[$0] } }

  func bytes(_ id: Int32) -> [UInt8]? { indexOfId.isEmpty ? nil : indexOfId[id].map { decoded[$0] } }

  enum Part {
    case token(Int32)
    case text(Range<Int>)
  }
}

extension AddedTokens {
  /// A set of patterns and the tokens that they stand for.
  struct Matcher: Sendable {
    /// Sorted by their bytes.
    private let patterns: [(bytes: [UInt8], token: AddedToken)]
    private let isFirstByte: [Bool]

    init(_ patterns: [(bytes: [UInt8], token: AddedToken)]) {
      self.patterns = patterns.sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
      var isFirstByte = [Bool](repeating: false, count: 256)
      for pattern in patterns { if let byte = pattern.bytes.first { isFirstByte[Int(byte)] = true } }
      self.isFirstByte = isFirstByte
    }

    /// Splits `bytes[range]`, which is valid UTF-8, into added tokens and what is between them. What touches a range of `plain` is no
    /// special token.
    func forEachPart(
      _ bytes: [UInt8], _ range: Range<Int>, allowSpecial: Bool, plain: [Range<Int>] = [], _ body: (Part) -> Void
    ) {
      /// Where the text begins that is not handed out yet, and where to look on: a token that strips may have taken text beyond.
      var rest = range.lowerBound
      var index = range.lowerBound
      if patterns.isEmpty { index = range.upperBound }
      while index < range.upperBound {
        guard isFirstByte[Int(bytes[index])], let (token, length) = longest(bytes, index..<range.upperBound) else {
          index += 1
          continue
        }
        var match = index..<index + length
        index += length
        if token.isSpecial {
          if !allowSpecial { continue }
          if plain.contains(where: { $0.overlaps(match) }) {
            // What follows the plain text may begin within the match.
            index = match.lowerBound + 1
            continue
          }
        }
        if token.isSingleWord && isInsideWord(bytes, range, match) { continue }
        if token.stripsLeft { match = max(skipSpaces(bytes, before: match.lowerBound, from: range.lowerBound), rest)..<match.upperBound }
        if token.stripsRight { match = match.lowerBound..<skipSpaces(bytes, match.upperBound..<range.upperBound) }
        if rest < match.lowerBound { body(.text(rest..<match.lowerBound)) }
        body(.token(token.id))
        rest = match.upperBound
      }
      if rest < range.upperBound { body(.text(rest..<range.upperBound)) }
    }

    /// The longest pattern that `bytes[range]` begins with: at each byte the patterns that still fit are a shorter part of the list.
    private func longest(_ bytes: [UInt8], _ range: Range<Int>) -> (token: AddedToken, length: Int)? {
      var candidates = patterns.indices
      var found: (AddedToken, Int)?
      var depth = 0
      while true {
        if let first = candidates.first, patterns[first].bytes.count == depth {
          found = depth > 0 ? (patterns[first].token, depth) : nil
          while let first = candidates.first, patterns[first].bytes.count == depth { candidates.removeFirst() }
        }
        guard !candidates.isEmpty, range.lowerBound + depth < range.upperBound else { return found }
        let byte = bytes[range.lowerBound + depth]
        let (offset, count) = (candidates.lowerBound, candidates.count)
        let low = partitionPoint(count) { patterns[offset + $0].bytes[depth] >= byte }
        let high = partitionPoint(count) { patterns[offset + $0].bytes[depth] > byte }
        candidates = offset + low..<offset + high
        depth += 1
      }
    }

    private func isInsideWord(_ bytes: [UInt8], _ range: Range<Int>, _ match: Range<Int>) -> Bool {
      if match.lowerBound > range.lowerBound && isWord(scalar(before: match.lowerBound, of: bytes).value) { return true }
      return match.upperBound < range.upperBound && isWord(scalar(at: match.upperBound, of: bytes).value)
    }

    /// `\w` of Unicode 16.
    private func isWord(_ value: UInt32) -> Bool {
      guard let properties = Unicode.Scalar(value)?.properties, let age = properties.age, age.major <= 16 else { return false }
      switch properties.generalCategory {
      case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
      default: return properties.isAlphabetic || properties.isJoinControl
      }
    }

    private func skipSpaces(_ bytes: [UInt8], _ range: Range<Int>) -> Int {
      var index = range.lowerBound
      while index < range.upperBound {
        let (value, length) = scalar(at: index, of: bytes)
        if !ScalarProperties.shared.scalarClass(value).isWhitespace { break }
        index += length
      }
      return index
    }

    private func skipSpaces(_ bytes: [UInt8], before end: Int, from start: Int) -> Int {
      var index = end
      while index > start {
        let (value, length) = scalar(before: index, of: bytes)
        if !ScalarProperties.shared.scalarClass(value).isWhitespace { break }
        index -= length
      }
      return index
    }
  }
}
