/// `frame9` before `frame10`: digits are compared as numbers, everything else by code point.
func naturallyPrecedes(_ one: String, _ other: String) -> Bool {
  let left = Array(one.unicodeScalars)
  let right = Array(other.unicodeScalars)
  var i = 0
  var j = 0
  while i < left.count, j < right.count {
    if left[i].isDigit, right[j].isDigit {
      let first = digits(left, &i)
      let second = digits(right, &j)
      if first.count != second.count { return first.count < second.count }
      if first != second { return first.lexicographicallyPrecedes(second) }
    } else {
      if left[i] != right[j] { return left[i] < right[j] }
      i += 1
      j += 1
    }
  }
  if left.count - i != right.count - j { return left.count - i < right.count - j }
  // Equal but for leading zeros.
  return one < other
}

/// The digits at `position`, leading zeros left out; `position` moves behind them.
private func digits(_ text: [Unicode.Scalar], _ position: inout Int) -> [Unicode.Scalar] {
  let start = position
  while position < text.count, text[position].isDigit { position += 1 }
  return Array(text[start..<position].drop { $0 == "0" })
}

extension Unicode.Scalar {
  fileprivate var isDigit: Bool { ("0"..."9").contains(self) }
}
