extension Collection where Element: CustomStringConvertible {
  /// What there is to choose from, as a sentence has it: `32, 64 or 128`.
  package var alternatives: String {
    let words = map(\.description)
    guard words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " or " + words[words.count - 1]
  }
}
