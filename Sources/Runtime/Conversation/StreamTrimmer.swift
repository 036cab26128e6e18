/// Takes white space off both ends of a text that comes in pieces, as Python's `strip` does: what may turn out to be its end is held back.
package struct StreamTrimmer {
  private var hasBegun = false
  private var heldBack = ""

  package init() {}

  /// The part of the text that is known to stay.
  package mutating func append(_ piece: String) -> String {
    var scalars = (heldBack + piece).unicodeScalars[...]
    if !hasBegun { scalars = scalars.drop(while: Self.isSpace) }
    guard let last = scalars.lastIndex(where: { !Self.isSpace($0) }) else {
      heldBack = String(scalars)
      return ""
    }
    hasBegun = true
    let end = scalars.index(after: last)
    heldBack = String(scalars[end...])
    return String(scalars[..<end])
  }

  /// Unicode's White_Space and the four separators of ASCII, which Python counts as well.
  private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
  }
}
