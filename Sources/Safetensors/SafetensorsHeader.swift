import Support
import Tensors

/// One tensor of a safetensors file.
package struct TensorInfo: Sendable, Equatable {
  package var name: String
  package var type: TensorType
  /// Sizes of the dimensions, slowest first; empty for a single value.
  package var shape: [Int]
  /// Where its bytes lie, counted from the file's first byte. Inside the file, and `valueCount · type.size` long: checked.
  package var bytes: Range<Int>

  /// The product of `shape`.
  package var valueCount: Int { bytes.count / type.size }
}

/// The header of a safetensors file, checked against the specification and against the file's length.
///
/// Source: the format section of huggingface/safetensors' README and `Metadata::validate` in its safetensors/src/tensor.rs.
struct SafetensorsHeader {
  /// In the order of their bytes in the file.
  var tensors: [TensorInfo] = []
  var metadata: [String: String] = [:]

  /// The longest header that the specification allows.
  static let lengthLimit = 100_000_000
  /// More than any framework makes: a bound so that a hostile shape stays small.
  static let dimensionLimit = 64

  /// The length of the header that follows the file's first eight bytes, little-endian.
  static func length(prefix: UInt64, fileBytes: Int, file: String) throws(CheckpointError) -> Int {
    guard prefix <= lengthLimit else { throw .headerTooLong(file: file, length: prefix, limit: lengthLimit) }
    guard Int(prefix) <= fileBytes - 8 else { throw .headerBeyondEnd(file: file, length: prefix, fileBytes: fileBytes) }
    return Int(prefix)
  }

  /// Parses and checks the header's JSON text; `fileBytes` is the length of the whole file.
  init(json: [UInt8], fileBytes: Int, file: String) throws(CheckpointError) {
    guard json.first == UInt8(ascii: "{") else { throw .headerNotAnObject(file: file) }
    let dataStart = 8 + json.count
    let dataBytes = fileBytes - dataStart

    var tensors: [TensorInfo] = []
    var metadata: [String: String] = [:]
    try CheckpointError.reading(json, of: file) { reader in
      try reader.object { reader, name in
        if name == "__metadata__" {
          try reader.object { reader, key in metadata[key] = try reader.string() }
        } else {
          try tensors.append(Self.tensor(name, &reader, dataStart: dataStart, dataBytes: dataBytes, file: file))
        }
      }
    }

    // An empty tensor shares its offset with the next one and comes before it.
    tensors.sort { ($0.bytes.lowerBound, $0.bytes.upperBound) < ($1.bytes.lowerBound, $1.bytes.upperBound) }
    try Self.checkCoverage(tensors, dataStart: dataStart, fileBytes: fileBytes, file: file)
    self.tensors = tensors
    self.metadata = metadata
  }

  private static func tensor(
    _ name: String, _ reader: inout JSONReader, dataStart: Int, dataBytes: Int, file: String
  ) throws -> TensorInfo {
    var typeName: String?
    var shape: [Int]?
    var offsets: [Int]?
    try reader.object { reader, key in
      switch key {
      case "dtype": typeName = try reader.string()
      case "shape": shape = try counts(&reader, limit: dimensionLimit, tensor: name, file: file)
      case "data_offsets": offsets = try counts(&reader, limit: 2, tensor: name, file: file)
      default: try reader.skipValue()
      }
    }
    guard let typeName else { throw CheckpointError.tensorWithout(file: file, tensor: name, field: "dtype") }
    guard let shape else { throw CheckpointError.tensorWithout(file: file, tensor: name, field: "shape") }
    guard let offsets, offsets.count == 2 else { throw CheckpointError.tensorWithout(file: file, tensor: name, field: "data_offsets") }
    guard let type = TensorType(rawValue: typeName) else {
      if TensorType.subByte.contains(typeName) { throw CheckpointError.subByteType(file: file, tensor: name, type: typeName) }
      throw CheckpointError.unknownType(file: file, tensor: name, type: typeName)
    }

    var expected = type.size
    for size in shape {
      let (product, overflows) = expected.multipliedReportingOverflow(by: size)
      guard !overflows else { throw CheckpointError.sizeOverflows(file: file, tensor: name, shape: shape) }
      expected = product
    }
    let (begin, end) = (offsets[0], offsets[1])
    guard begin <= end else { throw CheckpointError.offsetsReversed(file: file, tensor: name, begin: begin, end: end) }
    guard end - begin == expected else {
      throw CheckpointError.offsetsDoNotMatchShape(file: file, tensor: name, bytes: end - begin, expected: expected)
    }
    guard end <= dataBytes else { throw CheckpointError.dataBeyondEnd(file: file, tensor: name, end: end, dataBytes: dataBytes) }
    return TensorInfo(name: name, type: type, shape: shape, bytes: dataStart + begin..<dataStart + end)
  }

  private static func counts(_ reader: inout JSONReader, limit: Int, tensor: String, file: String) throws -> [Int] {
    var values: [Int] = []
    try reader.array { reader in
      guard values.count < limit else { throw CheckpointError.tooManyDimensions(file: file, tensor: tensor, limit: limit) }
      try values.append(reader.count())
    }
    return values
  }

  /// The tensors' bytes must follow one another without overlap or hole up to the file's end.
  private static func checkCoverage(_ tensors: [TensorInfo], dataStart: Int, fileBytes: Int, file: String) throws(CheckpointError) {
    var end = dataStart
    var previous = ""
    for tensor in tensors {
      let begin = tensor.bytes.lowerBound
      if begin < end { throw .overlap(file: file, first: previous, second: tensor.name) }
      if begin > end { throw .hole(file: file, before: tensor.name, begin: end - dataStart, end: begin - dataStart) }
      end = tensor.bytes.upperBound
      previous = tensor.name
    }
    guard end == fileBytes else { throw .trailingBytes(file: file, bytes: fileBytes - end) }
  }
}

/// A type of stored values, spelled as a safetensors header spells it.
package enum TensorType: String, Sendable, CaseIterable {
  case bool = "BOOL"
  case uint8 = "U8"
  case int8 = "I8"
  case float8E4M3 = "F8_E4M3"
  case float8E5M2 = "F8_E5M2"
  case float8E8M0 = "F8_E8M0"
  case uint16 = "U16"
  case int16 = "I16"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case uint32 = "U32"
  case int32 = "I32"
  case float32 = "F32"
  case uint64 = "U64"
  case int64 = "I64"
  case float64 = "F64"
  case complex64 = "C64"

  /// Bytes of one value.
  package var size: Int {
    switch self {
    case .bool, .uint8, .int8, .float8E4M3, .float8E5M2, .float8E8M0: 1
    case .uint16, .int16, .float16, .bfloat16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64, .complex64: 8
    }
  }

  /// The type where it is one of weights, else nil.
  package var scalar: ScalarType? {
    switch self {
    case .float32: .float32
    case .float16: .float16
    case .bfloat16: .bfloat16
    default: nil
    }
  }

  /// Types of the specification whose values are no whole bytes: known by name, so that the refusal can say why.
  static let subByte: Set<String> = ["F4", "F6_E2M3", "F6_E3M2"]
}
