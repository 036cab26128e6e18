/// How a text is cut into pre-tokens, within which merges stay: the regular expressions that tokenizers of this family name,
/// each written out as a scanner. Between them its alternatives take every character, so pre-tokens cover the text. SmolLM2's first makes
/// each digit a part of its own, and cuts what is between by GPT-2's.
enum PreTokenizer: UInt8, Sendable {
  case qwen2 = 1
  case gpt2 = 2
  case smolLM2 = 3

  init?(pattern: String) {
    guard let known = [Self.qwen2, .gpt2].first(where: { $0.pattern == pattern }) else { return nil }
    self = known
  }

  var pattern: String {
    switch self {
    case .qwen2:
      #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    case .gpt2, .smolLM2:
      #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
    }
  }

  /// Calls `body` with each pre-token of `bytes[range]`, which is valid UTF-8, in order.
  func forEach(_ bytes: [UInt8], _ range: Range<Int>, _ body: (Range<Int>) -> Void) {
    if self == .smolLM2 { return forEachBetweenDigits(bytes, range, body) }
    let scanner = Scanner(bytes: bytes, end: range.upperBound)
    var start = range.lowerBound
    while start < range.upperBound {
      let end =
        switch self {
        case .qwen2: scanner.endOfQwen2(start)
        case .gpt2, .smolLM2: scanner.endOfGPT2(start)
        }
      body(start..<end)
      start = end
    }
  }

  /// Each number character alone; what is between two of them is a text of its own to the pattern.
  private func forEachBetweenDigits(_ bytes: [UInt8], _ range: Range<Int>, _ body: (Range<Int>) -> Void) {
    let properties = ScalarProperties.shared
    var (start, index) = (range.lowerBound, range.lowerBound)
    func flush(to end: Int) { if start < end { Self.gpt2.forEach(bytes, start..<end, body) } }
    while index < range.upperBound {
      let (value, length) = scalar(at: index, of: bytes)
      let next = index + length
      if properties.scalarClass(value) == .number {
        flush(to: index)
        body(index..<next)
        start = next
      }
      index = next
    }
    flush(to: range.upperBound)
  }
}

private struct Scanner {
  let bytes: [UInt8]
  let end: Int
  let properties = ScalarProperties.shared

  /// The class of the character at `index` and where the next one begins; nil at the end.
  @inline(__always)
  private func character(_ index: Int) -> (kind: ScalarClass, next: Int)? {
    if index >= end { return nil }
    let (value, length) = scalar(at: index, of: bytes)
    return (properties.scalarClass(value), index + length)
  }

  /// The end of the characters from `index` on that are of the class.
  private func skip(_ kind: ScalarClass, _ index: Int) -> Int {
    var index = index
    while let character = character(index), character.kind == kind { index = character.next }
    return index
  }

  func endOfQwen2(_ start: Int) -> Int {
    if let end = endOfContraction(start, ignoringCase: true) { return end }
    guard let first = character(start) else { return end }
    // [^\r\n\p{L}\p{N}]?\p{L}+
    if first.kind == .letter { return skip(.letter, first.next) }
    if first.kind == .other || first.kind == .space, let second = character(first.next), second.kind == .letter {
      return skip(.letter, second.next)
    }
    // \p{N}
    if first.kind == .number { return first.next }
    //  ?[^\s\p{L}\p{N}]+[\r\n]*
    if let end = endOfRun(.other, start) { return skip(.newline, end) }
    // \s*[\r\n]+
    return endOfWhitespace(start, endsWithNewline: true)
  }

  func endOfGPT2(_ start: Int) -> Int {
    endOfContraction(start, ignoringCase: false)
      ?? endOfRun(.letter, start) ?? endOfRun(.number, start) ?? endOfRun(.other, start)
      ?? endOfWhitespace(start, endsWithNewline: false)
  }

  /// ` ?x+`, where `x` is the class.
  private func endOfRun(_ kind: ScalarClass, _ start: Int) -> Int? {
    let run = start < end && bytes[start] == UInt8(ascii: " ") ? start + 1 : start
    let runEnd = skip(kind, run)
    return runEnd > run ? runEnd : nil
  }

  /// `\s*[\r\n]+` if `endsWithNewline` and there is a line end; else `\s+(?!\S)|\s+`, which leaves a last space to the word after it.
  private func endOfWhitespace(_ start: Int, endsWithNewline: Bool) -> Int {
    var index = start
    var last = start
    var afterNewline: Int?
    while let character = character(index), character.kind.isWhitespace {
      last = index
      index = character.next
      if character.kind == .newline { afterNewline = index }
    }
    if endsWithNewline, let afterNewline { return afterNewline }
    return index == end || last == start ? index : last
  }

  /// `'s|'t|'re|'ve|'m|'ll|'d`. Without case "ſ" (U+017F) is an s too; none of the other letters has a third form.
  private func endOfContraction(_ start: Int, ignoringCase: Bool) -> Int? {
    func letter(_ index: Int) -> UInt8 {
      if index >= end { return 0 }
      let byte = bytes[index]
      if ignoringCase && byte & 0xDF >= UInt8(ascii: "A") && byte & 0xDF <= UInt8(ascii: "Z") { return byte | 0x20 }
      return byte
    }
    guard bytes[start] == UInt8(ascii: "'") else { return nil }
    let (first, second) = (letter(start + 1), letter(start + 2))
    switch (first, second) {
    case (UInt8(ascii: "s"), _), (UInt8(ascii: "t"), _), (UInt8(ascii: "m"), _), (UInt8(ascii: "d"), _): return start + 2
    case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")), (UInt8(ascii: "l"), UInt8(ascii: "l")):
      return start + 3
    case (0xC5, 0xBF) where ignoringCase: return start + 3
    default: return nil
    }
  }
}
