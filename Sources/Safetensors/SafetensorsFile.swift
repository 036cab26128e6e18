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
