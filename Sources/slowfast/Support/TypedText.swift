import Support

extension [UInt8] {
  /// Without a byte order mark at the start.
  var withoutMark: [UInt8] { starts(with: [0xEF, 0xBB, 0xBF]) ? Array(dropFirst(3)) : self }
}

extension String {
  var isBlank: Bool { allSatisfy(\.isWhitespace) }

  /// A question above its answer: each line after `> `.
  var quotedLines: String {
    split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map { "> " + String($0).escaped(limit: 2000) }.joined(
      separator: "\n")
  }
}
