import Foundation
import SlowFast

/// What requests and replies are made of: JSON whose numbers are numbers and whose keys keep their order, for an answer that must fit a
/// schema has its properties in the schema's order.
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
  /// The value that a request's body is, read as strictly as the library reads.
  init(_ bytes: some Collection<UInt8>) throws(APIError) {
    let bytes = Array(bytes)
    // A value takes a hundred times its comma's memory, and no question has so many.
    guard bytes.count(where: { $0 == UInt8(ascii: ",") }) <= Self.mostCommas else {
      throw APIError(400, "The body has more than \(Self.mostCommas) commas, expected a question.")
    }
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue(bytes) } catch {
      switch error {
      case .expected(let expected, let offset): throw APIError(400, "The body is not JSON: at byte \(offset), expected \(expected).")
      case .duplicateKey(let key):
        throw APIError(400, "The body is not JSON as it is taken here: the key \(JSON.string(key).text) stands twice in one object.")
      }
    }
    self = try JSON(value)
  }

  private static let mostCommas = 1_000_000

  private init(_ value: JSONValue) throws(APIError) {
    switch value {
    case .null: self = .null
    case .bool(let value): self = .bool(value)
    case .number(let text):
      if let value = Int(text) {
        self = .integer(value)
      } else if let value = Double(text), value.isFinite {
        self = .number(value)
      } else {
        throw APIError(400, "The body holds the number \(text.prefix(30)), expected numbers of at most 1.8e308.")
      }
    case .string(let text): self = .string(text)
    case .array(let values):
      var array: [JSON] = []
      for value in values { array.append(try JSON(value)) }
      self = .array(array)
    case .object(let object):
      var members: [Member] = []
      for (key, value) in object { members.append(Member(key: key, value: try JSON(value))) }
      self = .object(members)
    }
  }
}
