import Tensors

/// How the values of a tensor are stored.
package enum TensorEncoding: Hashable, Sendable, CustomStringConvertible {
  /// Row-major little-endian values, one plane.
  case float(ScalarType)
  /// Codes in panels of 32 rows: see `QuantizedLayout`.
  case quantized(QuantizedScheme)

  package static func quantized(bits: Int, group: Int, symmetric: Bool) -> TensorEncoding {
    .quantized(QuantizedScheme(bits: bits, group: group, isSymmetric: symmetric))
  }

  package static let float32 = TensorEncoding.float(.float32)
  package static let float16 = TensorEncoding.float(.float16)
  package static let bfloat16 = TensorEncoding.float(.bfloat16)

  /// The planes, in the order they have in the file.
  package var planes: [PlaneKind] {
    switch self {
    case .float: [.values]
    case .quantized(let scheme): scheme.isSymmetric ? [.codes, .scales] : [.codes, .scales, .minima]
    }
  }

  /// Bytes of a value; nil where values are not stored one by one.
  package var valueSize: Int? {
    if case .float(let type) = self { type.size } else { nil }
  }

  /// Of a code; nil where values are stored one by one.
  package var bits: Int? {
    if case .quantized(let scheme) = self { scheme.bits } else { nil }
  }

  /// Codes have uneven levels.
  package var isUneven: Bool {
    if case .quantized(let scheme) = self { scheme.isUneven } else { false }
  }

  package var description: String {
    switch self {
    case .float(let type): type.description
    case .quantized(let scheme): scheme.description
    }
  }
}

/// A run of a tensor's bytes.
package enum PlaneKind: UInt8, Hashable, Sendable, CaseIterable, CustomStringConvertible {
  case values, codes, scales, minima

  package var description: String {
    switch self {
    case .values: "values"
    case .codes: "codes"
    case .scales: "scales"
    case .minima: "minima"
    }
  }
}

/// A tensor's name, shape and encoding: all that its planes' lengths follow from.
package struct TensorDescriptor: Hashable, Sendable {
  /// As in the checkpoint. 1 to 512 bytes of UTF-8, told apart byte by byte.
  package let name: String
  /// At most 8 dimensions, each at least 1; none for a single number.
  package let shape: [Int]
  package let encoding: TensorEncoding

  package init(name: String, shape: [Int], encoding: TensorEncoding) {
    self.name = name
    self.shape = shape
    self.encoding = encoding
  }

  /// Values of the shape, without padding.
  package var elementCount: Int { product(shape) ?? Int.max }

  /// As a matrix: the first dimension. 1 for a single number.
  package var rows: Int { shape.first ?? 1 }

  /// As a matrix: all dimensions but the first.
  package var columns: Int { product(shape.dropFirst()) ?? Int.max }

  /// The layout of a quantized tensor; nil for other encodings, and where the shape or the group is not allowed.
  package var quantizedLayout: QuantizedLayout? {
    guard case .quantized(let scheme) = encoding else { return nil }
    return QuantizedLayout(rows: rows, columns: columns, scheme: scheme)
  }
}

extension TensorDescriptor {
  /// The raw lengths of the planes, in order, after all that can be wrong with a name, a shape and an encoding was checked.
  func planeLengths(path: String) throws(ModelFileError) -> [Int] {
    guard (1...Format.maximumTensorName).contains(name.utf8.count) else { throw .tensorName(path: path, name: Array(name.utf8.prefix(64))) }
    let isQuantized = encoding.valueSize == nil
    let ranks = (isQuantized ? 2 : 0)...Format.maximumRank
    guard ranks.contains(shape.count) else { throw .invalidRank(path: path, tensor: name, rank: shape.count, allowed: ranks) }
    for (axis, size) in shape.enumerated() where size < 1 {
      throw .invalidDimension(path: path, tensor: name, axis: axis, found: UInt64(bitPattern: Int64(size)))
    }
    guard let elements = product(shape), elements <= Format.maximumElements else {
      throw .tooManyElements(path: path, tensor: name, limit: Format.maximumElements)
    }
    guard case .quantized(let scheme) = encoding else { return [elements * (encoding.valueSize ?? 0)] }
    guard scheme.hasValidBits else { throw .unsupportedBits(path: path, tensor: name, bits: scheme.bits) }
    guard scheme.hasValidGroup else { throw .invalidGroup(path: path, tensor: name, group: scheme.group) }
    guard let layout = quantizedLayout else { throw .tooManyElements(path: path, tensor: name, limit: Format.maximumElements) }
    return layout.planeBytes
  }
}

/// nil when it is beyond the largest integer.
private func product(_ factors: some Sequence<Int>) -> Int? {
  var result = 1
  for factor in factors {
    let (next, overflow) = result.multipliedReportingOverflow(by: factor)
    if overflow { return nil }
    result = next
  }
  return result
}

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
  /// In the file; 0 until a writer has a place for it.
  package internal(set) var offset: Int
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
