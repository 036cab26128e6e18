import Foundation

// MARK: Names from outside

extension String {
  /// The text with everything escaped that could move a terminal's cursor, hide text or break a line: control and format
  /// characters, line separators, the replacement character; and cut after `limit` characters. For names that come from outside.
  package func escaped(limit: Int = 200) -> String {
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
  package var quoted: String { "\"\(escaped())\"" }

  /// The text with its control characters shown as escapes, but for line breaks and tabs: an answer cannot move a terminal's cursor.
  package var withoutControls: String {
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

// MARK: Numbers

extension Double {
  /// With so many digits behind the point: `2.fixed(1)` is `2.0`.
  package func fixed(_ digits: Int) -> String { String(format: "%.\(digits)f", self) }
}

extension UInt64 {
  /// With at least so many digits: `255.hexadecimal(digits: 4)` is `00ff`.
  package func hexadecimal(digits: Int = 16) -> String { String(self, radix: 16).leftPadded(to: digits, with: "0") }
}

extension String {
  package func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }

  package func leftPadded(to width: Int, with character: Character = " ") -> String {
    String(repeating: character, count: max(0, width - count)) + self
  }
}

/// `1536` → `1.5 KiB`.
package func formatBytes(_ count: Int) -> String {
  func rounded(_ value: Double) -> String {
    let tenths = Int((value * (value < 100 ? 10 : 1)).rounded())
    return value < 100 ? "\(tenths / 10).\(tenths % 10)" : "\(tenths)"
  }
  var value = Double(count)
  for unit in ["bytes", "KiB", "MiB"] {
    if value < 1024 { return unit == "bytes" ? counted(count, "byte") : "\(rounded(value)) \(unit)" }
    value /= 1024
  }
  return "\(rounded(value)) GiB"
}

/// `1 clip`, `2 clips`: a number and what it counts, whose plural ends in an s.
package func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

extension Collection where Element: CustomStringConvertible {
  /// What there is to choose from, as a sentence has it: `32, 64 or 128`.
  package var alternatives: String {
    let words = map(\.description)
    guard words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " or " + words[words.count - 1]
  }
}
