import Support

/// A progress line in parts, some of which a narrow terminal does without.
struct ProgressText {
  var name: String
  /// Done, and in all; nil for work that is not counted.
  var fraction: (done: Int, total: Int)?
  var count = ""
  var rate: String?
  var timeLeft: String?

  /// As much as has room: without the rate first, then without the time left, then without the bar; the rest is cut.
  func fitted(to columns: Int) -> String {
    var text = self
    for leaveOut: (inout ProgressText) -> Void in [{ _ in }, { $0.rate = nil }, { $0.timeLeft = nil }, { $0.fraction = nil }] {
      leaveOut(&text)
      if text.whole.columns <= columns { return text.whole }
    }
    return text.whole.cut(toColumns: columns)
  }

  /// Without the bar.
  var plain: String {
    var text = self
    text.fraction = nil
    return text.whole
  }

  private var whole: String {
    let counts = [count, rate, timeLeft.map { "\($0) left" }].compactMap { $0 }.filter { !$0.isEmpty }.joined(separator: ", ")
    return [name.escaped(), fraction.map { Self.bar($0.done, of: $0.total) } ?? "", counts].filter { !$0.isEmpty }.joined(separator: " ")
  }

  private static func bar(_ done: Int, of total: Int, width: Int = 24) -> String {
    let filled = total > 0 ? min(width, width * done / total) : 0
    return String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
  }
}

extension String {
  /// Columns that a terminal shows it in.
  fileprivate var columns: Int { unicodeScalars.reduce(0) { $0 + $1.columns } }

  fileprivate func cut(toColumns columns: Int) -> String {
    guard self.columns > columns else { return self }
    guard columns > 0 else { return "" }
    var result = UnicodeScalarView()
    var room = columns - 1
    for scalar in unicodeScalars {
      room -= scalar.columns
      if room < 0 { break }
      result.append(scalar)
    }
    return String(result) + "…"
  }
}

extension Unicode.Scalar {
  /// 0 for what is drawn over the character before it, 2 for what Unicode calls wide or full width, and for what may be drawn so.
  fileprivate var columns: Int {
    switch properties.generalCategory {
    case .nonspacingMark, .enclosingMark, .format: return 0
    default: break
    }
    if properties.isEmojiPresentation { return 2 }
    switch value {
    case 0x1100...0x115f, 0x2e80...0x303e, 0x3041...0xa4cf, 0xa960...0xa97f, 0xac00...0xd7a3, 0xf900...0xfaff, 0xfe10...0xfe19,
      0xfe30...0xfe6f,
      0xff01...0xff60, 0xffe0...0xffe6, 0x16fe0...0x18dff, 0x1aff0...0x1b2ff, 0x1f200...0x1f6ff, 0x1f900...0x1f9ff, 0x20000...0x3fffd:
      return 2
    default: return 1
    }
  }
}
