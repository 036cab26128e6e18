import Support

/// Collects tensors and writes them as one safetensors file.
package struct SafetensorsWriter {
  private enum Values {
    case float32([Float])
    case int32([Int32])
    case uint8([UInt8])
  }

  private var tensors: [(name: String, shape: [Int], values: Values)] = []
  private let metadata: [String: String]

  package init(metadata: [String: String] = [:]) { self.metadata = metadata }

  /// Adds an F32 tensor, row-major. An earlier one of the same name is an error.
  package mutating func add(_ name: String, shape: [Int], _ values: [Float]) throws(CheckpointError) {
    try add(name, shape, .float32(values), values.count)
  }

  /// Adds an I32 tensor, row-major.
  package mutating func add(_ name: String, shape: [Int], _ values: [Int32]) throws(CheckpointError) {
    try add(name, shape, .int32(values), values.count)
  }

  /// Adds a U8 tensor, row-major.
  package mutating func add(_ name: String, shape: [Int], _ values: [UInt8]) throws(CheckpointError) {
    try add(name, shape, .uint8(values), values.count)
  }

  private mutating func add(_ name: String, _ shape: [Int], _ values: Values, _ count: Int) throws(CheckpointError) {
    guard !shape.contains(where: { $0 < 0 }), shape.reduce(1, { $0.multipliedReportingOverflow(by: $1).partialValue }) == count else {
      throw .countDoesNotMatchShape(tensor: name, count: count, shape: shape)
    }
    guard name != "__metadata__", !tensors.contains(where: { $0.name == name }) else { throw .duplicateKey(file: "", key: name) }
    tensors.append((name, shape, values))
  }

  /// Writes the file; it appears under its name when it is whole. A file that is there already is replaced only if `replacing`, and none
  /// of `inputs` ever is.
  package func write(to path: String, replacing: Bool = true, inputs: [String] = []) throws(CheckpointError) {
    do throws(OutputError) {
      let file = try OutputFile(path, replacing: replacing, inputs: inputs)
      let header = header()
      try file.write(withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) })
      try file.write(header)
      for tensor in tensors {
        switch tensor.values {
        case .float32(let values): try file.write(contentsOf: values)
        case .int32(let values): try file.write(contentsOf: values)
        case .uint8(let values): try file.write(values)
        }
      }
      try file.publish()
    } catch { throw .output(error) }
  }

  /// The JSON text, padded with spaces so that the data begins at a multiple of 8.
  private func header() -> [UInt8] {
    var entries: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }.map { "\(JSONValue.quoted($0.key)):\(JSONValue.quoted($0.value))" }
      entries.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for tensor in tensors {
      let (type, bytes) =
        switch tensor.values {
        case .float32(let values): (TensorType.float32, values.count * 4)
        case .int32(let values): (TensorType.int32, values.count * 4)
        case .uint8(let values): (TensorType.uint8, values.count)
        }
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      let fields = "\"dtype\":\"\(type.rawValue)\",\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(offset + bytes)]"
      entries.append("\(JSONValue.quoted(tensor.name)):{\(fields)}")
      offset += bytes
    }
    var text = Array("{\(entries.joined(separator: ","))}".utf8)
    while text.count % 8 != 0 { text.append(0x20) }
    return text
  }
}
