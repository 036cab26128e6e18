/// Reads JSON text strictly, one value after the other, and builds no tree: a header of 100 MB costs nothing but itself.
///
/// RFC 8259 as the reference implementation of safetensors takes it: UTF-8, no duplicate key, no lone surrogate, no nesting beyond 128.
/// Foundation's parser keeps one of two equal keys silently, which the specification forbids.
struct JSONScanner {
  private let bytes: [UInt8]
  private var position: Int
  private let file: String

  static let depthLimit = 128

  init(_ bytes: [UInt8], file: String) {
    self.bytes = bytes
    self.file = file
    position = 0
  }

  // MARK: Objects and arrays

  /// Reads an object; `entry` reads the value of each key. Equal keys are refused.
  mutating func object(_ entry: (inout JSONScanner, String) throws(CheckpointError) -> Void) throws(CheckpointError) {
    try expect("{", "an object")
    var seen = Set<String>()
    if take("}") { return }
    repeat {
      let key = try string()
      guard seen.insert(key).inserted else { throw .duplicateKey(file: file, key: key) }
      try expect(":", "\":\"")
      try entry(&self, key)
    } while take(",")
    try expect("}", "\",\" or \"}\"")
  }

  /// Reads an array; `element` reads each of its values.
  mutating func array(_ element: (inout JSONScanner) throws(CheckpointError) -> Void) throws(CheckpointError) {
    try expect("[", "an array")
    if take("]") { return }
    repeat { try element(&self) } while take(",")
    try expect("]", "\",\" or \"]\"")
  }

  /// Nothing but white space may follow.
  mutating func end() throws(CheckpointError) {
    skipSpace()
    guard position == bytes.count else { throw failure("nothing more") }
  }

  // MARK: Values

  /// A whole number from 0 to `Int.max`, without sign, fraction or exponent.
  mutating func count() throws(CheckpointError) -> Int {
    skipSpace()
    let start = position
    var value = 0
    while position < bytes.count, let digit = Self.digit(bytes[position]) {
      let (product, overflows) = value.multipliedReportingOverflow(by: 10)
      let (sum, overflowsToo) = product.addingReportingOverflow(digit)
      guard !overflows, !overflowsToo else {
        position = start
        throw failure("a whole number below 2^63")
      }
      value = sum
      position += 1
    }
    let isTooShort = position == start
    let hasLeadingZero = position - start > 1 && bytes[start] == UInt8(ascii: "0")
    let goesOn = position < bytes.count && [UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E")].contains(bytes[position])
    if isTooShort || hasLeadingZero || goesOn {
      position = start
      throw failure("a whole number")
    }
    return value
  }

  mutating func string() throws(CheckpointError) -> String {
    try expect("\"", "a string")
    let start = position
    // Most strings have no escape: their bytes are the text.
    while position < bytes.count, bytes[position] >= 0x20, bytes[position] != UInt8(ascii: "\""), bytes[position] != UInt8(ascii: "\\") {
      position += 1
    }
    guard position < bytes.count else { throw failure("the end of the string") }
    if bytes[position] == UInt8(ascii: "\"") {
      let text = try text(bytes[start..<position], at: start)
      position += 1
      return text
    }
    return try stringWithEscapes(from: start)
  }

  /// Any value, checked and dropped.
  mutating func skipValue(depth: Int = 0) throws(CheckpointError) {
    guard depth < Self.depthLimit else { throw failure("a value nested less than \(Self.depthLimit) levels deep") }
    skipSpace()
    guard position < bytes.count else { throw failure("a value") }
    switch bytes[position] {
    case UInt8(ascii: "{"):
      try object { (scanner: inout JSONScanner, _: String) throws(CheckpointError) in try scanner.skipValue(depth: depth + 1) }
    case UInt8(ascii: "["):
      try array { (scanner: inout JSONScanner) throws(CheckpointError) in try scanner.skipValue(depth: depth + 1) }
    case UInt8(ascii: "\""): _ = try string()
    case UInt8(ascii: "t"): try word("true")
    case UInt8(ascii: "f"): try word("false")
    case UInt8(ascii: "n"): try word("null")
    default: try skipNumber()
    }
  }

  // MARK: Inside

  private mutating func stringWithEscapes(from start: Int) throws(CheckpointError) -> String {
    var decoded = Array(bytes[start..<position])
    while true {
      guard position < bytes.count else { throw failure("the end of the string") }
      let byte = bytes[position]
      switch byte {
      case UInt8(ascii: "\""):
        let text = try text(decoded[...], at: start)
        position += 1
        return text
      case UInt8(ascii: "\\"):
        position += 1
        try decoded.append(contentsOf: escape().utf8)
      case 0..<0x20: throw failure("no control character in a string")
      default:
        decoded.append(byte)
        position += 1
      }
    }
  }

  /// What follows a backslash.
  private mutating func escape() throws(CheckpointError) -> Character {
    guard position < bytes.count else { throw failure("an escape") }
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "\""): return "\""
    case UInt8(ascii: "\\"): return "\\"
    case UInt8(ascii: "/"): return "/"
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      let unit = try hexadecimal()
      guard (0xD800..<0xDC00).contains(unit) else { return try character(unit) }
      guard position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"), bytes[position + 1] == UInt8(ascii: "u") else {
        throw failure("the second half of a surrogate pair")
      }
      position += 2
      let second = try hexadecimal()
      guard (0xDC00..<0xE000).contains(second) else { throw failure("the second half of a surrogate pair") }
      return try character(0x10000 + (unit - 0xD800) << 10 + (second - 0xDC00))
    default:
      position -= 1
      throw failure("an escape")
    }
  }

  private func character(_ value: UInt32) throws(CheckpointError) -> Character {
    guard let scalar = Unicode.Scalar(value) else { throw failure("a Unicode character") }
    return Character(scalar)
  }

  private mutating func hexadecimal() throws(CheckpointError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard position < bytes.count, let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue, bytes[position] < 0x80 else {
        throw failure("four hexadecimal digits")
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }

  private func text(_ utf8: ArraySlice<UInt8>, at start: Int) throws(CheckpointError) -> String {
    guard let text = String(validating: utf8, as: UTF8.self) else {
      throw .invalidJSON(file: file, offset: start, expected: "UTF-8 text")
    }
    return text
  }

  private mutating func skipNumber() throws(CheckpointError) {
    let start = position
    func fail(_ scanner: inout JSONScanner) -> CheckpointError {
      scanner.position = start
      return scanner.failure("a value")
    }
    _ = takeHere("-")
    let integer = position
    let digits = skipDigits()
    guard digits == 1 || digits > 1 && bytes[integer] != UInt8(ascii: "0") else { throw fail(&self) }
    if takeHere(".") {
      guard skipDigits() > 0 else { throw fail(&self) }
    }
    if takeHere("e") || takeHere("E") {
      if !takeHere("+") { _ = takeHere("-") }
      guard skipDigits() > 0 else { throw fail(&self) }
    }
  }

  private mutating func skipDigits() -> Int {
    let start = position
    while position < bytes.count, Self.digit(bytes[position]) != nil { position += 1 }
    return position - start
  }

  private mutating func word(_ word: StaticString) throws(CheckpointError) {
    let end = position + word.utf8CodeUnitCount
    let matches = word.withUTF8Buffer { expected in end <= bytes.count && bytes[position..<end].elementsEqual(expected) }
    guard matches else { throw failure("a value") }
    position = end
  }

  private mutating func skipSpace() {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x09, 0x0A, 0x0D: position += 1
      default: return
      }
    }
  }

  private mutating func takeHere(_ character: Unicode.Scalar) -> Bool {
    guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    skipSpace()
    return takeHere(character)
  }

  private mutating func expect(_ character: Unicode.Scalar, _ expected: String) throws(CheckpointError) {
    guard take(character) else { throw failure(expected) }
  }

  private func failure(_ expected: String) -> CheckpointError { .invalidJSON(file: file, offset: position, expected: expected) }

  private static func digit(_ byte: UInt8) -> Int? {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") ? Int(byte &- UInt8(ascii: "0")) : nil
  }
}
