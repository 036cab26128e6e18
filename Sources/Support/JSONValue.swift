/// A JSON text as a tree, read strictly (RFC 8259): UTF-8, no equal keys in an object, no lone surrogate, nesting of at most 128.
/// Foundation's parser keeps one of two equal keys silently, and loses their order.
public enum JSONValue: Equatable, Sendable {
  /// `null`.
  case null
  /// `true` or `false`.
  case bool(Bool)
  /// As it is written: JSON has one kind of number, and no size.
  case number(String)
  /// Without its escapes.
  case string(String)
  /// Values in their order.
  case array([JSONValue])
  /// Values by key.
  case object(Object)

  /// An object's entries, in the order of the text; equal to another with the same ones in any order.
  public struct Object: Sendable, Equatable, RandomAccessCollection, ExpressibleByDictionaryLiteral {
    private var entries: [(key: String, value: JSONValue)] = []
    private var places: [String: Int] = [:]

    /// Keys that differ.
    public init(dictionaryLiteral entries: (String, JSONValue)...) { for (key, value) in entries { self[key] = value } }

    /// 0.
    public var startIndex: Int { 0 }
    /// The number of entries.
    public var endIndex: Int { entries.count }
    /// The entry at that place of the text.
    public subscript(place: Int) -> (key: String, value: JSONValue) { entries[place] }

    /// The value of a key; nil where there is none.
    public internal(set) subscript(key: String) -> JSONValue? {
      get { places[key].map { entries[$0].value } }
      set {
        guard let newValue else { return }
        if let place = places[key] {
          entries[place].value = newValue
        } else {
          places[key] = entries.count
          entries.append((key, newValue))
        }
      }
    }

    /// Whether all entries are the same, in any order.
    public static func == (one: Object, other: Object) -> Bool {
      one.count == other.count && one.allSatisfy { other[$0.key] == $0.value }
    }
  }

  /// The value that the whole text is.
  public init(_ bytes: [UInt8]) throws(JSONError) {
    var reader = JSONReader(bytes)
    do {
      self = try Self.next(&reader)
      try reader.end()
    } catch let error as JSONError { throw error } catch { throw .expected("a value", offset: 0) }
  }

  private static func next(_ reader: inout JSONReader) throws -> JSONValue {
    switch reader.nextByte() {
    case UInt8(ascii: "{"):
      var object: Object = [:]
      try reader.object { reader, key in object[key] = try next(&reader) }
      return .object(object)
    case UInt8(ascii: "["):
      var array: [JSONValue] = []
      try reader.array { reader in array.append(try next(&reader)) }
      return .array(array)
    case UInt8(ascii: "\""): return .string(try reader.string())
    case UInt8(ascii: "t"), UInt8(ascii: "f"), UInt8(ascii: "n"): return try reader.word()
    default: return .number(try reader.number())
    }
  }

  package var object: Object? { if case .object(let object) = self { object } else { nil } }
  package var array: [JSONValue]? { if case .array(let array) = self { array } else { nil } }
  package var string: String? { if case .string(let string) = self { string } else { nil } }
  package var bool: Bool? { if case .bool(let bool) = self { bool } else { nil } }

  /// The number, rounded; nil for one beyond the largest.
  package var double: Double? {
    guard case .number(let text) = self, let value = Double(text), value.isFinite else { return nil }
    return value
  }

  /// The number, if it is a whole one, be it written as `1.0` or `1e3`.
  package var integer: Int? {
    guard case .number(let text) = self else { return nil }
    return Int(text) ?? double.flatMap { Int(exactly: $0) }
  }

  /// Objects and arrays within each other.
  package var nesting: Int {
    switch self {
    case .array(let values): 1 + (values.map(\.nesting).max() ?? 0)
    case .object(let object): 1 + (object.map(\.value.nesting).max() ?? 0)
    default: 0
    }
  }
}

// MARK: Writing

extension JSONValue: CustomStringConvertible {
  /// For messages: a string without quotation marks, all else as JSON writes it, an object by its keys' order.
  public var description: String {
    switch self {
    case .string(let text): text
    case .array(let values): "[" + values.map(\.readable).joined(separator: ", ") + "]"
    case .object(let object):
      "{" + object.sorted { $0.key < $1.key }.map { "\(Self.quoted($0.key)): \($0.value.readable)" }.joined(separator: ", ") + "}"
    default: compact
    }
  }

  private var readable: String { if case .string(let text) = self { Self.quoted(text) } else { description } }

  /// On one line without white space, an object's entries in their order.
  package var compact: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .number(let text): text
    case .string(let text): Self.quoted(text)
    case .array(let values): "[" + values.map(\.compact).joined(separator: ",") + "]"
    case .object(let object): "{" + object.map { "\(Self.quoted($0.key)):\($0.value.compact)" }.joined(separator: ",") + "}"
    }
  }

  /// A JSON string of the text, with the shortest escapes and no more of them than must be.
  package static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\u{8}": result += "\\b"
      case "\t": result += "\\t"
      case "\n": result += "\\n"
      case "\u{C}": result += "\\f"
      case "\r": result += "\\r"
      case _ where scalar.value < 0x20: result += "\\u" + UInt64(scalar.value).hexadecimal(digits: 4)
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
