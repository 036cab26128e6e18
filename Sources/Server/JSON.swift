import Foundation

/// A JSON text as a tree that keeps the order of keys: an answer that must fit a schema has its properties in the schema's order.
///
/// Read strictly (RFC 8259): UTF-8, no equal keys in an object, no lone surrogate, no nesting beyond `depthLimit`. Foundation's parser
/// keeps one of two equal keys silently, and loses their order.
enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSON])
  case object([Member])

  struct Member: Sendable, Equatable {
    var key: String
    var value: JSON
  }

  static let depthLimit = 64

  init(_ bytes: some Collection<UInt8>) throws(APIError) {
    var reader = Reader(bytes: Array(bytes))
    self = try reader.value(depth: 0)
    try reader.end()
  }

  /// The value of a key; nil where there is none, or null stands there.
  subscript(key: String) -> JSON? {
    guard case .object(let members) = self, let value = members.first(where: { $0.key == key })?.value, value != .null else { return nil }
    return value
  }

  var string: String? { if case .string(let text) = self { text } else { nil } }
  var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  var array: [JSON]? { if case .array(let values) = self { values } else { nil } }
  var members: [Member]? { if case .object(let members) = self { members } else { nil } }
  /// A whole number, be it written as `1.0`.
  var integer: Int? {
    switch self {
    case .integer(let value): value
    case .number(let value): Int(exactly: value)
    default: nil
    }
  }
  var number: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  /// What it is, for messages.
  var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .integer, .number: "a number"
    case .string: "a string"
    case .array: "an array"
    case .object: "an object"
    }
  }
}

// MARK: Writing

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral,
  ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
  init(stringLiteral value: String) { self = .string(value) }
  init(integerLiteral value: Int) { self = .integer(value) }
  init(booleanLiteral value: Bool) { self = .bool(value) }
  init(arrayLiteral values: JSON...) { self = .array(values) }
  init(dictionaryLiteral members: (String, JSON)...) { self = .object(members.map { Member(key: $0.0, value: $0.1) }) }
  init(nilLiteral: ()) { self = .null }

  /// With a member more.
  func with(_ key: String, _ value: JSON?) -> JSON {
    guard let value, case .object(let members) = self else { return self }
    return .object(members.filter { $0.key != key } + [Member(key: key, value: value)])
  }

  /// On one line.
  var text: String {
    var result = ""
    write(to: &result)
    return result
  }

  private func write(to text: inout String) {
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .integer(let value): text += "\(value)"
    case .number(let value): text += value.isFinite ? "\(value)" : "null"
    case .string(let value): Self.quote(value, to: &text)
    case .array(let values):
      text += "["
      for (index, value) in values.enumerated() {
        if index > 0 { text += "," }
        value.write(to: &text)
      }
      text += "]"
    case .object(let members):
      text += "{"
      for (index, member) in members.enumerated() {
        if index > 0 { text += "," }
        Self.quote(member.key, to: &text)
        text += ":"
        member.value.write(to: &text)
      }
      text += "}"
    }
  }

  private static func quote(_ value: String, to text: inout String) {
    text += "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      // Two line separators of Unicode end a line for some readers of event streams.
      case _ where scalar.value < 0x20 || scalar.value == 0x2028 || scalar.value == 0x2029:
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}

// MARK: Reading

extension JSON {
  private struct Reader {
    let bytes: [UInt8]
    var position = 0

    mutating func end() throws(APIError) {
      skipSpace()
      if position < bytes.count { throw failure("nothing more") }
    }

    mutating func value(depth: Int) throws(APIError) -> JSON {
      skipSpace()
      guard position < bytes.count else { throw failure("a value") }
      switch bytes[position] {
      case UInt8(ascii: "{"): return try object(depth: depth)
      case UInt8(ascii: "["): return try array(depth: depth)
      case UInt8(ascii: "\""): return .string(try string())
      case UInt8(ascii: "t"): return try word("true", .bool(true))
      case UInt8(ascii: "f"): return try word("false", .bool(false))
      case UInt8(ascii: "n"): return try word("null", .null)
      default: return try number()
      }
    }

    private mutating func enter(_ depth: Int) throws(APIError) {
      if depth >= JSON.depthLimit { throw failure("a value nested at most \(JSON.depthLimit) levels deep") }
      position += 1
    }

    private mutating func object(depth: Int) throws(APIError) -> JSON {
      try enter(depth)
      var members: [Member] = []
      var seen = Set<String>()
      if take("}") { return .object([]) }
      repeat {
        skipSpace()
        let key = try string()
        guard seen.insert(key).inserted else {
          throw APIError(400, "The body is not JSON as it is taken here: the key \(JSON.string(key).text) stands twice in one object.")
        }
        guard take(":") else { throw failure("\":\"") }
        members.append(Member(key: key, value: try value(depth: depth + 1)))
      } while take(",")
      guard take("}") else { throw failure("\",\" or \"}\"") }
      return .object(members)
    }

    private mutating func array(depth: Int) throws(APIError) -> JSON {
      try enter(depth)
      var values: [JSON] = []
      if take("]") { return .array([]) }
      repeat { values.append(try value(depth: depth + 1)) } while take(",")
      guard take("]") else { throw failure("\",\" or \"]\"") }
      return .array(values)
    }

    private mutating func string() throws(APIError) -> String {
      guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else { throw failure("a string") }
      position += 1
      var start = position
      var decoded: [UInt8]?
      while position < bytes.count {
        let byte = bytes[position]
        if byte == UInt8(ascii: "\"") {
          // Most strings have no escape: their bytes are the text.
          let tail = bytes[start..<position]
          let text = decoded.map { String(validating: $0 + tail, as: UTF8.self) } ?? String(validating: tail, as: UTF8.self)
          guard let text else { throw failure("UTF-8 in the string that ends") }
          position += 1
          return text
        }
        guard byte >= 0x20 else { throw failure("no control character in a string") }
        position += 1
        if byte == UInt8(ascii: "\\") {
          decoded = (decoded ?? []) + bytes[start..<position - 1]
          decoded?.append(contentsOf: String(try escape()).utf8)
          start = position
        }
      }
      throw failure("the end of a string")
    }

    /// What follows a backslash.
    private mutating func escape() throws(APIError) -> Unicode.Scalar {
      guard position < bytes.count else { throw failure("an escape") }
      position += 1
      switch bytes[position - 1] {
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
        if let scalar = Unicode.Scalar(unit) { return scalar }
        guard unit < 0xDC00, position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"), bytes[position + 1] == UInt8(ascii: "u")
        else { throw failure("the second half of a surrogate pair") }
        position += 2
        let second = try hexadecimal()
        guard (0xDC00..<0xE000).contains(second), let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (second - 0xDC00)) else {
          throw failure("the second half of a surrogate pair")
        }
        return scalar
      default: throw failure("an escape")
      }
    }

    private mutating func hexadecimal() throws(APIError) -> UInt32 {
      var value: UInt32 = 0
      for _ in 0..<4 {
        guard position < bytes.count, bytes[position] < 0x80, let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue else {
          throw failure("four hexadecimal digits")
        }
        value = value << 4 | UInt32(digit)
        position += 1
      }
      return value
    }

    private mutating func number() throws(APIError) -> JSON {
      let start = position
      var isWhole = true
      if here("-") { position += 1 }
      let first = position
      let digits = skipDigits()
      if digits == 0 || digits > 1 && bytes[first] == UInt8(ascii: "0") {
        position = start
        throw failure("a value")
      }
      if here(".") {
        position += 1
        isWhole = false
        if skipDigits() == 0 { throw failure("a digit") }
      }
      if here("e") || here("E") {
        position += 1
        isWhole = false
        if here("+") || here("-") { position += 1 }
        if skipDigits() == 0 { throw failure("a digit") }
      }
      let text = String(decoding: bytes[start..<position], as: UTF8.self)
      if isWhole, let value = Int(text) { return .integer(value) }
      guard let value = Double(text), value.isFinite else { throw failure("a number of at most 1.8e308 before it") }
      return .number(value)
    }

    private mutating func skipDigits() -> Int {
      let start = position
      while position < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[position]) { position += 1 }
      return position - start
    }

    private mutating func word(_ word: String, _ value: JSON) throws(APIError) -> JSON {
      guard bytes[position...].starts(with: word.utf8) else { throw failure("a value") }
      position += word.utf8.count
      return value
    }

    private mutating func skipSpace() {
      while position < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) { position += 1 }
    }

    private func here(_ character: Unicode.Scalar) -> Bool { position < bytes.count && bytes[position] == UInt8(ascii: character) }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
      skipSpace()
      guard here(character) else { return false }
      position += 1
      return true
    }

    private func failure(_ expected: String) -> APIError {
      APIError(400, "The body is not JSON: at byte \(position), expected \(expected).")
    }
  }
}
