import Foundation
import Grammar
import Support
import TestSupport
import Testing

/// Tokens for tests.
struct Vocabulary: Sendable {
  let texts: [[UInt8]]
  let trie: TokenTrie

  /// Every byte, and further texts.
  init(_ more: [[UInt8]]) {
    texts = (UInt8.min...UInt8.max).map { [$0] } + more
    trie = TokenTrie(count: texts.count + 3, texts.enumerated().map { (Int32($0), $1) })
  }

  static let bytes = Vocabulary([])

  /// Pieces of JSON of all lengths, over several of its parts, from the middle of escapes and characters, some twice.
  static let hostile: Vocabulary = {
    var random = SeededNumbers(4)
    let pieces = [
      "{", "}", "[", "]", "\"", ":", ",", "\"a\"", "a", "b", "ab", "abc", "name", "id", "größe",
      "日本", "日", "🎈", "\\", "\\\"", "\\\\", "\\u",
      "00", "d83c", "\\udf88", "\\ud8", "1", "12", "-", "0", ".", ".5", "e", "E+", "99", "true",
      "false", "null", "nul", " ", "\n", "next",
      "\":", "\",\"", "\"}", "{\"", "[{\"", "}]", "],[", "\":\"", "\":{\"", "\"],\"", "\u{7F}", "/",
      "\\n", "line", "break",
    ].map { Array($0.utf8) }
    var texts: [[UInt8]] = pieces
    for _ in 0..<700 {
      var text = (0..<random.int(2..<7)).flatMap { _ in random.pick(pieces) }
      // Cut anywhere, also within a character.
      if random.chance(0.3) {
        text = Array(text.dropFirst(random.int(0..<2)).dropLast(random.int(0..<2)))
      }
      if !text.isEmpty { texts.append(text) }
    }
    return Vocabulary(texts)
  }()

  /// The longest tokens from the left: what a tokenizer may do.
  func encode(_ text: String) -> [Int32] {
    var rest = Array(text.utf8)[...]
    var tokens: [Int32] = []
    while !rest.isEmpty {
      guard
        let (id, token) = texts.enumerated().filter({ rest.starts(with: $0.element) }).max(by: {
          $0.element.count < $1.element.count
        })
      else { return tokens }
      tokens.append(Int32(id))
      rest = rest.dropFirst(token.count)
    }
    return tokens
  }

  func constraint(_ schema: AnswerSchema, forces: Bool = true) -> FormConstraint {
    FormConstraint(schema, trie) { forces ? encode($0) : [] }
  }
}

extension [UInt64] {
  var tokens: [Int32] {
    indices.flatMap { index in
      (0..<64).filter { self[index] >> UInt64($0) & 1 == 1 }.map { Int32(index * 64 + $0) }
    }
  }
}

/// `#expect` of what changes something.
func expect(_ holds: Bool, location: SourceLocation = #_sourceLocation) {
  #expect(holds, sourceLocation: location)
}

/// Optimised tests look at more cases in the same time.
let effort = _isDebugAssertConfiguration() ? 1 : 5

@Suite struct FormConstraintTests {
  enum Way: CaseIterable, Sendable { case any, longest, severalParts, shortest }

  /// A walk through the masks: the text, and whether it ended by itself.
  private func walk(
    _ schema: AnswerSchema, _ vocabulary: Vocabulary, _ way: Way, forces: Bool, limit: Int = 60,
    _ random: inout SeededNumbers
  ) -> (text: [UInt8], isFinished: Bool) {
    var constraint = vocabulary.constraint(schema, forces: forces)
    var text: [UInt8] = []
    let marks = Set("\"}]{[:,".utf8)
    for step in 0..<limit * 8 {
      if constraint.isFinished || constraint.mayEnd && random.chance(0.3) { return (text, true) }
      if forces, random.chance(0.5) {
        for token in constraint.takeForced(atMost: random.int(1..<9)) {
          text += vocabulary.texts[Int(token)]
        }
        if constraint.isFinished { return (text, true) }
      }
      var allowed = constraint.allowedTokens().tokens
      if allowed.isEmpty, constraint.mayEnd { return (text, true) }
      #expect(!allowed.isEmpty, "nothing may follow \(String(decoding: text, as: UTF8.self))")
      if allowed.isEmpty { return (text, false) }
      func bytes(_ token: Int32) -> [UInt8] { vocabulary.texts[Int(token)] }
      // Towards the end after a while, and now and then before.
      if step > limit || random.chance(0.15) {
        let closing = allowed.filter {
          bytes($0).contains { "\"}]".utf8.contains($0) }
            && !bytes($0).contains { "{[".utf8.contains($0) }
        }
        if !closing.isEmpty { allowed = closing }
        if step > limit,
          let end = ["]", "}", "\""].lazy.compactMap({ mark in
            allowed.first { bytes($0) == Array(mark.utf8) }
          }).first
        {
          allowed = [end]
        }
      } else {
        switch way {
        case .any: break
        case .longest:
          let most = allowed.map { bytes($0).count }.max() ?? 0
          allowed = allowed.filter { bytes($0).count >= most - 1 }
        case .severalParts:
          let most = allowed.map { bytes($0).count(where: marks.contains) }.max() ?? 0
          allowed = allowed.filter { bytes($0).count(where: marks.contains) >= min(most, 2) }
        case .shortest:
          let least = allowed.map { bytes($0).count }.min() ?? 0
          allowed = allowed.filter { bytes($0).count == least }
        }
      }
      while true {
        guard let token = allowed.randomElement(using: &random) else { break }
        if constraint.accept(token) {
          text += bytes(token)
          break
        }
        allowed.removeAll { $0 == token }
        if allowed.isEmpty {
          allowed = constraint.allowedTokens().tokens.filter { bytes($0).count == 1 }
        }
      }
    }
    return (text, false)
  }

  /// Whatever tokens are chosen of those that may come, what ends by itself is JSON, strictly read, and meets the schema.
  @Test(arguments: 0..<8)
  func everyAnswerMeetsItsSchema(part: Int) throws {
    var random = SeededNumbers(UInt64(part) &* 7919 &+ 1)
    var (finished, walks) = (0, 0)
    for _ in 0..<10 * effort {
      let shape = Shape.random(&random)
      let text = shape.schema(&random)
      let schema: AnswerSchema
      do { schema = try AnswerSchema(text) } catch {
        // Bounds of one number can exclude all; chance has it sometimes.
        #expect(error.description.contains("no answer can fit"), "\(error)\n\(text)")
        continue
      }
      let root = try JSONValue(Array(text.utf8))
      for way in Way.allCases {
        for vocabulary in [random.chance(0.3) ? Vocabulary.bytes : .hostile] {
          walks += 1
          let (answer, isFinished) = walk(
            schema, vocabulary, way, forces: random.chance(0.5), &random)
          guard isFinished else { continue }
          finished += 1
          let string = try #require(String(validating: answer, as: UTF8.self), "\(answer)\n\(text)")
          let value: JSONValue
          do { value = try JSONValue(answer) } catch {
            Issue.record("\(error): \(string)\n\(text)")
            continue
          }
          #expect(Validator(root: root).meets(value, root), "\(string)\n\(text)")
        }
      }
    }
    #expect(finished * 10 >= walks * 8, "\(finished) of \(walks)")
  }

  /// Every compact value of a schema can be said, in any tokens that spell it.
  @Test(arguments: 0..<8)
  func everyValueCanBeSaid(part: Int) throws {
    var random = SeededNumbers(UInt64(part) &* 104_729 &+ 3)
    var said = 0
    for _ in 0..<12 * effort {
      let shape = Shape.random(&random)
      let text = shape.schema(&random)
      guard let schema = try? AnswerSchema(text), let root = try? JSONValue(Array(text.utf8)) else {
        continue
      }
      for _ in 0..<4 {
        guard let value = shape.value(&random, root: shape) else { continue }
        try #require(
          Validator(root: root).meets(JSONValue(Array(value.utf8)), root),
          "the test's own value \(value)\n\(text)")
        let vocabulary = random.chance(0.5) ? Vocabulary.hostile : .bytes
        var constraint = vocabulary.constraint(schema, forces: false)
        var rest = Array(value.utf8)[...]
        while !rest.isEmpty {
          let allowed = constraint.allowedTokens().tokens.filter {
            rest.starts(with: vocabulary.texts[Int($0)])
          }
          let spelling = vocabulary.texts.indices.filter { rest.starts(with: vocabulary.texts[$0]) }
          #expect(
            allowed.count == spelling.count,
            "\(String(decoding: rest, as: UTF8.self)) of \(value)\n\(text)")
          guard let token = allowed.randomElement(using: &random), constraint.accept(token) else {
            Issue.record("\(String(decoding: rest, as: UTF8.self)) of \(value)\n\(text)")
            break
          }
          rest = rest.dropFirst(vocabulary.texts[Int(token)].count)
        }
        #expect(constraint.mayEnd, "\(value)\n\(text)")
        said += 1
      }
    }
    #expect(said > 20 * effort)
  }

  /// What a text's bytes lead to.
  private func takes(_ schema: String, _ text: String) throws -> Bool {
    var constraint = Vocabulary.bytes.constraint(try AnswerSchema(schema), forces: false)
    for byte in text.utf8 where !constraint.accept(Int32(byte)) { return false }
    return constraint.mayEnd
  }

  static let taken: [(schema: String, taken: [String], refused: [String])] = [
    (
      #"{"type": "string", "maxLength": 2}"#,
      [#""""#, #""日本""#, #""🎈🎈""#, #""\ud83c\udf88a""#, #""\n\u0000""#],
      [#""abc""#, #""🎈🎈🎈""#, "\"a\nb\""]
    ),
    (
      #"{"type": "string", "minLength": 2}"#, [#""ab""#, #""\"\"""#],
      [#""""#, #""🎈""#, #""\ud83c\udf88""#]
    ),
    (
      #"{"type": "string"}"#, [#""\/\b\f\n\r\t\\""#, "\"\u{7F}\""],
      [#""\ud83c""#, #""\udf88""#, #""\ud83c\u0041""#, #""\x""#, #""\u12""#, "\"\t\""]
    ),
    (
      #"{"type": "integer"}"#, ["0", "-1", "123456789012345678"],
      ["-0", "01", "1.0", "1e3", "+1", "1234567890123456789", "-", ""]
    ),
    (
      #"{"type": "integer", "minimum": 10, "maximum": 19}"#, ["10", "15", "19"],
      ["1", "2", "9", "20", "100", "-10"]
    ),
    (
      #"{"type": "integer", "exclusiveMinimum": -3, "exclusiveMaximum": 2}"#,
      ["-2", "-1", "0", "1"], ["-3", "2", "-20", "10"]
    ),
    (#"{"type": "integer", "minimum": 0.5, "maximum": 1e2}"#, ["1", "100"], ["0", "101"]),
    (
      #"{"type": "number"}"#, ["0", "-0", "-0.5", "1e5", "1.25E-10", "123456789012345.5"],
      ["00", ".5", "1.", "1e", "1e100", "NaN", "--1"]
    ),
    (
      #"{"type": "number", "minimum": 0, "exclusiveMaximum": 1}"#,
      ["0", "0.0", "0.999999999999999"], ["1", "1.0", "-0.1", "-0", "0e0"]
    ),
    (
      #"{"type": "number", "minimum": -0.25, "maximum": 0.25}"#,
      ["-0.25", "0.250", "-0.2", "0", "-0"], ["-0.26", "0.3", "-1", "1"]
    ),
    (
      #"{"enum": ["a", "ab", 1, 12, null, {"b": [1, 2], "a": ""}]}"#,
      [#""a""#, #""ab""#, "1", "12", "null", #"{"b":[1,2],"a":""}"#],
      ["a", "2", "123", #"{"a":"","b":[1,2]}"#]
    ),
    (#"{"const": "x\ny\u00e9"}"#, [#""x\nyé""#], [#""x\u000ayé""#]),
    (#"{"type": ["string", "null"]}"#, [#""a""#, "null"], ["1", "nul", "{}"]),
    (#"{"type": "string", "enum": ["a", 1, "b"]}"#, [#""a""#, #""b""#], ["1"]),
    (
      #"{"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2}"#,
      ["[1]", "[1,2]"], ["[]", "[1,2,3]", "[1,]", "[1, 2]", "[ 1]"]
    ),
    (
      #"{"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}},"#
        + #" "required": ["b"], "additionalProperties": false}"#,
      [
        #"{"b":null}"#, #"{"a":null,"b":null}"#, #"{"a":null,"b":null,"c":null}"#,
        #"{"b":null,"c":null}"#,
      ],
      [
        "{}", #"{"a":null}"#, #"{"b":null,"a":null}"#, #"{"b":null,"b":null}"#, #"{"b":null,}"#,
        #"{"c":null}"#, #"{"d":null}"#,
      ]
    ),
    (
      #"{"type": "object"}"#,
      ["{}", #"{"a":{"b":[1,true,"x"]},"c":-1.5e3}"#, #"{"":1,"\"":2,"\\":3}"#],
      [
        #"{"a":1,"a":2}"#, #"{"a":1,"b":{"a":2},"a":3}"#, #"{"a":1,"\u0061":2}"#, "[]", "1",
        #"{"a": 1}"#,
      ]
    ),
    (
      #"{"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "string"}}"#,
      ["{}", #"{"a":1}"#, #"{"a":1,"b":"x","c":"y"}"#, #"{"b":"x"}"#],
      [#"{"a":"x"}"#, #"{"b":"x","a":1}"#, #"{"b":1}"#, #"{"b":"x","b":"y"}"#]
    ),
    (
      ##"{"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"v": {"type": "integer"},"##
        + ##" "l": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}}, "required": ["v", "l"]}}}"##,
      [#"{"v":1,"l":null}"#, #"{"v":1,"l":{"v":2,"l":null}}"#], [#"{"v":1}"#, #"{"v":1,"l":{}}"#]
    ),
    (
      #"{"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}, "x": {"type": "integer"}}, "required": ["k", "x"]},"#
        + #" {"type": "object", "properties": {"k": {"const": "b"}}, "required": ["k"]}]}"#,
      [#"{"k":"a","x":1}"#, #"{"k":"b"}"#], [#"{"k":"a"}"#, #"{"k":"b","x":1}"#]
    ),
    (
      #"{"properties": {"a": true}, "required": ["z"]}"#, [#"{"z":0}"#, #"{"a":[],"z":{}}"#],
      ["{}", "1"]
    ),
  ]

  @Test(arguments: taken)
  func whatASchemaTakes(schema: String, taken: [String], refused: [String]) throws {
    for text in taken { #expect(try takes(schema, text), "\(text)") }
    for text in refused { #expect(try !takes(schema, text), "\(text)") }
  }

  /// Arrays in arrays end at the limit that strict readers of JSON are within.
  @Test func nestingIsBounded() throws {
    let schema = try AnswerSchema(##"{"type": "array", "items": {"$ref": "#"}}"##)
    var constraint = Vocabulary.bytes.constraint(schema)
    var depth = 0
    while constraint.accept(Int32(UInt8(ascii: "["))) { depth += 1 }
    #expect(depth == 64)
    for _ in 0..<depth { expect(constraint.accept(Int32(UInt8(ascii: "]")))) }
    let further = constraint.allowedTokens().tokens
    #expect(constraint.isFinished && constraint.mayEnd && further.isEmpty)
  }

  /// Names and marks that must come are known without a choice, in the tokens that the tokenizer makes of them; whoever takes them one by
  /// one is offered nothing else.
  @Test func textWithoutAlternativeIsForced() throws {
    let schema = try AnswerSchema(
      #"{"type": "object", "properties": {"name": {"type": "boolean"}, "größe": {"const": "日本"}}, "required": ["name", "größe"]}"#
    )
    let vocabulary = Vocabulary.hostile
    func spell(_ tokens: [Int32]) -> String {
      String(decoding: tokens.flatMap { vocabulary.texts[Int($0)] }, as: UTF8.self)
    }
    var together = vocabulary.constraint(schema)
    let whole = #"{"name":"#
    let first = together.takeForced(atMost: 100)
    #expect(whole.hasPrefix(spell(first)) && !first.isEmpty)
    var oneByOne = vocabulary.constraint(schema)
    for token in first {
      let allowed = oneByOne.allowedTokens().tokens
      #expect(allowed == [token] && !oneByOne.mayEnd && !oneByOne.isFinished)
      expect(!oneByOne.accept(token == 0 ? 1 : 0))
      expect(oneByOne.accept(token))
    }
    expect(oneByOne.takeForced(atMost: 100).isEmpty)
    expect(oneByOne.allowedTokens() == together.allowedTokens())
    // As far as it is open.
    for byte in whole.utf8.dropFirst(spell(first).utf8.count) {
      expect(together.accept(Int32(byte)))
    }
    expect(together.accept(Int32(UInt8(ascii: "t"))))
    var rest = ""
    while !together.isFinished {
      let forced = together.takeForced(atMost: 2)
      rest += spell(forced)
      guard forced.isEmpty else { continue }
      let allowed = together.allowedTokens().tokens
      guard let token = allowed.first, together.accept(token) else { break }
      rest += spell([token])
    }
    #expect(rest == #"rue,"größe":"日本"}"#)
  }

  /// The first tokens of a text are the same with tokens that are taken together and with such that are taken one by one.
  @Test(arguments: 0..<4)
  func forcedTokensAreThoseThatWouldBeChosen(part: Int) throws {
    var random = SeededNumbers(UInt64(part) + 77)
    for _ in 0..<8 * effort {
      let text = Shape.random(&random).schema(&random)
      guard let schema = try? AnswerSchema(text) else { continue }
      /// Chooses by a number that the text so far gives.
      func answer(batch: Int) -> [Int32] {
        var constraint = Vocabulary.hostile.constraint(schema)
        var tokens: [Int32] = []
        while tokens.count < 60, !constraint.isFinished {
          if batch > 0 { tokens += constraint.takeForced(atMost: min(batch, 60 - tokens.count)) }
          if tokens.count >= 60 || constraint.isFinished { break }
          var allowed = constraint.allowedTokens().tokens
          while !allowed.isEmpty {
            let index = tokens.reduce(17) { ($0 &* 31 &+ Int($1)) & 0xFFFFFF } % allowed.count
            if constraint.accept(allowed[index]) {
              tokens.append(allowed[index])
              break
            }
            allowed.remove(at: index)
          }
          if allowed.isEmpty { break }
        }
        return tokens
      }
      let expected = answer(batch: 0)
      #expect(answer(batch: 1) == expected && answer(batch: 50) == expected, "\(text)")
    }
  }

  /// Ids that spell the same are allowed alike, others never.
  @Test func twinsAndIdsWithoutText() throws {
    var spellings: [(Int32, [UInt8])] = (0..<256).map { (Int32($0), [UInt8($0)]) }
    spellings += [(260, [123]), (270, []), (271, [123, 125]), (272, [123, 125])]
    let trie = TokenTrie(count: 300, spellings)
    var constraint = FormConstraint(.anyObject, trie) { _ in [] }
    expect(constraint.allowedTokens().tokens == [123, 260, 271, 272])
    for token: Int32 in [270, 299, -1, 300] { expect(!constraint.accept(token)) }
    expect(constraint.accept(272))
    #expect(constraint.isFinished && trie.missingByte == nil)
    #expect(
      TokenTrie(count: 256, (0..<256).filter { $0 != 0x80 }.map { (Int32($0), [UInt8($0)]) })
        .missingByte == 0x80)
  }
}
