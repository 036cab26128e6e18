import Runtime
import Testing

/// White space at an answer's ends, in whatever pieces it comes.
@Suite struct StreamTrimmerTests {
  @Test(arguments: [
    ("  a red ball \n", "a red ball"), ("a\n\nb", "a\n\nb"), (" \n\t", ""), ("", ""), ("\u{A0}a\u{3000}", "a"), ("\u{1C}a b\u{1F}", "a b"),
    ("\u{200B}a", "\u{200B}a"), ("a \u{301}b ", "a \u{301}b"),
  ])
  func asPythonStrips(text: String, stripped: String) {
    let scalars = Array(text.unicodeScalars)
    // All at once, one by one, in twos.
    for size in [max(1, scalars.count), 1, 2] {
      var trimmer = StreamTrimmer()
      var result = ""
      for start in stride(from: 0, to: scalars.count, by: size) {
        var piece = String.UnicodeScalarView()
        piece.append(contentsOf: scalars[start..<min(start + size, scalars.count)])
        result += trimmer.append(String(piece))
      }
      #expect(Array(result.utf8) == Array(stripped.utf8))
    }
  }

  /// Text is handed out as soon as it is known to stay.
  @Test func onlySpaceIsHeldBack() {
    var trimmer = StreamTrimmer()
    #expect([" \n", "Yes", ". ", " ", "No", "\n"].map { trimmer.append($0) } == ["", "Yes", ".", "", "  No", ""])
  }
}
