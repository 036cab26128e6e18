/// A tensor of a model file: what it is and where its bytes are.
public struct StoredTensor: Hashable, Sendable {
  public let descriptor: TensorDescriptor
  /// In the encoding's order.
  public let planes: [StoredPlane]

  public var name: String { descriptor.name }
  /// Bytes in memory.
  public var rawByteCount: Int { planes.reduce(0) { $0 + $1.rawByteCount } }
  /// Bytes in the file, without the gaps between chunks.
  public var storedByteCount: Int { planes.reduce(0) { $0 + $1.storedByteCount } }
  /// Nothing of it is packed.
  public var isRaw: Bool { planes.allSatisfy(\.isRaw) }
}

/// A named run of bytes of a model file that is no tensor: configuration, tokenizer, …
public struct StoredSection: Hashable, Sendable {
  /// 1 to 64 printable ASCII characters.
  public let name: String
  public let plane: StoredPlane

  public var byteCount: Int { plane.rawByteCount }
}

/// Where a plane's chunks are.
public struct StoredPlane: Hashable, Sendable {
  public let part: FilePart
  /// Of the first chunk.
  public let offset: Int
  /// Of all chunks, unpacked.
  public let rawByteCount: Int
  public let chunks: [StoredChunk]
  /// Among all chunks of the file.
  let firstChunk: Int

  public var storedByteCount: Int { chunks.reduce(0) { $0 + $1.storedByteCount } }
  /// Its bytes stand in the file as they are, without a gap: chunks are multiples of the alignment.
  public var isRaw: Bool { chunks.allSatisfy { $0.codec == .raw } }
  /// Where the last chunk ends.
  var end: Int { chunks.last?.range.upperBound ?? offset }
}

/// Some bytes of a plane, stored with their checksum.
public struct StoredChunk: Hashable, Sendable {
  public let offset: Int
  public let storedByteCount: Int
  public let rawByteCount: Int
  public let codec: ChunkCodec
  /// XXH3-64 of the stored bytes.
  public let checksum: UInt64

  /// In the file.
  public var range: Range<Int> { offset..<offset + storedByteCount }
}

public enum ChunkCodec: UInt8, Hashable, Sendable {
  case raw = 0
  /// One zstd frame that tells its content's size.
  case zstd = 1
}
