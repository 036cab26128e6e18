import Support

/// Why a JSON schema cannot be an answer's form.
package enum SchemaError: Error, Equatable, Sendable {
  case tooLarge(bytes: Int, limit: Int)
  case notJSON(String)
  /// `place` is a JSON pointer from here on.
  case notASchema(place: String)
  case unsupported(keyword: String, place: String, hint: String)
  case invalid(keyword: String, place: String, found: String, expected: String)
  /// A reference to something that is not there.
  case unknownReference(String, place: String)
  /// Bounds that exclude each other, recursion without end.
  case noValue(place: String)
}

extension SchemaError: ClassifiedError {
  package var kind: SlowFastError.Kind { .invalidFile }
  package var namesItsFile: Bool { false }

  package var description: String {
    switch self {
    case .tooLarge(let bytes, let limit): "the schema has \(bytes) bytes, at most \(limit) are possible"
    case .notJSON(let reason): "the schema is not JSON: \(reason)"
    case .notASchema(let place): "the schema at \(place.escaped()) is neither an object nor true or false"
    case .unsupported(let keyword, let place, let hint):
      "\"\(keyword.escaped())\" at \(place.escaped()) of the schema is not supported\(hint.isEmpty ? "" : ": \(hint)")"
    case .invalid(let keyword, let place, let found, let expected):
      "\"\(keyword.escaped())\" at \(place.escaped()) of the schema is \(found.escaped(limit: 60)), expected \(expected)"
    case .unknownReference(let reference, let place):
      "\"$ref\" at \(place.escaped()) of the schema is \(reference.quoted), which is not there"
    case .noValue(let place): "no answer can fit the schema at \(place.escaped())"
    }
  }
}

/// Makes a form of a JSON schema (2020-12, the part that providers of structured output have in common).
///
/// What is not meant for a value's type has no effect, as the standard says, and neither have annotations and unknown keywords. Two
/// things are narrower than there: without `type` its keywords tell it, and properties that are not named need `additionalProperties`.
struct SchemaReader {
  /// Bytes of a schema.
  static let sizeLimit = 1 << 20

  private let root: JSONValue
  private var rules: [Form.Rule] = []
  private var literals: [Form.Literals] = []
  private var objects: [Form.Object] = []
  private var anyValue: Form.RuleID?
  /// The rules of what is referred to, and those that are still to be read.
  private var references: [String: Form.RuleID] = ["#": 0]
  private var open: [(tree: JSONValue, place: String, rule: Form.RuleID)] = []
  /// Choices of which a value must meet one only, with their places.
  private var exclusive: [(choices: [Form.RuleID], place: String)] = []

  static func read(_ text: [UInt8]) throws(SchemaError) -> Form {
    guard text.count <= sizeLimit else { throw .tooLarge(bytes: text.count, limit: sizeLimit) }
    let root: JSONValue
    do throws(JSONError) { root = try JSONValue(text) } catch { throw .notJSON("\(error)") }
    var reader = SchemaReader(root)
    return try reader.form()
  }

  /// Any object.
  static var anyObject: Form {
    var reader = SchemaReader(.bool(true))
    reader.rules = [.anyOf([])]
    let object = reader.objectOfAnything()
    reader.rules[0] = .anyOf([object])
    return Form(rules: reader.rules, literals: reader.literals, objects: reader.objects)
  }

  private init(_ root: JSONValue) { self.root = root }

  private mutating func form() throws(SchemaError) -> Form {
    rules = [.anyOf([])]
    open = [(root, "#", 0)]
    while let next = open.popLast() {
      let rule = try rule(next.tree, next.place)
      rules[Int(next.rule)] = .anyOf([rule])
    }
    let form = Form(rules: rules, literals: literals, objects: objects)
    guard form.nesting[0] <= Form.nestingLimit else { throw .noValue(place: "#") }
    var overlap = Overlap(form)
    for (choices, place) in exclusive where overlap.isPossible(among: choices) {
      throw .unsupported(keyword: "oneOf", place: place, hint: "a value could meet several of its schemas, which anyOf allows")
    }
    return form
  }

  private mutating func add(_ rule: Form.Rule) -> Form.RuleID {
    rules.append(rule)
    return Form.RuleID(rules.count - 1)
  }

  private mutating func add(_ list: Form.Literals) -> Form.RuleID {
    literals.append(list)
    return add(.literals(Int32(literals.count - 1)))
  }

  private mutating func add(_ object: Form.Object) -> Form.RuleID {
    objects.append(object)
    return add(.object(Int32(objects.count - 1)))
  }

  private mutating func oneOf(_ choices: [Form.RuleID]) -> Form.RuleID { choices.count == 1 ? choices[0] : add(.anyOf(choices)) }

  private mutating func anything() -> Form.RuleID {
    if let anyValue { return anyValue }
    let any = add(.anyOf([]))
    anyValue = any
    let simple = [
      add(Form.Object([], additional: any)), add(.array(items: any, minimum: 0, maximum: Form.unbounded)), string(0, Form.unbounded),
      add(Form.Literals(["true", "false", "null"].map { Array($0.utf8) })),
    ]
    let number = NumberRange(isWhole: false, minimum: nil, maximum: nil).map { add(.number($0)) }
    rules[Int(any)] = .anyOf(simple + (number.map { [$0] } ?? []))
    return any
  }

  private mutating func objectOfAnything() -> Form.RuleID {
    let any = anything()
    return add(Form.Object([], additional: any))
  }

  private mutating func string(_ minimum: Int32, _ maximum: Int32) -> Form.RuleID { add(.string(minimum: minimum, maximum: maximum)) }

  // MARK: One schema

  private static let annotations: Set = [
    "title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs", "definitions", "deprecated", "readOnly",
    "writeOnly", "contentEncoding", "contentMediaType", "contentSchema",
  ]
  private static let unsupported: Set = [
    "pattern", "format", "multipleOf", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems", "additionalItems",
    "unevaluatedItems", "unevaluatedProperties", "minProperties", "maxProperties", "patternProperties", "propertyNames",
    "dependentRequired", "dependentSchemas", "dependencies", "not", "if", "then", "else", "$dynamicRef", "$recursiveRef",
  ]
  private static let ofType: [(type: String, keywords: Set<String>)] = [
    ("object", ["properties", "required", "additionalProperties"]), ("array", ["items", "minItems", "maxItems"]),
    ("string", ["minLength", "maxLength"]), ("number", ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]),
  ]
  private static let others: Set = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"]
  private static let known = others.union(ofType.flatMap(\.keywords))

  private mutating func rule(_ tree: JSONValue, _ place: String) throws(SchemaError) -> Form.RuleID {
    if case .bool(let isAnything) = tree { return isAnything ? anything() : add(.anyOf([])) }
    guard case .object(let schema) = tree else { throw .notASchema(place: place) }
    for (keyword, value) in schema where Self.unsupported.contains(keyword) {
      if keyword == "uniqueItems", case .bool(false) = value { continue }
      throw .unsupported(keyword: keyword, place: place, hint: "")
    }
    for keyword in ["$ref", "anyOf", "oneOf", "allOf"] {
      guard let value = schema[keyword] else { continue }
      if let other = schema.first(where: { $0.key != keyword && Self.known.contains($0.key) }) {
        throw .unsupported(keyword: other.key, place: place, hint: "it stands beside \"\(keyword)\"")
      }
      if keyword == "$ref" { return try reference(value, place) }
      return try choices(value, keyword, place)
    }
    if schema["enum"] != nil || schema["const"] != nil { return try values(schema, place) }

    var types: [String]
    switch schema["type"] {
    case nil:
      types = Self.ofType.filter { type in schema.contains { type.keywords.contains($0.key) } }.map(\.type)
      if types.isEmpty { return anything() }
    case .string(let type): types = [type]
    case .array(let list) where !list.isEmpty: types = list.map { if case .string(let type) = $0 { type } else { "" } }
    case let other?: throw invalid("type", place, other, "a type or a list of types")
    }
    if types.contains("number") { types.removeAll { $0 == "integer" } }
    var found: [Form.RuleID] = []
    for type in types { found.append(try rule(ofType: type, schema, place)) }
    return oneOf(found)
  }

  private mutating func rule(ofType type: String, _ schema: JSONValue.Object, _ place: String) throws(SchemaError) -> Form.RuleID {
    switch type {
    case "null": return add(Form.Literals([Array("null".utf8)]))
    case "boolean": return add(Form.Literals([Array("true".utf8), Array("false".utf8)]))
    case "string":
      let (least, most) = (try count("minLength", schema, place), try count("maxLength", schema, place))
      return string(try checked(least, most, place), most ?? Form.unbounded)
    case "number", "integer": return try number(schema, isWhole: type == "integer", place)
    case "array":
      let (least, most) = (try count("minItems", schema, place), try count("maxItems", schema, place))
      let minimum = try checked(least, most, place)
      let items = if let items = schema["items"] { try rule(items, place + "/items") } else { anything() }
      return add(.array(items: items, minimum: minimum, maximum: most ?? Form.unbounded))
    case "object": return try object(schema, place)
    default:
      throw .invalid(
        keyword: "type", place: place, found: type.isEmpty ? "a list with something else" : type.quoted,
        expected: "null, boolean, integer, number, string, array or object")
    }
  }

  private mutating func object(_ schema: JSONValue.Object, _ place: String) throws(SchemaError) -> Form.RuleID {
    var required: [String] = []
    if let value = schema["required"] {
      guard case .array(let names) = value else { throw invalid("required", place, value, "a list of names") }
      for name in names {
        guard case .string(let text) = name else { throw invalid("required", place, value, "a list of names") }
        required.append(text)
      }
    }
    let names = Set(required)
    var properties: [Form.Object.Property] = []
    var hasProperties = false
    if let value = schema["properties"] {
      guard case .object(let entries) = value else { throw invalid("properties", place, value, "an object") }
      hasProperties = true
      for (name, tree) in entries {
        let rule = try rule(tree, place + "/properties/" + Self.pointer(name))
        properties.append(Form.Object.Property(name: name, rule: rule, isRequired: names.contains(name)))
      }
    }
    var additional: Form.RuleID?
    switch schema["additionalProperties"] {
    case .bool(false): break
    case nil: additional = hasProperties ? nil : anything()
    case let tree?: additional = try rule(tree, place + "/additionalProperties")
    }
    let isClosed = if case .bool(false) = schema["additionalProperties"] { true } else { false }
    var known = Set(properties.map(\.name))
    for name in required where known.insert(name).inserted {
      if isClosed {
        throw .invalid(keyword: "required", place: place, found: "with \(name.quoted)", expected: "names that \"properties\" has")
      }
      properties.append(Form.Object.Property(name: name, rule: additional ?? anything(), isRequired: true))
    }
    return add(Form.Object(properties, additional: additional))
  }

  private mutating func number(_ schema: JSONValue.Object, isWhole: Bool, _ place: String) throws(SchemaError) -> Form.RuleID {
    func bound(_ keyword: String) throws(SchemaError) -> DecimalText? {
      guard let value = schema[keyword] else { return nil }
      guard case .number(let text) = value, let number = DecimalText(text) else { throw invalid(keyword, place, value, "a number") }
      return number
    }
    // Of an inclusive and an exclusive bound the narrower one counts.
    func narrower(_ keyword: String, _ exclusive: String, isMinimum: Bool) throws(SchemaError) -> (DecimalText, excluded: Bool)? {
      let (inclusive, excluded) = (try bound(keyword), try bound(exclusive))
      guard let excluded else { return inclusive.map { ($0, false) } }
      guard let inclusive else { return (excluded, true) }
      let (a, b) = (inclusive.scaled(15, up: isMinimum), excluded.scaled(15, up: isMinimum))
      return (isMinimum ? a > b : a < b) ? (inclusive, false) : (excluded, true)
    }
    let minimum = try narrower("minimum", "exclusiveMinimum", isMinimum: true)
    let maximum = try narrower("maximum", "exclusiveMaximum", isMinimum: false)
    guard let range = NumberRange(isWhole: isWhole, minimum: minimum, maximum: maximum) else { throw .noValue(place: place) }
    return add(.number(range))
  }

  /// `enum` and `const`.
  private mutating func values(_ schema: JSONValue.Object, _ place: String) throws(SchemaError) -> Form.RuleID {
    if let other = schema.first(where: { Self.known.contains($0.key) && !["enum", "const", "type"].contains($0.key) }) {
      throw .unsupported(keyword: other.key, place: place, hint: "it stands beside \"\(schema["enum"] != nil ? "enum" : "const")\"")
    }
    var values: [JSONValue] = []
    if let list = schema["enum"] {
      guard case .array(let all) = list else { throw invalid("enum", place, list, "a list of values") }
      values = all
      if let const = schema["const"]?.compact { values.removeAll { $0.compact != const } }
    } else if let const = schema["const"] {
      values = [const]
    }
    if let type = schema["type"] {
      let types: [String]
      switch type {
      case .string(let name): types = [name]
      case .array(let list): types = list.compactMap { if case .string(let name) = $0 { name } else { nil } }
      default: throw invalid("type", place, type, "a type or a list of types")
      }
      values.removeAll { !types.contains($0.type) && !($0.type == "integer" && types.contains("number")) }
    }
    guard !values.isEmpty else { throw .noValue(place: place) }
    return add(Form.Literals(values.map { Array($0.compact.utf8) }, nesting: values.map(\.nesting).max() ?? 0))
  }

  /// `anyOf`, `oneOf`, and an `allOf` of one.
  private mutating func choices(_ value: JSONValue, _ keyword: String, _ place: String) throws(SchemaError) -> Form.RuleID {
    guard case .array(let trees) = value, !trees.isEmpty else { throw invalid(keyword, place, value, "a list of schemas") }
    if keyword == "allOf", trees.count > 1 { throw .unsupported(keyword: keyword, place: place, hint: "it has more than one schema") }
    var found: [Form.RuleID] = []
    for (index, tree) in trees.enumerated() { found.append(try rule(tree, "\(place)/\(keyword)/\(index)")) }
    if keyword == "oneOf" { exclusive.append((found, place)) }
    return oneOf(found)
  }

  // MARK: References

  private mutating func reference(_ value: JSONValue, _ place: String) throws(SchemaError) -> Form.RuleID {
    guard case .string(let reference) = value else { throw invalid("$ref", place, value, "a text") }
    if let rule = references[reference] { return rule }
    guard reference.hasPrefix("#/"), let decoded = Self.withoutPercents(reference.dropFirst(2)) else {
      throw .unknownReference(reference, place: place)
    }
    var tree = root
    for part in decoded.split(separator: "/", omittingEmptySubsequences: false) {
      let name = part.replacing("~1", with: "/").replacing("~0", with: "~")
      switch tree {
      case .object(let entries):
        guard let next = entries[String(name)] else { throw .unknownReference(reference, place: place) }
        tree = next
      case .array(let values):
        guard let index = Int(name), values.indices.contains(index) else { throw .unknownReference(reference, place: place) }
        tree = values[index]
      default: throw .unknownReference(reference, place: place)
      }
    }
    let rule = add(.anyOf([]))
    references[reference] = rule
    open.append((tree, reference, rule))
    return rule
  }

  private static func withoutPercents(_ text: Substring) -> String? {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else { return nil }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func pointer(_ name: String) -> String { name.replacing("~", with: "~0").replacing("/", with: "~1") }

  // MARK: Bounds

  /// Of characters or items; a bound beyond what answers can have is none.
  private func count(_ keyword: String, _ schema: JSONValue.Object, _ place: String) throws(SchemaError) -> Int32? {
    guard let value = schema[keyword] else { return nil }
    guard case .number(let text) = value, let number = DecimalText(text), number.isWhole, number.scaled(0, up: false) >= 0 else {
      throw invalid(keyword, place, value, "a whole number")
    }
    return Int32(clamping: number.scaled(0, up: false))
  }

  private func checked(_ least: Int32?, _ most: Int32?, _ place: String) throws(SchemaError) -> Int32 {
    let minimum = least ?? 0
    guard minimum <= most ?? Form.unbounded, minimum <= Limits.tokens else { throw .noValue(place: place) }
    return minimum
  }

  private func invalid(_ keyword: String, _ place: String, _ found: JSONValue, _ expected: String) -> SchemaError {
    .invalid(keyword: keyword, place: place, found: String(found.compact.prefix(80)), expected: expected)
  }
}

/// Whether a value could meet two rules: false is proven, true may only be unknown.
private struct Overlap {
  private let form: Form
  private var work = 0

  init(_ form: Form) { self.form = form }

  mutating func isPossible(among choices: [Form.RuleID]) -> Bool {
    for (index, first) in choices.enumerated() {
      for second in choices[..<index] where isPossible(first, second, 0) { return true }
    }
    return false
  }

  private mutating func isPossible(_ first: Form.RuleID, _ second: Form.RuleID, _ depth: Int) -> Bool {
    for a in form.alternatives(of: first) {
      for b in form.alternatives(of: second) {
        work += 1
        // What takes long to tell is not told.
        if work > 20_000 || isPossible(form.rules[Int(a)], form.rules[Int(b)], depth) { return true }
      }
    }
    return false
  }

  private mutating func isPossible(_ first: Form.Rule, _ second: Form.Rule, _ depth: Int) -> Bool {
    switch (first, second) {
    case (.literals(let a), .literals(let b)):
      let (a, b) = (form.literals[Int(a)], form.literals[Int(b)])
      let isNested = a.nesting > 0 && b.nesting > 0
      func numbers(_ list: Form.Literals) -> Set<Double> {
        Set(list.texts.filter { Self.kind($0) == 2 }.compactMap { Double(String(decoding: $0, as: UTF8.self)) })
      }
      return isNested || a.texts.contains(where: b.contains) || !numbers(a).isDisjoint(with: numbers(b))
    case (.literals(let list), let other), (let other, .literals(let list)):
      return form.literals[Int(list)].texts.contains { Self.kind($0) == Self.kind(other) }
    case (.string(let least, let most), .string(let otherLeast, let otherMost)): return most >= otherLeast && otherMost >= least
    case (.object(let a), .object(let b)):
      let (a, b) = (form.objects[Int(a)], form.objects[Int(b)])
      func rules(_ object: Form.Object) -> [String: Form.RuleID] {
        Dictionary(object.properties.map { ($0.name, $0.rule) }) { first, _ in first }
      }
      let (ofA, ofB) = (rules(a), rules(b))
      for (object, other, isClosed) in [(a, ofB, b.additional == nil), (b, ofA, a.additional == nil)] {
        for property in object.properties where property.isRequired {
          // One must have what the other cannot have, or has otherwise.
          guard let otherRule = other[property.name] else {
            if isClosed { return false }
            continue
          }
          if depth < 3, !isPossible(property.rule, otherRule, depth + 1) { return false }
        }
      }
      return true
    default: return Self.kind(first) == Self.kind(second)
    }
  }

  private static func kind(_ rule: Form.Rule) -> Int {
    switch rule {
    case .string: 1
    case .number: 2
    case .object: 3
    case .array: 4
    default: 0
    }
  }

  private static func kind(_ literal: [UInt8]) -> Int {
    switch literal.first {
    case UInt8(ascii: "\""): 1
    case UInt8(ascii: "{"): 3
    case UInt8(ascii: "["): 4
    case UInt8(ascii: "t"), UInt8(ascii: "f"), UInt8(ascii: "n"): 0
    default: 2
    }
  }
}

extension JSONValue {
  /// What it is, as schemas name it; a whole number is an `integer`.
  var type: String {
    switch self {
    case .null: "null"
    case .bool: "boolean"
    case .number(let text): DecimalText(text)?.isWhole == true ? "integer" : "number"
    case .string: "string"
    case .array: "array"
    case .object: "object"
    }
  }
}
