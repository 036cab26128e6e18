/// Reads little-endian integers one after the other from bytes that came from outside, never beyond their end.
package struct ByteReader<Failure: Error> {
  @usableFromInline let bytes: ArraySlice<UInt8>
  /// Where `bytes` begin in what they are a part of: errors name offsets in that.
  @usableFromInline let base: Int
  @usableFromInline let failure: (_ offset: Int, _ needed: Int, _ available: Int) -> Failure
  /// From the start of `bytes`.
  @usableFromInline var position = 0

  /// `failure`: what is thrown where, at an offset, fewer bytes are left than needed.
  package init(
    _ bytes: ArraySlice<UInt8>, at base: Int = 0, failure: @escaping (_ offset: Int, _ needed: Int, _ available: Int) -> Failure
  ) {
    self.bytes = bytes
    self.base = base
    self.failure = failure
  }

  @inlinable package var available: Int { bytes.count - position }
  /// Of the next byte, counted as errors do.
  @inlinable package var offset: Int { base + position }

  @inlinable package func require(_ count: Int) throws(Failure) {
    guard count >= 0, count <= available else { throw failure(offset, count, available) }
  }

  @inlinable package mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type = T.self) throws(Failure) -> T {
    let size = MemoryLayout<T>.size
    try require(size)
    defer { position += size }
    let start = position
    return bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: start, as: T.self)) }
  }

  /// As many integers at once, which costs no more than copying them.
  package mutating func integers<T: FixedWidthInteger & BitwiseCopyable>(_ count: Int, of type: T.Type = T.self) throws(Failure) -> [T] {
    let (length, isTooLong) = count.multipliedReportingOverflow(by: MemoryLayout<T>.size)
    let source = try bytes(isTooLong ? Int.max : length)
    let values = [T](unsafeUninitializedCapacity: count) { values, initialized in
      source.withUnsafeBytes { UnsafeMutableRawBufferPointer(values).copyMemory(from: $0) }
      initialized = count
    }
    return T(littleEndian: 1) == 1 ? values : values.map { T(littleEndian: $0) }
  }

  @inlinable package mutating func bytes(_ count: Int) throws(Failure) -> ArraySlice<UInt8> {
    try require(count)
    defer { position += count }
    let start = bytes.startIndex + position
    return bytes[start..<start + count]
  }

  /// A reader of the next `count` bytes alone, which this one skips.
  package mutating func part(_ count: Int) throws(Failure) -> ByteReader {
    let start = offset
    return ByteReader(try bytes(count), at: start, failure: failure)
  }
}

extension [UInt8] {
  /// Appends a number's bytes, the lowest first.
  @inlinable package mutating func append<T: FixedWidthInteger>(littleEndian value: T) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }
}
