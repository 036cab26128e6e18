import Support
import Tensors

/// One safetensors file: its header read and checked, its tensors read on demand.
///
/// Everything that the header claims was checked against the file's length when it was opened, so no later read can leave the file.
package struct SafetensorsFile: Sendable {
  package let file: SourceFile
  /// In the order of their bytes in the file.
  package let tensors: [TensorInfo]
  /// The `__metadata__` entry; empty when there is none.
  package let metadata: [String: String]

  private let indices: [String: Int]

  /// Opens the file and reads its header.
  package init(path: String) throws(CheckpointError) {
    file = try SourceFile(path: path)
    guard file.byteCount >= 10 else { throw .tooShortForHeader(file: path, bytes: file.byteCount) }
    let prefix = try file.bytes(0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let length = try SafetensorsHeader.length(prefix: prefix, fileBytes: file.byteCount, file: path)
    let header = try SafetensorsHeader(json: file.bytes(8..<8 + length), fileBytes: file.byteCount, file: path)
    tensors = header.tensors
    metadata = header.metadata
    indices = Dictionary(uniqueKeysWithValues: header.tensors.enumerated().map { ($1.name, $0) })
  }

  /// nil when the file has no tensor of that name.
  package subscript(name: String) -> TensorInfo? { indices[name].map { tensors[$0] } }

  /// The tensor of that name, or an error that says that there is none.
  package func tensor(_ name: String) throws(CheckpointError) -> TensorInfo {
    guard let tensor = self[name] else { throw .noSuchTensor(file: file.path, tensor: name) }
    return tensor
  }

  /// Copies `buffer.count` bytes of the tensor, from its byte `offset` on, into `buffer`. Several threads may read at once.
  package func read(_ tensor: TensorInfo, at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(CheckpointError) {
    guard offset >= 0, offset <= tensor.bytes.count, buffer.count <= tensor.bytes.count - offset else {
      let end = offset.addingReportingOverflow(buffer.count)
      throw .rangeBeyondTensor(
        file: file.path, tensor: tensor.name, range: offset..<max(offset, end.overflow ? .max : end.partialValue), bytes: tensor.bytes.count
      )
    }
    try file.read(at: tensor.bytes.lowerBound + offset, into: buffer)
  }

  /// Calls `body` with the tensor's bytes, mapped, not copied: of any alignment, and valid only inside the call.
  /// The pages are given back to the system afterwards.
  package func withBytes<Result>(of tensor: TensorInfo, _ body: (UnsafeRawBufferPointer) -> Result) throws(CheckpointError) -> Result {
    let mapped = try mapped(tensor)
    defer { file.releasePages(mapped.range) }
    return mapped.withUnsafeBytes(body)
  }

  /// The tensor's bytes, mapped, not copied, for as long as the value is kept.
  package func mapped(_ tensor: TensorInfo) throws(CheckpointError) -> MappedTensor { try MappedTensor(file: file, range: tensor.bytes) }
}

/// Bytes of a file in memory, of any alignment; the file stays open and mapped as long as this value or a copy of it exists.
package struct MappedTensor: @unchecked Sendable {  // The memory is read only and `file` owns it.
  private let file: SourceFile
  private let memory: UnsafeRawBufferPointer
  let range: Range<Int>

  init(file: SourceFile, range: Range<Int>) throws(CheckpointError) {
    self.file = file
    self.range = range
    memory = try UnsafeRawBufferPointer(rebasing: file.mapping()[range])
  }

  package var byteCount: Int { range.count }

  /// Whoever holds this may use the bytes outside of `withUnsafeBytes` too.
  package var owner: AnyObject & Sendable { file }

  /// The bytes are valid only inside the call.
  package func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    withExtendedLifetime(file) { body(memory) }
  }
}

// MARK: Values

extension SafetensorsFile {
  /// The tensor's values as floats, in row-major order; from F32, F16, BF16 or F64.
  package func floats(of name: String) throws(CheckpointError) -> [Float] {
    let tensor = try tensor(name)
    let convert: (UnsafeRawBufferPointer, Int) -> Float
    switch tensor.type {
    case .float32: convert = { Float(bitPattern: Self.load($0, $1, UInt32.self)) }
    case .float16: convert = { Float(Float16(bitPattern: Self.load($0, $1, UInt16.self))) }
    case .bfloat16: convert = { Float(bitPattern: UInt32(Self.load($0, $1, UInt16.self)) << 16) }
    case .float64: convert = { Float(Double(bitPattern: Self.load($0, $1, UInt64.self))) }
    default: throw .wrongType(file: file.path, tensor: name, type: tensor.type, expected: "F32, F16, BF16 or F64")
    }
    return try values(of: tensor, convert)
  }

  /// The tensor's values, of type I32, in row-major order.
  package func int32s(of name: String) throws(CheckpointError) -> [Int32] {
    let tensor = try tensor(name)
    guard tensor.type == .int32 else { throw .wrongType(file: file.path, tensor: name, type: tensor.type, expected: "I32") }
    return try values(of: tensor) { Int32(bitPattern: Self.load($0, $1, UInt32.self)) }
  }

  /// The tensor's values, of type U8, in row-major order.
  package func uint8s(of name: String) throws(CheckpointError) -> [UInt8] {
    let tensor = try tensor(name)
    guard tensor.type == .uint8 else { throw .wrongType(file: file.path, tensor: name, type: tensor.type, expected: "U8") }
    return try file.bytes(tensor.bytes)
  }

  private func values<Value>(
    of tensor: TensorInfo, _ value: (UnsafeRawBufferPointer, Int) -> Value
  ) throws(CheckpointError) -> [Value] {
    try withBytes(of: tensor) { bytes in
      [Value](unsafeUninitializedCapacity: tensor.valueCount) { buffer, count in
        for index in 0..<tensor.valueCount { buffer.initializeElement(at: index, to: value(bytes, index)) }
        count = tensor.valueCount
      }
    }
  }

  /// The little-endian integer of that index, whatever the alignment.
  private static func load<Bits: FixedWidthInteger & BitwiseCopyable>(_ bytes: UnsafeRawBufferPointer, _ index: Int, _: Bits.Type) -> Bits {
    Bits(littleEndian: bytes.loadUnaligned(fromByteOffset: index * MemoryLayout<Bits>.size, as: Bits.self))
  }
}

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
