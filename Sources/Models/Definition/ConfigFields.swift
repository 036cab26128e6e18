import Support

/// The fields of a JSON configuration, each taken with its type and range checked. A field that is null is absent.
package struct ConfigFields {
  private let object: JSONValue.Object
  package let file: String
  /// Of the fields' names, where they are those of an object inside the file: `rope_parameters.`.
  private let prefix: String

  package init(json: [UInt8], file: String = "config.json") throws(ArchitectureError) {
    let value: JSONValue
    do throws(JSONError) { value = try JSONValue(json) } catch { throw .configUnreadable(file: file, reason: "\(error)") }
    guard let object = value.object else { throw .configUnreadable(file: file, reason: "expected a JSON object") }
    self.init(object: object, file: file, prefix: "")
  }

  private init(object: JSONValue.Object, file: String, prefix: String) {
    (self.object, self.file, self.prefix) = (object, file, prefix)
  }

  package var names: [String] { object.map(\.key).sorted() }

  /// As messages say it.
  package func name(_ field: String) -> String { prefix + field }

  package func isNull(_ field: String) -> Bool { (object[field] ?? .null) == .null }

  package func isObject(_ field: String) -> Bool { object[field]?.object != nil }

  /// The field as text, for messages.
  package func text(_ field: String) -> String { object[field].map { String($0.description.prefix(100)) } ?? "absent" }

  private func wrong(_ field: String, _ expected: String) -> ArchitectureError {
    .configValue(file: file, field: name(field), found: text(field), expected: expected)
  }

  /// What is there, or the error that it is not.
  private func required<Value>(_ value: Value?, _ field: String) throws(ArchitectureError) -> Value {
    guard let value else { throw .configMissing(file: file, field: name(field)) }
    return value
  }

  package func object(_ field: String) throws(ArchitectureError) -> ConfigFields? {
    if isNull(field) { return nil }
    guard let value = object[field]?.object else { throw wrong(field, "an object") }
    return ConfigFields(object: value, file: file, prefix: name(field) + ".")
  }

  package func optionalString(_ field: String) throws(ArchitectureError) -> String? {
    if isNull(field) { return nil }
    guard let value = object[field]?.string else { throw wrong(field, "a string") }
    return value
  }

  package func string(_ field: String) throws(ArchitectureError) -> String { try required(try optionalString(field), field) }

  /// One of an enumeration's words.
  package func choice<Choice: RawRepresentable<String> & CaseIterable>(_ field: String) throws(ArchitectureError) -> Choice {
    let text = try string(field)
    guard let choice = Choice(rawValue: text) else {
      let words = Choice.allCases.map(\.rawValue)
      throw .configValue(file: file, field: name(field), found: text, expected: words.joined(separator: words.count > 2 ? ", " : " or "))
    }
    return choice
  }

  package func optionalStrings(_ field: String) throws(ArchitectureError) -> [String]? {
    if isNull(field) { return nil }
    guard let values = object[field]?.array, case let strings = values.compactMap(\.string), strings.count == values.count else {
      throw wrong(field, "strings")
    }
    return strings
  }

  package func optionalBool(_ field: String) throws(ArchitectureError) -> Bool? {
    if isNull(field) { return nil }
    guard let value = object[field]?.bool else { throw wrong(field, "true or false") }
    return value
  }

  package func bool(_ field: String) throws(ArchitectureError) -> Bool { try required(try optionalBool(field), field) }

  package func optionalNumber(_ field: String, in range: ClosedRange<Double>) throws(ArchitectureError) -> Double? {
    if isNull(field) { return nil }
    guard let value = object[field]?.double, range.contains(value) else {
      throw wrong(
        field, range.lowerBound == range.upperBound ? "\(range.lowerBound)" : "a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  package func number(_ field: String, in range: ClosedRange<Double>) throws(ArchitectureError) -> Double {
    try required(try optionalNumber(field, in: range), field)
  }

  package func optionalInteger(_ field: String, in range: ClosedRange<Int>) throws(ArchitectureError) -> Int? {
    if isNull(field) { return nil }
    guard let value = object[field]?.integer, range.contains(value) else {
      throw wrong(field, "a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  package func integer(_ field: String, in range: ClosedRange<Int>) throws(ArchitectureError) -> Int {
    try required(try optionalInteger(field, in: range), field)
  }

  /// A limit from 1 on; nil where there is none, which HuggingFace writes as 10³⁰.
  package func optionalLimit(_ field: String, upTo limit: Int) throws(ArchitectureError) -> Int? {
    if isNull(field) { return nil }
    guard let value = object[field]?.double, value >= 1, value == value.rounded() else {
      throw wrong(field, "a whole number from 1 on")
    }
    return value <= Double(limit) ? Int(value) : nil
  }

  /// A token's id or several; none where the field is absent.
  package func ids(_ field: String) throws(ArchitectureError) -> [Int32] {
    if isNull(field) { return [] }
    let values = object[field].map { $0.array ?? [$0] } ?? []
    let ids = values.compactMap { $0.integer.flatMap { Int32(exactly: $0) } }
    guard ids.count == values.count else { throw wrong(field, "a token's id or several") }
    return ids
  }

  /// Pairs of whole numbers, also where the list of them is a string.
  package func pairs(_ field: String, in range: ClosedRange<Int>) throws(ArchitectureError) -> [(Int, Int)] {
    let value = try required(isNull(field) ? nil : object[field], field)
    let list = value.string.flatMap { try? JSONValue(Array($0.replacing("(", with: "[").replacing(")", with: "]").utf8)) } ?? value
    let pairs = list.array?.map { ($0.array ?? []).compactMap(\.integer) } ?? []
    guard !pairs.isEmpty, pairs.allSatisfy({ $0.count == 2 && $0.allSatisfy(range.contains) }) else {
      throw wrong(field, "pairs of whole numbers from \(range.lowerBound) to \(range.upperBound)")
    }
    return pairs.map { ($0[0], $0[1]) }
  }

  /// Numbers of which each counts.
  package func numbers(_ field: String) throws(ArchitectureError) -> [Double] {
    guard let values = try required(isNull(field) ? nil : object[field], field).array, case let numbers = values.compactMap(\.double),
      numbers.count == values.count
    else { throw wrong(field, "numbers") }
    return numbers
  }
}

/// How a configuration or a set of tensors can fail to be a model that this project knows.
package enum ArchitectureError: Error, Equatable, Sendable {
  /// A file of settings is not a JSON object.
  case configUnreadable(file: String = "config.json", reason: String)
  /// A field without which numbers would be guessed.
  case configMissing(file: String = "config.json", field: String)
  /// A field's value is out of what the runtime computes, or has another type than it must.
  case configValue(file: String = "config.json", field: String, found: String, expected: String)
  case missingTensors([String])
  case wrongShape(tensor: String, expected: [Int], found: [Int])
  /// A shape from which the tower's measures are read makes no sense.
  case towerShape(tensor: String, found: [Int], expected: String)
}

extension ArchitectureError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .configUnreadable(let file, let reason): "\(file): \(reason)"
    case .configMissing(let file, let field): "\(file): no field \"\(field)\", and no default stands in for it"
    case .configValue(let file, let field, let found, let expected):
      "\(file): \"\(field.escaped())\" is \(found.escaped()), expected \(expected.escaped())"
    case .missingTensors(let names):
      "the checkpoint lacks \(names.count == 1 ? "the tensor" : "\(names.count) tensors:") "
        + "\(names.prefix(4).joined(separator: ", ").escaped())"
        + (names.count > 4 ? ", …" : "")
    case .wrongShape(let tensor, let expected, let found):
      "tensor \(tensor.escaped()): shape \(found), expected \(expected)"
    case .towerShape(let tensor, let found, let expected): "tensor \(tensor.escaped()): shape \(found), expected \(expected)"
    }
  }
}

extension ArchitectureError: ClassifiedError {
  package var kind: SlowFastError.Kind { .invalidModel }
  package var namesItsFile: Bool { false }
}
