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

    /// Splits `bytes[range]`, which is valid UTF-8, into added tokens and what is between them.
    func forEachPart(_ bytes: [UInt8], _ range: Range<Int>, allowSpecial: Bool, _ body: (Part) -> Void) {
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
        if token.isSpecial && !allowSpecial { continue }
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
