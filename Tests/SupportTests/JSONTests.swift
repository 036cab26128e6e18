import Support
import Testing

/// JSON as everything that comes from outside is read. Malformed headers of safetensors files are tested with the files.
@Suite struct JSONTests {
  private func value(_ text: String) throws -> JSONValue { try JSONValue(Array(text.utf8)) }

  @Test func readsEveryKindOfValue() throws {
    let found = try value(#" {"a": [1, -2.5e3, true, false, null], "b": {"c": "é\n\u00e9\ud83d\ude00"}, "": []} "#)
    #expect(
      found
        == .object([
          "a": .array([.number("1"), .number("-2.5e3"), .bool(true), .bool(false), .null]), "b": .object(["c": .string("é\né😀")]),
          "": .array([]),
        ]))
    #expect(found.object?["a"]?.array?.map(\.double) == [1, -2500, nil, nil, nil])
    #expect(found.object?["b"]?.object?["c"]?.string == "é\né😀")
  }

  @Test(
    arguments: [
      ("0", 0), ("-7", -7), ("1.0", 1), ("1e3", 1000), ("9223372036854775807", Int.max), ("1.5", nil), ("9223372036854775808", nil),
      ("1e999", nil), ("true", nil), ("\"1\"", nil),
    ] as [(String, Int?)])
  func wholeNumbers(text: String, expected: Int?) throws { #expect(try value(text).integer == expected) }

  @Test func numbersBeyondTheLargestAreNone() throws {
    #expect(try value("1e999").double == nil && value("-1e999").double == nil && value("1e-999").double == 0)
  }

  @Test(arguments: [
    ("", 0, "a value"), ("{\"a\":1}}", 7, "nothing more"), ("{\"a\" 1}", 5, "\":\""), ("[1 2]", 3, "\",\" or \"]\""),
    ("[1,]", 3, "a value"),
    ("tru", 0, "a value"), ("NaN", 0, "a value"), ("01", 0, "a value"), ("1.", 0, "a value"), ("\u{FEFF}{}", 0, "a value"),
    ("{\"a\":\"\\ud800\"}", 12, "the second half of a surrogate pair"), ("[\"\u{1}\"]", 2, "no control character in a string"),
  ])
  func saysWhereATextIsWrong(text: String, offset: Int, expected: String) {
    #expect(throws: JSONError.expected(expected, offset: offset), "\(text)") { try value(text) }
    #expect(throws: JSONError.expected(expected, offset: offset), "\(text)") { try JSONReader.check(Array(text.utf8)) }
  }

  @Test func refusesEqualKeys() {
    for text in [#"{"a":1,"a":1}"#, #"[{"b":{"a":1,"\u0061":2}}]"#] {
      #expect(throws: JSONError.duplicateKey("a")) { try value(text) }
      #expect(throws: JSONError.duplicateKey("a")) { try JSONReader.check(Array(text.utf8)) }
    }
  }

  @Test func boundsTheDepth() throws {
    let limit = JSONReader.depthLimit
    func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
    _ = try value(nested(limit))
    let error = JSONError.expected("a value nested less than \(limit) levels deep", offset: limit)
    #expect(throws: error) { try value(nested(limit + 1)) }
    #expect(throws: error) { try value(String(repeating: "[", count: 1_000_000)) }
    // Those that lie beside one another do not count together.
    _ = try value("[" + String(repeating: "[],", count: 1000) + "{}]")
  }

  /// What types of Foundation's decoder are read from is as strict.
  @Test func decodesStrictly() throws {
    struct Record: Decodable, Equatable {
      var a: Int
      var b: [Double]?
    }
    func record(_ text: String, _ takesNonfinite: Bool = false) throws -> Record {
      try JSONReader.decode(Record.self, Array(text.utf8), takesNonfinite: takesNonfinite)
    }
    #expect(try record(#"{"a": 1, "b": [2.5], "c": {}}"#) == Record(a: 1, b: [2.5]))
    #expect(try record(#"{"a": 1, "b": ["inf", "-inf"]}"#, true).b == [.infinity, -.infinity])
    #expect(throws: JSONError.duplicateKey("a")) { try record(#"{"a": 1, "a": 1}"#) }
    #expect(throws: JSONError.duplicateKey("d")) { try record(#"{"a": 1, "c": {"d": 1, "d": 2}}"#) }
    #expect(throws: JSONError.self) { try record(#"{"a": 1, "b": [NaN]}"#) }
    #expect(throws: JSONError.self) {
      try record(#"{"a": 1, "b": "# + String(repeating: "[", count: 200) + String(repeating: "]", count: 200) + "}")
    }
    for text in [#"{"a": "1"}"#, #"{"a": 1.5}"#, #"{"a": 1, "b": {}}"#, #"{"a": 1, "b": ["inf"]}"#, #"{"b": []}"#] {
      #expect(throws: DecodingError.self, "\(text)") { try record(text) }
    }
  }

  @Test func writesWhatItReads() throws {
    let text = #"{"a \" \\ \u0001 é": [1.50, "b", true, null, {}]}"#
    #expect(try value(text).description == text)
    #expect(try value(value(text).description) == value(text))
    #expect(JSONValue.string("plain \"text\"").description == "plain \"text\"")
  }
}
