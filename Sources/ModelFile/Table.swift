/// What is in a file: its table, parsed.
struct Table: Equatable {
  var chunkSize: Int
  var tensors: [StoredTensor] = []
  var sections: [StoredSection] = []
  /// Of all tensors and sections.
  var chunkCount = 0

  /// All planes in the order they have in the file.
  var planes: [StoredPlane] { tensors.flatMap(\.planes) + sections.map(\.plane) }
}

extension Table {
  /// As it stands at the file's end.
  var bytes: [UInt8] {
    var result: [UInt8] = []
    result.append(littleEndian: UInt32(chunkSize))
    result.append(littleEndian: UInt32(tensors.count))
    result.append(littleEndian: UInt32(sections.count))
    result.append(littleEndian: UInt32(0))
    for tensor in tensors { result.append(contentsOf: tensor.record) }
    for section in sections { result.append(contentsOf: section.record) }
    return result
  }
}

extension StoredTensor {
  /// As in the table.
  var record: [UInt8] {
    var bits = 0
    var group = 0
    if case .quantized(let scheme) = descriptor.encoding { (bits, group) = (scheme.bits, scheme.group) }
    let name = Array(name.utf8)
    var body: [UInt8] = []
    body.append(littleEndian: UInt16(name.count))
    body.append(EncodingCode(descriptor.encoding).rawValue)
    body.append(UInt8(descriptor.shape.count))
    body.append(UInt8(bits))
    body.append(UInt8(planes.count))
    body.append(littleEndian: UInt16(0))
    body.append(littleEndian: UInt32(group))
    for size in descriptor.shape { body.append(littleEndian: UInt64(size)) }
    for plane in planes { plane.append(to: &body) }
    body.append(contentsOf: name)
    return withLength(body)
  }
}

extension StoredSection {
  /// As in the table.
  var record: [UInt8] {
    let name = Array(name.utf8)
    var body: [UInt8] = []
    body.append(littleEndian: UInt16(name.count))
    body.append(littleEndian: UInt16(0))
    plane.append(to: &body)
    body.append(contentsOf: name)
    return withLength(body)
  }
}

extension StoredPlane {
  fileprivate func append(to record: inout [UInt8]) {
    record.append(littleEndian: UInt64(offset))
    record.append(littleEndian: UInt64(rawByteCount))
    record.append(littleEndian: UInt32(chunks.count))
    record.append(littleEndian: UInt32(0))
    for chunk in chunks {
      record.append(littleEndian: UInt32(chunk.storedByteCount))
      record.append(chunk.codec.rawValue)
      record.append(contentsOf: [0, 0, 0])
      record.append(littleEndian: chunk.checksum)
    }
  }
}

/// A record: its length, the body, zeros up to a multiple of eight.
private func withLength(_ body: [UInt8]) -> [UInt8] {
  let length = aligned(4 + body.count, to: Format.recordAlignment)
  var record: [UInt8] = []
  record.reserveCapacity(length)
  record.append(littleEndian: UInt32(length))
  record.append(contentsOf: body)
  record.pad(to: Format.recordAlignment, from: 0)
  return record
}

/// Encodings as a record names them.
enum EncodingCode: UInt8 {
  case float32 = 0
  case float16 = 1
  case bfloat16 = 2
  case symmetric = 3
  case asymmetric = 4

  init(_ encoding: TensorEncoding) {
    switch encoding {
    case .float(.float32): self = .float32
    case .float(.float16): self = .float16
    case .float(.bfloat16): self = .bfloat16
    case .quantized(let scheme): self = scheme.isSymmetric ? .symmetric : .asymmetric
    }
  }
}
