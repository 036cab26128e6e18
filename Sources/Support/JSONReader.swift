import Foundation

/// How a text fails to be the JSON that was expected.
public enum JSONError: Error, Equatable, CustomStringConvertible {
  /// `offset` counts the text's bytes, from 0.
  case expected(String, offset: Int)
  /// An object says it twice.
  case duplicateKey(String)

  /// One line.
  public var description: String {
    switch self {
    case .expected(let expected, let offset): "expected \(expected) at byte \(offset) of the JSON text"
    case .duplicateKey(let key): "\(key.quoted) appears twice in one JSON object"
    }
  }
}

/// Reads JSON text strictly, one value after the other, and builds no tree: a header of 100 MB costs nothing but itself. `JSONValue` is the
/// tree.
///
/// RFC 8259 as the reference implementation of safetensors takes it: UTF-8, no equal keys in an object, no lone surrogate, no nesting
/// beyond 128. Foundation's parser keeps one of two equal keys silently, and does not say where a text is wrong. Besides `JSONError`,
/// objects and arrays throw what reading their contents throws.
///
///     var reader = JSONReader(bytes)
///     try reader.object { reader, key in
///       if key == "length" { length = try reader.count() } else { try reader.skipValue() }
///     }
///     try reader.end()
package struct JSONReader {
  private let bytes: [UInt8]
  private var position = 0
  /// Objects and arrays that the position is inside of.
  private var depth = 0

  package static let depthLimit = 128

  package init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// Throws where `bytes` are anything but one JSON value.
  package static func check(_ bytes: [UInt8]) throws {
    var reader = JSONReader(bytes)
    try reader.skipValue()
    try reader.end()
  }

  /// A value of a type that says its own fields. The text is held against the rules above first: Foundation's decoder takes one of two
  /// equal keys. Throws `JSONError`, or Foundation's `DecodingError`.
  ///
  /// - Parameter takesNonfinite: Numbers may be the texts `inf`, `-inf` and `nan`.
  package static func decode<T: Decodable>(_ type: T.Type, _ bytes: [UInt8], takesNonfinite: Bool = false) throws -> T {
    try check(bytes)
    let decoder = JSONDecoder()
    if takesNonfinite {
      decoder.nonConformingFloatDecodingStrategy = .convertFromString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    }
    return try decoder.decode(type, from: Data(bytes))
  }

  // MARK: Objects and arrays

  /// Reads an object; `entry` reads the value of each key.
  package mutating func object(_ entry: (inout JSONReader, String) throws -> Void) throws {
    try enter("{", "an object")
    defer { depth -= 1 }
    var seen = Set<String>()
    if take("}") { return }
    repeat {
      let key = try string()
      guard seen.insert(key).inserted else { throw JSONError.duplicateKey(key) }
      try expect(":", "\":\"")
      try entry(&self, key)
    } while take(",")
    try expect("}", "\",\" or \"}\"")
  }

  /// Reads an array; `element` reads each of its values.
  package mutating func array(_ element: (inout JSONReader) throws -> Void) throws {
    try enter("[", "an array")
    defer { depth -= 1 }
    if take("]") { return }
    repeat { try element(&self) } while take(",")
    try expect("]", "\",\" or \"]\"")
  }

  private mutating func enter(_ bracket: Unicode.Scalar, _ expected: String) throws(JSONError) {
    try expect(bracket, expected)
    guard depth < Self.depthLimit else {
      position -= 1
      throw failure("a value nested less than \(Self.depthLimit) levels deep")
    }
    depth += 1
  }

  /// Nothing but white space may follow.
  package mutating func end() throws(JSONError) {
    skipSpace()
    guard position == bytes.count else { throw failure("nothing more") }
  }

  // MARK: Values

  /// A whole number from 0 to `Int.max`, without sign, fraction or exponent.
  package mutating func count() throws(JSONError) -> Int {
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

  package mutating func string() throws(JSONError) -> String {
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

  /// What the next value begins with; nil at the end. White space before it is skipped.
  package mutating func nextByte() -> UInt8? {
    skipSpace()
    return position < bytes.count ? bytes[position] : nil
  }

  /// `true`, `false` or `null`.
  package mutating func word() throws(JSONError) -> JSONValue {
    if takeWord("true") { return .bool(true) }
    if takeWord("false") { return .bool(false) }
    if takeWord("null") { return .null }
    throw failure("a value")
  }

  /// A number, as it is written.
  package mutating func number() throws(JSONError) -> String {
    skipSpace()
    let start = position
    try skipNumber()
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  /// Any value, checked and dropped.
  package mutating func skipValue() throws {
    switch nextByte() {
    case UInt8(ascii: "{"): try object { reader, _ in try reader.skipValue() }
    case UInt8(ascii: "["): try array { reader in try reader.skipValue() }
    case UInt8(ascii: "\""): _ = try string()
    case UInt8(ascii: "t"), UInt8(ascii: "f"), UInt8(ascii: "n"): _ = try word()
    default: try skipNumber()
    }
  }

  // MARK: Inside

  private mutating func stringWithEscapes(from start: Int) throws(JSONError) -> String {
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
  private mutating func escape() throws(JSONError) -> Character {
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

  private func character(_ value: UInt32) throws(JSONError) -> Character {
    guard let scalar = Unicode.Scalar(value) else { throw failure("a Unicode character") }
    return Character(scalar)
  }

  private mutating func hexadecimal() throws(JSONError) -> UInt32 {
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

  private func text(_ utf8: ArraySlice<UInt8>, at start: Int) throws(JSONError) -> String {
    guard let text = String(validating: utf8, as: UTF8.self) else {
      throw .expected("UTF-8 text", offset: start)
    }
    return text
  }

  private mutating func skipNumber() throws(JSONError) {
    let failure = self.failure("a value")
    _ = takeHere("-")
    let integer = position
    let digits = skipDigits()
    guard digits == 1 || digits > 1 && bytes[integer] != UInt8(ascii: "0") else { throw failure }
    if takeHere(".") {
      guard skipDigits() > 0 else { throw failure }
    }
    if takeHere("e") || takeHere("E") {
      if !takeHere("+") { _ = takeHere("-") }
      guard skipDigits() > 0 else { throw failure }
    }
  }

  private mutating func skipDigits() -> Int {
    let start = position
    while position < bytes.count, Self.digit(bytes[position]) != nil { position += 1 }
    return position - start
  }

  private mutating func takeWord(_ word: StaticString) -> Bool {
    let end = position + word.utf8CodeUnitCount
    guard word.withUTF8Buffer({ expected in end <= bytes.count && bytes[position..<end].elementsEqual(expected) }) else { return false }
    position = end
    return true
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

  private mutating func expect(_ character: Unicode.Scalar, _ expected: String) throws(JSONError) {
    guard take(character) else { throw failure(expected) }
  }

  private func failure(_ expected: String) -> JSONError { .expected(expected, offset: position) }

  private static func digit(_ byte: UInt8) -> Int? {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") ? Int(byte &- UInt8(ascii: "0")) : nil
  }
}
