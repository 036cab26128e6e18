import Foundation
import Grammar
import Support
import TestSupport
import Testing

/// What is taken of a schema, and the sentence about what is not.
@Suite struct SchemaReaderTests {
  static let refusals: [(schema: String, message: String)] = [
    ("", "the schema is not JSON: expected a value at byte 0 of the JSON text"),
    ("{", "the schema is not JSON: expected a string at byte 1 of the JSON text"),
    ("[]", "the schema at # is neither an object nor true or false"),
    (
      #"{"properties": {"a": 1}}"#,
      "the schema at #/properties/a is neither an object nor true or false"
    ),
    (#"{"type": "string", "pattern": "a"}"#, "\"pattern\" at # of the schema is not supported"),
    (
      #"{"type": "object", "properties": {"x/y": {"type": "string", "format": "date"}}}"#,
      "\"format\" at #/properties/x~1y of the schema is not supported"
    ),
    (
      #"{"type": "array", "items": {"not": {}}}"#,
      "\"not\" at #/items of the schema is not supported"
    ),
    (
      #"{"type": "array", "uniqueItems": true}"#,
      "\"uniqueItems\" at # of the schema is not supported"
    ),
    (
      #"{"anyOf": [{}], "type": "string"}"#,
      "\"type\" at # of the schema is not supported: it stands beside \"anyOf\""
    ),
    (
      #"{"allOf": [{}, {}]}"#,
      "\"allOf\" at # of the schema is not supported: it has more than one schema"
    ),
    (
      #"{"oneOf": [{"type": "integer"}, {"type": "number"}]}"#,
      "\"oneOf\" at # of the schema is not supported: a value could meet several of its schemas, which anyOf allows"
    ),
    (
      #"{"enum": ["a"], "minLength": 1}"#,
      "\"minLength\" at # of the schema is not supported: it stands beside \"enum\""
    ),
    (
      #"{"type": "text"}"#,
      "\"type\" at # of the schema is \"text\", expected null, boolean, integer, number, string, array or object"
    ),
    (#"{"type": 1}"#, "\"type\" at # of the schema is 1, expected a type or a list of types"),
    (
      #"{"type": "string", "minLength": -1}"#,
      "\"minLength\" at # of the schema is -1, expected a whole number"
    ),
    (
      #"{"type": "string", "maxLength": "2"}"#,
      "\"maxLength\" at # of the schema is \"2\", expected a whole number"
    ),
    (
      #"{"type": "number", "exclusiveMinimum": true}"#,
      "\"exclusiveMinimum\" at # of the schema is true, expected a number"
    ),
    (#"{"type": "integer", "minimum": 2, "maximum": 1}"#, "no answer can fit the schema at #"),
    (
      #"{"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}"#,
      "no answer can fit the schema at #"
    ),
    (#"{"type": "integer", "minimum": 1e30}"#, "no answer can fit the schema at #"),
    (#"{"type": "array", "minItems": 3, "maxItems": 2}"#, "no answer can fit the schema at #"),
    (#"{"type": "string", "minLength": 1e15}"#, "no answer can fit the schema at #"),
    (#"{"enum": []}"#, "no answer can fit the schema at #"),
    ("false", "no answer can fit the schema at #"),
    (#"{"type": "string", "const": 1}"#, "no answer can fit the schema at #"),
    (##"{"$ref": "#"}"##, "no answer can fit the schema at #"),
    (
      ##"{"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}"##,
      "no answer can fit the schema at #"
    ),
    (
      ##"{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}"##,
      "no answer can fit the schema at #"
    ),
    (
      ##"{"$ref": "#/$defs/none"}"##,
      "\"$ref\" at # of the schema is \"#/$defs/none\", which is not there"
    ),
    (
      #"{"$ref": "http://example.org/a"}"#,
      "\"$ref\" at # of the schema is \"http://example.org/a\", which is not there"
    ),
    (
      #"{"type": "object", "properties": {}, "required": ["a"], "additionalProperties": false}"#,
      "\"required\" at # of the schema is with \"a\", expected names that \"properties\" has"
    ),
  ]

  @Test(arguments: refusals)
  func sentences(schema: String, message: String) {
    #expect(throws: (any Error).self) { try AnswerSchema(schema) }
    do { _ = try AnswerSchema(schema) } catch {
      #expect(error.description == message && error.kind == .invalidFile)
    }
  }

  static let accepted = [
    "true", "{}", #"{"title": "x", "x-unknown": [1], "$schema": "y"}"#,
    #"{"type": ["integer", "number", "null"]}"#,
    #"{"oneOf": [{"type": "integer"}, {"type": "string"}, {"enum": [true, null]}]}"#,
    #"{"allOf": [{"type": "string"}], "default": 1}"#,
    #"{"oneOf": [{"type": "object", "properties": {"a": {}}, "required": ["a"]},"#
      + #" {"type": "object", "properties": {"b": {}}, "required": ["b"]}]}"#,
    #"{"type": "string", "maxLength": 1e300}"#,
    #"{"type": "integer", "minimum": -1e300, "maximum": 1e300}"#,
    #"{"type": "array", "uniqueItems": false}"#, ##"{"anyOf": [{"$ref": "#"}, {"type": "null"}]}"##,
    ##"{"$ref": "#/$defs/a%20b/items", "$defs": {"a b": {"items": {"type": "null"}}}}"##,
  ]

  @Test(arguments: accepted)
  func accepts(schema: String) throws { _ = try AnswerSchema(schema) }

  /// A megabyte of whatever: a form or a sentence, soon.
  @Test func largeSchemas() throws {
    let values = (0..<60_000).map { "\"value \($0)\"" }
    let schema = try AnswerSchema(#"{"enum": ["# + values.joined(separator: ",") + "]}")
    var constraint = Vocabulary.bytes.constraint(schema, forces: false)
    for byte in "\"value 59999\"".utf8 { expect(constraint.accept(Int32(byte))) }
    let definitions =
      (0..<15_000).map { "\"d\($0)\": {\"$ref\": \"#/$defs/d\($0 + 1)\"}" } + [
        "\"d15000\": {\"type\": \"null\"}"
      ]
    _ = try AnswerSchema(
      ##"{"$ref": "#/$defs/d0", "$defs": {"## + definitions.joined(separator: ",") + "}}")
    let chain = (0..<9_000).map {
      "\"d\($0)\": {\"type\": \"array\", \"minItems\": 1, \"items\": {\"$ref\": \"#/$defs/d\($0 + 1)\"}}"
    }
    #expect(throws: (any Error).self) {
      try AnswerSchema(
        ##"{"$ref": "#/$defs/d0", "$defs": {"## + (chain + ["\"d9000\": {}"]).joined(separator: ",")
          + "}}")
    }
    let choices = (0..<12_000).map {
      "{\"type\": \"object\", \"properties\": {\"k\": {\"const\": \($0)}}, \"required\": [\"k\"]}"
    }
    #expect(throws: (any Error).self) {
      try AnswerSchema("{\"oneOf\": [" + choices.joined(separator: ",") + "]}")
    }
    var wide = Vocabulary.bytes.constraint(
      try AnswerSchema("{\"anyOf\": [" + choices.joined(separator: ",") + "]}"), forces: false)
    for byte in "{\"k\":1".utf8 { expect(wide.accept(Int32(byte))) }
    let deep =
      String(repeating: "{\"items\":", count: 120) + "true" + String(repeating: "}", count: 120)
    _ = try AnswerSchema(deep)
    #expect(throws: (any Error).self) {
      try AnswerSchema(String(repeating: "{\"items\":", count: 20_000))
    }
    do {
      _ = try AnswerSchema("{\"title\": \"" + String(repeating: "x", count: 1 << 20) + "\"}")
      Issue.record("a megabyte and more")
    } catch {
      #expect(error.description == "the schema has 1048589 bytes, at most 1048576 are possible")
    }
  }

  /// Schemas with a byte changed, taken away or doubled: never a trap, and what is taken can be walked through.
  @Test(arguments: 0..<6)
  func damagedSchemas(part: Int) throws {
    var random = SeededNumbers(UInt64(part) + 900)
    let words =
      FormConstraintTests.taken.map(\.schema) + Self.accepted + Self.refusals.map(\.schema)
    var taken = 0
    for _ in 0..<60 * effort {
      var bytes = Array(random.pick(words).utf8)
      for _ in 0..<random.int(1..<4) where !bytes.isEmpty {
        let place = random.int(0..<bytes.count)
        switch random.int(0..<4) {
        case 0: bytes[place] = random.pick(Array(#"{}[]",:0123456789-e.#/$atrufalsenl"#.utf8))
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(bytes[place], at: place)
        default: bytes.insert(contentsOf: Array("999999999999999999999999".utf8), at: place)
        }
      }
      do {
        var constraint = Vocabulary.bytes.constraint(
          try AnswerSchema(String(decoding: bytes, as: UTF8.self)))
        for _ in 0..<30 {
          _ = constraint.takeForced(atMost: 5)
          guard let token = constraint.allowedTokens().tokens.randomElement(using: &random) else {
            break
          }
          _ = constraint.accept(token)
        }
        taken += 1
      } catch { #expect(!error.description.contains("\n") && error.description.count < 700) }
    }
    #expect(taken > 3 * effort)
  }

  @Test func theSameTextIsTheSameSchema() throws {
    #expect(
      try AnswerSchema("{}") == AnswerSchema("{}") && AnswerSchema("{}") != AnswerSchema("true"))
  }
}
