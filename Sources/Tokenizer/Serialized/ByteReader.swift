/// Reads little-endian numbers one after the other. The caller has checked that there are enough bytes.
struct ByteReader {
  private let bytes: [UInt8]
  private(set) var offset = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  mutating func read<T: FixedWidthInteger>(_ type: T.Type = T.self) -> T {
    let value = bytes.withUnsafeBytes { $0[offset..<offset + MemoryLayout<T>.size].loadUnaligned(as: T.self) }
    offset += MemoryLayout<T>.size
    return T(littleEndian: value)
  }

  mutating func read(count: Int) -> ArraySlice<UInt8> {
    defer { offset += count }
    return bytes[offset..<offset + count]
  }
}

extension [UInt8] {
  /// Appends a number's bytes, the lowest first.
  mutating func append(littleEndian value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.littleEndian) { self += $0 }
  }
}
