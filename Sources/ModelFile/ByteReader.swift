/// Reads little-endian integers one after the other from a part of a file in memory, never beyond its end.
struct ByteReader {
  let path: String
  private let bytes: ArraySlice<UInt8>
  /// Where `bytes` begin in the file: errors name offsets in the file.
  private let base: Int
  /// From the start of `bytes`.
  private(set) var position = 0

  init(_ bytes: ArraySlice<UInt8>, at base: Int, path: String) {
    self.bytes = bytes
    self.base = base
    self.path = path
  }

  var available: Int { bytes.count - position }
  /// Of the next byte, in the file.
  var offset: Int { base + position }

  func require(_ count: Int) throws(ModelFileError) {
    guard count <= available else { throw .tableBounds(path: path, offset: offset, needed: count, available: available) }
  }

  mutating func integer<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type) throws(ModelFileError) -> T {
    let size = MemoryLayout<T>.size
    try require(size)
    defer { position += size }
    let start = bytes.startIndex + position
    return bytes[start..<start + size].withUnsafeBytes { T(littleEndian: $0.loadUnaligned(as: T.self)) }
  }

  mutating func bytes(_ count: Int) throws(ModelFileError) -> ArraySlice<UInt8> {
    try require(count)
    defer { position += count }
    let start = bytes.startIndex + position
    return bytes[start..<start + count]
  }

  /// A reader of the next `count` bytes alone, which this one skips.
  mutating func part(_ count: Int) throws(ModelFileError) -> ByteReader {
    let start = offset
    return ByteReader(try bytes(count), at: start, path: path)
  }
}

extension [UInt8] {
  /// `withUnsafeBytes` with this module's errors.
  func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws(ModelFileError) -> R) throws(ModelFileError) -> R {
    try withUnsafeBufferPointer { buffer throws(ModelFileError) in try body(UnsafeRawBufferPointer(buffer)) }
  }

  mutating func withMutableBytes<R>(_ body: (UnsafeMutableRawBufferPointer) throws(ModelFileError) -> R) throws(ModelFileError) -> R {
    try withUnsafeMutableBufferPointer { buffer throws(ModelFileError) in try body(UnsafeMutableRawBufferPointer(buffer)) }
  }

  mutating func append<T: FixedWidthInteger>(littleEndian value: T) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  /// Zeros up to a multiple of `alignment`, counted from `start`.
  mutating func pad(to alignment: Int, from start: Int) {
    while (count - start) % alignment != 0 { append(0) }
  }
}
