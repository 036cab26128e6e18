import Foundation
import Support
import TestSupport

/// A schema that can be written down, and of which values can be made.
indirect enum Shape {
  case anything, boolean, null
  case string(minimum: Int?, maximum: Int?)
  /// Bounds as they are written.
  case number(isWhole: Bool, minimum: String?, maximum: String?, isExclusive: Bool)
  case values([String])
  case object([(name: String, shape: Shape, isRequired: Bool)], additional: Shape?)
  case array(Shape, minimum: Int?, maximum: Int?)
  case anyOf([Shape])
  /// Types that a list names.
  case types([String])
  /// The whole schema again.
  case root
}

extension SeededNumbers {
  mutating func int(_ range: Range<Int>) -> Int { Int.random(in: range, using: &self) }
  mutating func chance(_ probability: Double) -> Bool {
    Double.random(in: 0..<1, using: &self) < probability
  }
  mutating func pick<T>(_ choices: [T]) -> T { choices[int(0..<choices.count)] }
  mutating func maybe<T>(_ value: T) -> T? { chance(0.5) ? value : nil }
}

extension Shape {
  static let names = [
    "a", "b", "ab", "abc", "name", "id", "", "größe", "日本", "🎈", "a\"b", "back\\slash",
    "line\nbreak", "with space", "x/y~z", "\u{1}",
  ]
  static let characters = [
    "a", "b", "Z", "0", " ", "é", "日", "🎈", "\"", "\\", "/", "\n", "\u{7F}", "{", "}", "[", ":",
    ",", "\u{10FFFF}",
  ]

  static func random(_ random: inout SeededNumbers, depth: Int = 0) -> Shape {
    let kinds = depth > 3 ? 7 : 11
    switch random.int(0..<kinds) {
    case 0: return .boolean
    case 1: return random.chance(0.5) ? .null : .anything
    case 2:
      let least = random.int(0..<4)
      return .string(minimum: random.maybe(least), maximum: random.maybe(least + random.int(0..<5)))
    case 3, 4:
      let bounds = [random.int(-200..<200), random.int(-200..<200)].sorted()
      let isWhole = random.chance(0.5)
      let fraction = isWhole ? "" : random.pick(["", ".5", ".25", "e0", ".0625"])
      return .number(
        isWhole: isWhole, minimum: random.maybe("\(bounds[0])\(fraction)"),
        maximum: random.maybe("\(bounds[1] + 3)\(fraction)"),
        isExclusive: random.chance(0.4))
    case 5:
      let pool = [
        "\"a\"", "\"ab\"", "\"abc\"", "\"\"", "1", "12", "1.5", "-3", "true", "null", "[]", "[1]",
        "{\"a\":1}", "\"日本\"", "\"日曜\"",
        "\"q\\\"q\"", "1e3", "120", "\"🎈\"",
      ]
      return .values(Array(pool.shuffled(using: &random).prefix(random.int(1..<6))))
    case 6:
      return .types(
        Array(
          ["string", "null", "boolean", "integer", "number", "array", "object"].shuffled(
            using: &random
          ).prefix(random.int(1..<4))))
    case 7, 8:
      let names = Self.names.shuffled(using: &random).prefix(random.int(0..<6))
      let properties = names.map {
        (name: $0, shape: Shape.random(&random, depth: depth + 1), isRequired: random.chance(0.5))
      }
      let additional = random.chance(0.3) ? Shape.random(&random, depth: depth + 1) : nil
      return .object(properties, additional: additional)
    case 9:
      let least = random.int(0..<3)
      return .array(
        .random(&random, depth: depth + 1), minimum: random.maybe(least),
        maximum: random.maybe(least + random.int(0..<3)))
    default:
      var choices = (0..<random.int(1..<4)).map { _ in Shape.random(&random, depth: depth + 1) }
      if random.chance(0.3) {
        // Recursion, with a way out.
        choices += [
          .null,
          .object([(name: "next", shape: .root, isRequired: random.chance(0.5))], additional: nil),
        ]
      }
      return .anyOf(choices)
    }
  }

  /// The schema's text.
  func schema(_ random: inout SeededNumbers) -> String {
    func quoted(_ text: String) -> String { JSONValue.quoted(text) }
    var entries: [(String, String)] = []
    switch self {
    case .anything: return random.chance(0.5) ? "true" : "{}"
    case .root: return ##"{"$ref": "#"}"##
    case .boolean: entries = [("type", "\"boolean\"")]
    case .null: entries = [("type", "\"null\"")]
    case .types(let types):
      entries = [
        (
          "type",
          types.count == 1
            ? quoted(types[0]) : "[" + types.map(quoted).joined(separator: ", ") + "]"
        )
      ]
    case .string(let minimum, let maximum):
      entries = [("type", "\"string\"")]
      if let minimum { entries.append(("minLength", "\(minimum)")) }
      if let maximum { entries.append(("maxLength", "\(maximum)")) }
    case .number(let isWhole, let minimum, let maximum, let isExclusive):
      entries = [("type", isWhole ? "\"integer\"" : "\"number\"")]
      if let minimum { entries.append((isExclusive ? "exclusiveMinimum" : "minimum", minimum)) }
      if let maximum { entries.append((isExclusive ? "exclusiveMaximum" : "maximum", maximum)) }
    case .values(let values):
      entries =
        values.count == 1 && random.chance(0.5)
        ? [("const", values[0])] : [("enum", "[" + values.joined(separator: ", ") + "]")]
    case .object(let properties, let additional):
      let list = properties.map { "\(quoted($0.name)): \($0.shape.schema(&random))" }.joined(
        separator: ", ")
      entries = [("type", "\"object\""), ("properties", "{\(list)}")]
      let required = properties.filter(\.isRequired).map { quoted($0.name) }.shuffled(
        using: &random)
      if !required.isEmpty {
        entries.append(("required", "[" + required.joined(separator: ", ") + "]"))
      }
      entries.append(("additionalProperties", additional?.schema(&random) ?? "false"))
    case .array(let items, let minimum, let maximum):
      entries = [("type", "\"array\""), ("items", items.schema(&random))]
      if let minimum { entries.append(("minItems", "\(minimum)")) }
      if let maximum { entries.append(("maxItems", "\(maximum)")) }
    case .anyOf(let choices):
      entries = [("anyOf", "[" + choices.map { $0.schema(&random) }.joined(separator: ", ") + "]")]
    }
    if random.chance(0.2) { entries.append(("title", "\"some { title\"")) }
    return "{"
      + entries.shuffled(using: &random).map { "\(quoted($0.0)): \($0.1)" }.joined(separator: ", ")
      + "}"
  }

  /// A value, compact; nil where chance leads nowhere.
  func value(_ random: inout SeededNumbers, root: Shape, depth: Int = 0) -> String? {
    if depth > 12 { return nil }
    switch self {
    case .anything:
      let simple: [Shape] = [
        .boolean, .null, .string(minimum: nil, maximum: nil),
        .number(isWhole: false, minimum: nil, maximum: nil, isExclusive: false),
      ]
      let nested: [Shape] = [
        .array(.anything, minimum: nil, maximum: 2), .object([], additional: .anything),
      ]
      return random.pick(depth > 3 ? simple : simple + nested).value(
        &random, root: root, depth: depth + 1)
    case .root: return root.value(&random, root: root, depth: depth + 2)
    case .boolean: return random.pick(["true", "false"])
    case .null: return "null"
    case .types(let types):
      switch random.pick(types) {
      case "string":
        return Shape.string(minimum: nil, maximum: nil).value(&random, root: root, depth: depth)
      case "boolean": return Shape.boolean.value(&random, root: root)
      case "integer":
        return Shape.number(isWhole: true, minimum: nil, maximum: nil, isExclusive: false).value(
          &random, root: root)
      case "number":
        return Shape.number(isWhole: false, minimum: nil, maximum: nil, isExclusive: false).value(
          &random, root: root)
      case "array":
        return Shape.array(.anything, minimum: nil, maximum: nil).value(
          &random, root: root, depth: depth + 1)
      case "object":
        return Shape.object([], additional: .anything).value(&random, root: root, depth: depth + 1)
      default: return "null"
      }
    case .string(let minimum, let maximum):
      let count = random.int((minimum ?? 0)..<(maximum ?? (minimum ?? 0) + 5) + 1)
      return "\"" + (0..<count).map { _ in Self.character(&random) }.joined() + "\""
    case .number(let isWhole, let minimum, let maximum, let isExclusive):
      for _ in 0..<40 {
        let low = minimum.flatMap(Double.init) ?? -1000
        let text =
          isWhole
          ? "\(random.int(Int(low) - 2..<Int(maximum.flatMap(Double.init) ?? low + 2000) + 3))"
          : Self.decimal(&random, low, maximum)
        guard let value = Decimal(string: text) else { continue }
        func meets(_ bound: String?, _ order: (Decimal, Decimal) -> Bool) -> Bool {
          guard let bound = bound.flatMap({ Decimal(string: $0) }) else { return true }
          return order(value, bound) || !isExclusive && value == bound
        }
        if meets(minimum, >), meets(maximum, <), text != "-0" { return text }
      }
      return nil
    case .values(let values): return random.pick(values)
    case .object(let properties, let additional):
      var entries: [String] = []
      for property in properties where property.isRequired || random.chance(0.5) {
        guard let value = property.shape.value(&random, root: root, depth: depth + 1) else {
          if property.isRequired { return nil }
          continue
        }
        let key = String(decoding: Self.written(property.name), as: UTF8.self)
        entries.append("\(key):\(value)")
      }
      if let additional {
        for name in ["other", "é\\\"", "日本語", "aa"] where random.chance(0.3) {
          if let value = additional.value(&random, root: root, depth: depth + 1) {
            entries.append("\"\(name)\":\(value)")
          }
        }
      }
      return "{" + entries.joined(separator: ",") + "}"
    case .array(let items, let minimum, let maximum):
      let count = random.int((minimum ?? 0)..<(maximum ?? (minimum ?? 0) + 2) + 1)
      var values: [String] = []
      for _ in 0..<count {
        guard let value = items.value(&random, root: root, depth: depth + 1) else {
          return values.count >= minimum ?? 0 ? "[" + values.joined(separator: ",") + "]" : nil
        }
        values.append(value)
      }
      return "[" + values.joined(separator: ",") + "]"
    case .anyOf(let choices):
      return random.pick(choices).value(&random, root: root, depth: depth + 1)
    }
  }

  private static func decimal(_ random: inout SeededNumbers, _ low: Double, _ maximum: String?)
    -> String
  {
    let high = maximum.flatMap(Double.init) ?? low + 2000
    let value = Double.random(in: low - 1...high + 1, using: &random)
    switch random.int(0..<4) {
    case 0: return "\(Int(value))"
    case 1: return String(format: "%.1f", value)
    case 2: return String(format: "%.7f", value)
    default: return String(format: "%.15f", value)
    }
  }

  /// As answers write a text.
  private static func written(_ text: String) -> [UInt8] {
    var text = text
    for (plain, escaped) in [("\\", "\\\\"), ("\"", "\\\""), ("\n", "\\n"), ("\u{1}", "\\u0001")] {
      text = text.replacing(plain, with: escaped)
    }
    return Array("\"\(text)\"".utf8)
  }

  /// One scalar of a string, in one of the ways to write it.
  private static func character(_ random: inout SeededNumbers) -> String {
    let character = random.pick(characters)
    switch character {
    case "\"": return random.pick(["\\\"", "\\u0022"])
    case "\\": return random.pick(["\\\\", "\\u005c"])
    case "\n": return random.pick(["\\n", "\\u000A"])
    case "/": return random.pick(["/", "\\/"])
    case "é": return random.pick(["é", "\\u00e9", "\\u00E9"])
    case "🎈": return random.pick(["🎈", "\\ud83c\\udf88"])
    default: return character
    }
  }
}

/// A plain reading of the standard.
struct Validator {
  let root: JSONValue

  func meets(_ value: JSONValue, _ schema: JSONValue, depth: Int = 0) -> Bool {
    if let isAnything = schema.bool { return isAnything }
    guard let schema = schema.object, depth < 400 else { return false }
    if let reference = schema["$ref"]?.string {
      return meets(value, resolved(reference), depth: depth + 1)
    }
    if let choices = schema["anyOf"]?.array,
      !choices.contains(where: { meets(value, $0, depth: depth + 1) })
    {
      return false
    }
    if let choices = schema["oneOf"]?.array,
      choices.count(where: { meets(value, $0, depth: depth + 1) }) != 1
    {
      return false
    }
    if let choices = schema["allOf"]?.array,
      !choices.allSatisfy({ meets(value, $0, depth: depth + 1) })
    {
      return false
    }
    if let values = schema["enum"]?.array, !values.contains(where: { Self.equal($0, value) }) {
      return false
    }
    if let const = schema["const"], !Self.equal(const, value) { return false }
    if let type = schema["type"] {
      let types = type.array?.compactMap(\.string) ?? [type.string ?? ""]
      if !types.contains(where: { Self.isA(value, $0) }) { return false }
    }
    switch value {
    case .string(let text):
      let count = text.unicodeScalars.count
      return count >= schema["minLength"]?.integer ?? 0
        && count <= schema["maxLength"]?.integer ?? .max
    case .number(let text):
      guard let number = Decimal(string: text) else { return false }
      func bound(_ keyword: String) -> Decimal? {
        if case .number(let text)? = schema[keyword] { Decimal(string: text) } else { nil }
      }
      if let least = bound("minimum"), number < least { return false }
      if let most = bound("maximum"), number > most { return false }
      if let least = bound("exclusiveMinimum"), number <= least { return false }
      if let most = bound("exclusiveMaximum"), number >= most { return false }
      return true
    case .array(let values):
      if values.count < schema["minItems"]?.integer ?? 0
        || values.count > schema["maxItems"]?.integer ?? .max
      {
        return false
      }
      return schema["items"].map { items in values.allSatisfy { meets($0, items, depth: depth + 1) }
      } ?? true
    case .object(let entries):
      let properties = schema["properties"]?.object ?? [:]
      for name in schema["required"]?.array?.compactMap(\.string) ?? [] where entries[name] == nil {
        return false
      }
      return entries.allSatisfy { name, value in
        guard let property = properties[name] ?? schema["additionalProperties"] else { return true }
        return meets(value, property, depth: depth + 1)
      }
    default: return true
    }
  }

  private func resolved(_ reference: String) -> JSONValue {
    reference.split(separator: "/").dropFirst().reduce(root) { value, part in
      let name = part.replacing("~1", with: "/").replacing("~0", with: "~")
      return value.object?[String(name)] ?? value.array.flatMap { values in
        Int(name).map { values[$0] }
      } ?? .bool(false)
    }
  }

  private static func equal(_ a: JSONValue, _ b: JSONValue) -> Bool {
    switch (a, b) {
    case (.number(let a), .number(let b)): Decimal(string: a) == Decimal(string: b)
    case (.array(let a), .array(let b)):
      a.count == b.count && zip(a, b).allSatisfy { equal($0, $1) }
    case (.object(let a), .object(let b)):
      a.count == b.count && a.allSatisfy { key, value in b[key].map { equal(value, $0) } ?? false }
    default: a == b
    }
  }

  private static func isA(_ value: JSONValue, _ type: String) -> Bool {
    switch value {
    case .null: type == "null"
    case .bool: type == "boolean"
    case .string: type == "string"
    case .array: type == "array"
    case .object: type == "object"
    case .number(let text):
      type == "number"
        || type == "integer"
          && (Decimal(string: text).map { number in
            var (whole, number) = (Decimal(), number)
            NSDecimalRound(&whole, &number, 0, .plain)
            return whole == number
          } ?? false)
    }
  }
}
