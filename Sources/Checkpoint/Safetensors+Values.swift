extension Safetensors {
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
    try withBytes(of: tensor.name) { bytes in
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
