import Support

/// How a configuration or a set of tensors can fail to be a model that this project knows.
public enum ArchitectureError: Error, Equatable, Sendable {
  /// `config.json` is not a JSON object, or a field has another type than it must.
  case configUnreadable(reason: String)
  case configMissing(field: String)
  /// A field's value is out of what the runtime computes.
  case configValue(field: String, found: String, expected: String)
  case missingTensors([String])
  case wrongShape(tensor: String, expected: [Int], found: [Int])
  /// A shape from which the tower's measures are read makes no sense.
  case towerShape(tensor: String, found: [Int], expected: String)
}

extension ArchitectureError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .configUnreadable(let reason): "config.json: \(reason)"
    case .configMissing(let field): "config.json: no field \"\(field)\""
    case .configValue(let field, let found, let expected): "config.json: \"\(field)\" is \(found.escaped()), expected \(expected)"
    case .missingTensors(let names):
      "the checkpoint lacks \(names.count == 1 ? "the tensor" : "\(names.count) tensors:") \(names.prefix(4).joined(separator: ", ").escaped())"
        + (names.count > 4 ? ", …" : "")
    case .wrongShape(let tensor, let expected, let found):
      "tensor \(tensor.escaped()): shape \(found), expected \(expected)"
    case .towerShape(let tensor, let found, let expected): "tensor \(tensor.escaped()): shape \(found), expected \(expected)"
    }
  }
}
