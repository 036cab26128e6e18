import Support

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
      "the checkpoint lacks \(names.count == 1 ? "the tensor" : "\(names.count) tensors:") \(names.prefix(4).joined(separator: ", ").escaped())"
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
