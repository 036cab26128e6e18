/// A tensor of a model file: what it is and where its bytes are.
package struct StoredTensor: Hashable, Sendable {
  package let descriptor: TensorDescriptor
  /// In the encoding's order.
  package let planes: [StoredPlane]

  package var name: String { descriptor.name }
  /// Bytes in memory.
  package var rawByteCount: Int { planes.reduce(0) { $0 + $1.rawByteCount } }
  /// Bytes in the file, without the gaps between chunks.
  package var storedByteCount: Int { planes.reduce(0) { $0 + $1.storedByteCount } }
  /// Nothing of it is packed.
  package var isRaw: Bool { planes.allSatisfy(\.isRaw) }
}

/// A named run of bytes of a model file that is no tensor: configuration, tokenizer, …
package struct StoredSection: Hashable, Sendable {
  /// 1 to 64 printable ASCII characters.
  package let name: String
  package let plane: StoredPlane

  package var byteCount: Int { plane.rawByteCount }
}

/// Where a plane's chunks are.
package struct StoredPlane: Hashable, Sendable {
  package let part: FilePart
  /// Of the first chunk.
  package let offset: Int
  /// Of all chunks, unpacked.
  package let rawByteCount: Int
  package let chunks: [StoredChunk]
  /// Among all chunks of the file.
  let firstChunk: Int

  package var storedByteCount: Int { chunks.reduce(0) { $0 + $1.storedByteCount } }
  /// Its bytes stand in the file as they are, without a gap: chunks are multiples of the alignment.
  package var isRaw: Bool { chunks.allSatisfy { $0.codec == .raw } }
  /// Where the last chunk ends.
  var end: Int { chunks.last?.range.upperBound ?? offset }
}

/// Some bytes of a plane, stored with their checksum.
package struct StoredChunk: Hashable, Sendable {
  package let offset: Int
  package let storedByteCount: Int
  package let rawByteCount: Int
  package let codec: ChunkCodec
  /// XXH3-64 of the stored bytes.
  package let checksum: UInt64

  /// In the file.
  package var range: Range<Int> { offset..<offset + storedByteCount }
}

package enum ChunkCodec: UInt8, Hashable, Sendable {
  case raw = 0
  /// One zstd frame that tells its content's size.
  case zstd = 1
}
