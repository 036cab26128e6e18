import Support

/// A JSON schema that an answer meets: whatever the model would say, the answer parses and fits when it ends by itself.
///
/// Taken are, of JSON Schema 2020-12: `type` (one or several), `properties`, `required`, `additionalProperties`, `items`, `minItems`,
/// `maxItems`, `minLength`, `maxLength` (in Unicode scalars), `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `enum`,
/// `const`, `anyOf`, `oneOf` whose schemas exclude each other, `allOf` of one, `$ref` within the schema (recursive too), `true`, `false`.
/// Other keywords of the standard that would narrow an answer are refused, annotations have no effect.
///
/// Answers are compact: no white space between values. Named properties come in the schema's order, others after them, and only where
/// `additionalProperties` says so or nothing is named. Whole numbers have at most 18 digits, others 15 before and 15 behind the point.
/// Objects and arrays are at most 64 levels deep.
public struct AnswerSchema: Sendable, Equatable {
  /// The schema's text.
  public let text: String
  let form: Form

  /// Reads a schema. The error says in one sentence what is not taken, and where it stands.
  public init(_ text: String) throws(SlowFastError) {
    self.text = text
    form = try classified { () throws(SchemaError) in try SchemaReader.read(Array(text.utf8)) }
  }

  private init(text: String, form: Form) { (self.text, self.form) = (text, form) }

  /// Any JSON object.
  public static let anyObject = AnswerSchema(text: #"{"type":"object"}"#, form: SchemaReader.anyObject)

  /// Schemas are the same where their texts are.
  public static func == (first: AnswerSchema, second: AnswerSchema) -> Bool { first.text == second.text }
}

/// What an answer's bytes may be: rules of values that refer to each other by number. The first is the whole answer's.
struct Form: Sendable {
  typealias RuleID = Int32

  enum Rule: Hashable, Sendable {
    /// One of `Literals`, by its number in the form.
    case literals(Int32)
    /// So many Unicode scalars.
    case string(minimum: Int32, maximum: Int32)
    case number(NumberRange)
    /// One of `Object`, by its number in the form.
    case object(Int32)
    case array(items: RuleID, minimum: Int32, maximum: Int32)
    /// One of these, or nothing where there is none.
    case anyOf([RuleID])
  }

  /// No upper bound.
  static let unbounded = Int32.max
  /// Objects and arrays within each other, in an answer. Strict readers of JSON take 128.
  static let nestingLimit: UInt8 = 64
  /// Deeper than any answer: of rules that no value meets.
  static let impossible: UInt8 = 255

  /// Texts, sorted, each once. None but of numbers is the beginning of another.
  struct Literals: Sendable {
    let texts: [[UInt8]]
    /// Objects and arrays within each other, at most.
    var nesting: UInt8 = 0

    init(_ texts: some Sequence<[UInt8]>, nesting: Int = 0) {
      let sorted = texts.sorted { $0.lexicographicallyPrecedes($1) }
      var unique: [[UInt8]] = []
      for text in sorted where unique.last != text { unique.append(text) }
      self.texts = unique
      self.nesting = UInt8(clamping: nesting)
    }

    /// Those in `range`, which agree in their first `offset` bytes, that have `byte` next.
    func narrowed(_ range: Range<Int32>, _ offset: Int32, _ byte: UInt8) -> Range<Int32> {
      /// The first text whose byte there is `least` or more; an end comes before all bytes.
      func first(_ least: Int) -> Int32 {
        var (low, high) = (range.lowerBound, range.upperBound)
        while low < high {
          let middle = (low + high) / 2
          let text = texts[Int(middle)]
          let found = text.count > Int(offset) ? Int(text[Int(offset)]) : -1
          if found < least { low = middle + 1 } else { high = middle }
        }
        return low
      }
      let low = first(Int(byte))
      return low..<max(low, first(Int(byte) + 1))
    }

    func contains(_ text: [UInt8]) -> Bool {
      var range = 0..<Int32(texts.count)
      for (offset, byte) in text.enumerated() {
        range = narrowed(range, Int32(offset), byte)
        if range.isEmpty { return false }
      }
      return range.first.map { texts[Int($0)].count == text.count } ?? false
    }
  }

  /// Properties stand in their order, those that are not required or not; others follow them.
  struct Object: Sendable {
    struct Property: Sendable {
      let name: String
      let rule: RuleID
      let isRequired: Bool
    }
    let properties: [Property]
    /// What other properties may be; nil: there are none.
    let additional: RuleID?
    /// The properties' names as they are written, with quotation marks and colons.
    let keys: Literals
    /// The property of each key.
    let propertyOfKey: [Int32]
    /// The names alone, as they stand between the quotation marks.
    let names: Literals
    /// For each property, and behind the last: the first from there on that must not be left out; `properties.count` if there is none.
    let nextRequired: [Int32]

    init(_ properties: [Property], additional: RuleID?) {
      self.properties = properties
      self.additional = additional
      let written = properties.map { Array(JSONValue.quoted($0.name).utf8) }
      keys = Literals(written.map { $0 + [UInt8(ascii: ":")] })
      names = Literals(written.map { Array($0.dropFirst().dropLast()) })
      let order = written.indices.sorted { written[$0].lexicographicallyPrecedes(written[$1]) }
      propertyOfKey = order.map(Int32.init)
      var next = Int32(properties.count)
      var nextRequired = [next]
      for index in properties.indices.reversed() {
        if properties[index].isRequired { next = Int32(index) }
        nextRequired.append(next)
      }
      self.nextRequired = nextRequired.reversed()
    }
  }

  let rules: [Rule]
  let literals: [Literals]
  let objects: [Object]
  /// For each rule, how many objects and arrays a value of it has within each other at least.
  let nesting: [UInt8]

  init(rules: [Rule], literals: [Literals], objects: [Object]) {
    (self.rules, self.literals, self.objects) = (rules, literals, objects)
    // A value of a recursive rule ends where it can do without itself. What needs more levels than answers have counts as impossible.
    var nesting = [UInt8](repeating: Self.impossible, count: rules.count)
    var users = [[RuleID]](repeating: [], count: rules.count)
    for (index, rule) in rules.enumerated() {
      switch rule {
      case .literals, .string, .number: break
      case .object(let object): for property in objects[Int(object)].properties { users[Int(property.rule)].append(RuleID(index)) }
      case .array(let items, _, _): users[Int(items)].append(RuleID(index))
      case .anyOf(let choices): for choice in choices { users[Int(choice)].append(RuleID(index)) }
      }
    }
    // Rules come before those that they are made of, mostly: backwards each is looked at once.
    var open = Array(rules.indices.reversed())
    var isOpen = [Bool](repeating: true, count: rules.count)
    var next = 0
    while next < open.count {
      let index = open[next]
      next += 1
      isOpen[index] = false
      func deeper(_ inner: UInt8) -> UInt8 { inner >= Self.nestingLimit ? Self.impossible : inner + 1 }
      let found: UInt8
      switch rules[index] {
      case .literals(let list): found = literals[Int(list)].nesting > Self.nestingLimit ? Self.impossible : literals[Int(list)].nesting
      case .string, .number: found = 0
      case .object(let object):
        found = deeper(objects[Int(object)].properties.reduce(0) { $1.isRequired ? max($0, nesting[Int($1.rule)]) : $0 })
      case .array(let items, let minimum, _): found = deeper(minimum > 0 ? nesting[Int(items)] : 0)
      case .anyOf(let choices): found = choices.reduce(Self.impossible) { min($0, nesting[Int($1)]) }
      }
      guard found < nesting[index] else { continue }
      nesting[index] = found
      for user in users[index] where !isOpen[Int(user)] {
        isOpen[Int(user)] = true
        open.append(Int(user))
      }
    }
    self.nesting = nesting
  }

  /// The rules without choices that a value of the rule may follow.
  func alternatives(of rule: RuleID) -> [RuleID] {
    var found: [RuleID] = []
    var seen: Set<RuleID> = [rule]
    var open = [rule]
    while let next = open.popLast() {
      if case .anyOf(let choices) = rules[Int(next)] {
        for choice in choices.reversed() where seen.insert(choice).inserted { open.append(choice) }
      } else {
        found.append(next)
      }
    }
    return found
  }
}
