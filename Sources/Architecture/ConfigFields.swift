import Foundation

/// The fields of a JSON configuration, each taken with its type and range checked. A field that is null is absent.
struct ConfigFields {
  private let object: [String: Any]

  init(json: [UInt8]) throws(ArchitectureError) {
    do {
      guard let object = try JSONSerialization.jsonObject(with: Data(json)) as? [String: Any] else {
        throw ArchitectureError.configUnreadable(reason: "expected a JSON object")
      }
      self.object = object
    } catch let error as ArchitectureError {
      throw error
    } catch {
      throw .configUnreadable(reason: "not JSON")
    }
  }

  func isNull(_ field: String) -> Bool { object[field] == nil || object[field] is NSNull }

  /// The field as text, for messages.
  func text(_ field: String) -> String { object[field].map { String(String(describing: $0).prefix(100)) } ?? "absent" }

  func optionalString(_ field: String) throws(ArchitectureError) -> String? {
    if isNull(field) { return nil }
    guard let value = object[field] as? String else { throw .configValue(field: field, found: text(field), expected: "a string") }
    return value
  }

  func string(_ field: String) throws(ArchitectureError) -> String {
    guard let value = try optionalString(field) else { throw .configMissing(field: field) }
    return value
  }

  func optionalBool(_ field: String) throws(ArchitectureError) -> Bool? {
    if isNull(field) { return nil }
    guard let value = object[field] as? Bool else { throw .configValue(field: field, found: text(field), expected: "true or false") }
    return value
  }

  func optionalNumber(_ field: String, in range: ClosedRange<Double>) throws(ArchitectureError) -> Double? {
    if isNull(field) { return nil }
    guard let value = (object[field] as? NSNumber)?.doubleValue, range.contains(value) else {
      throw .configValue(field: field, found: text(field), expected: "a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  func number(_ field: String, in range: ClosedRange<Double>, default: Double) throws(ArchitectureError) -> Double {
    try optionalNumber(field, in: range) ?? `default`
  }

  func optionalInteger(_ field: String, in range: ClosedRange<Int>) throws(ArchitectureError) -> Int? {
    if isNull(field) { return nil }
    guard let number = object[field] as? NSNumber, let value = Int(exactly: number.doubleValue), range.contains(value) else {
      throw .configValue(field: field, found: text(field), expected: "a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  func integer(_ field: String, in range: ClosedRange<Int>, default: Int? = nil) throws(ArchitectureError) -> Int {
    if let value = try optionalInteger(field, in: range) { return value }
    guard let `default` else { throw .configMissing(field: field) }
    return `default`
  }
}
