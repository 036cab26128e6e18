extension String {
  /// The text with everything escaped that could move a terminal's cursor, hide text or break a line: control and format
  /// characters, line separators, the replacement character; and cut after `limit` characters. For names that come from outside.
  public func escaped(limit: Int = 200) -> String {
    var result = ""
    var count = 0
    for scalar in unicodeScalars {
      if count == limit { return result + "…" }
      count += 1
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
        switch scalar {
        case "\n": result += "\\n"
        case "\r": result += "\\r"
        case "\t": result += "\\t"
        default:
          // A byte of a name, which is no text.
          if let byte = scalar.escapedByte {
            result += "\\x" + String(byte, radix: 16)
          } else {
            result += "\\u{\(String(scalar.value, radix: 16))}"
          }
        }
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// `escaped()` between quotation marks.
  public var quoted: String { "\"\(escaped())\"" }

  /// The text with its control characters shown as escapes, but for line breaks and tabs: an answer cannot move a terminal's cursor.
  public var withoutControls: String {
    func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
      scalar == "\n" || scalar == "\t" || scalar.properties.generalCategory != .control
    }
    if unicodeScalars.allSatisfy(isAllowed) { return self }
    var result = ""
    for scalar in unicodeScalars {
      if isAllowed(scalar) { result.unicodeScalars.append(scalar) } else { result += "\\u{\(String(scalar.value, radix: 16))}" }
    }
    return result
  }
}

/// `1 clip`, `2 clips`: a number and what it counts, whose plural ends in an s.
package func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
