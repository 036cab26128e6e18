import Support
import Tensors

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
  record.pad(to: Format.recordAlignment)
  return record
}

/// Encodings as a record names them.
enum EncodingCode: UInt8 {
  case float32 = 0
  case float16 = 1
  case bfloat16 = 2
  case symmetric = 3
  case asymmetric = 4
  case uneven = 5

  init(_ encoding: TensorEncoding) {
    switch encoding {
    case .float(.float32): self = .float32
    case .float(.float16): self = .float16
    case .float(.bfloat16): self = .bfloat16
    case .quantized(let scheme): self = scheme.isUneven ? .uneven : scheme.isSymmetric ? .symmetric : .asymmetric
    }
  }
}

/// Parses the table's records, checking every field before it is used. Stored bytes must follow each other without overlap between
/// `room`'s ends, in the order of the records.
struct TableParser {
  private let path: String
  /// Zeros of this version may be something else in a newer minor one, and records may go on after what is known.
  private let isNewer: Bool
  /// Of the prelude: features that the file says it has.
  private let flags: UInt32
  private let chunkSize: Int
  /// Where stored bytes may be.
  private var room: Range<Int>
  private var chunkCount = 0

  init(path: String, chunkSize: Int, room: Range<Int>, isNewer: Bool = false, flags: UInt32 = Format.knownFlags) {
    self.path = path
    self.chunkSize = chunkSize
    self.room = room
    self.isNewer = isNewer
    self.flags = flags
  }

  /// The whole table, which begins at `offset` of the file.
  static func parse(_ bytes: [UInt8], at offset: Int, isNewer: Bool, flags: UInt32, path: String) throws(ModelFileError) -> Table {
    var reader = FileBytes(bytes[...], at: offset, path: path)
    let chunkSize = Int(try reader.integer(UInt32.self))
    let tensorCount = Int(try reader.integer(UInt32.self))
    let sectionCount = Int(try reader.integer(UInt32.self))
    let reservedOffset = reader.offset
    let reserved = try reader.integer(UInt32.self)
    guard Format.chunkSizes.contains(chunkSize), chunkSize % 4096 == 0 else { throw .chunkSize(path: path, found: chunkSize) }
    guard tensorCount <= Format.maximumTensors else {
      throw .tooManyTensors(path: path, found: tensorCount, limit: Format.maximumTensors)
    }
    guard sectionCount <= Format.maximumSections else {
      throw .tooManySections(path: path, found: sectionCount, limit: Format.maximumSections)
    }
    var parser = TableParser(path: path, chunkSize: chunkSize, room: Format.preludeLength..<offset, isNewer: isNewer, flags: flags)
    try parser.requireZero(UInt64(reserved), at: reservedOffset)

    var table = Table(chunkSize: chunkSize)
    var tensorNames = Set<[UInt8]>()
    for _ in 0..<tensorCount {
      let tensor = try parser.tensor(&reader)
      guard tensorNames.insert(Array(tensor.name.utf8)).inserted else { throw .duplicateTensor(path: path, tensor: tensor.name) }
      table.tensors.append(tensor)
    }
    var sectionNames = Set<[UInt8]>()
    for _ in 0..<sectionCount {
      let section = try parser.section(&reader)
      guard sectionNames.insert(Array(section.name.utf8)).inserted else { throw .duplicateSection(path: path, section: section.name) }
      table.sections.append(section)
    }
    guard reader.available == 0 || isNewer else {
      throw .trailingBytes(path: path, offset: reader.offset, count: reader.available)
    }
    table.chunkCount = parser.chunkCount
    return table
  }

  /// The next record, as a tensor.
  mutating func tensor(_ reader: inout FileBytes) throws(ModelFileError) -> StoredTensor {
    var record = try self.record(&reader, minimum: Format.tensorFixedLength)
    let start = record.start
    let nameLength = Int(try record.reader.integer(UInt16.self))
    let code = try record.reader.integer(UInt8.self)
    let rank = Int(try record.reader.integer(UInt8.self))
    let bits = Int(try record.reader.integer(UInt8.self))
    let planeCount = Int(try record.reader.integer(UInt8.self))
    let reserved = try record.reader.integer(UInt16.self)
    let group = Int(try record.reader.integer(UInt32.self))
    try requireZero(UInt64(reserved), at: start + 10)

    // The name stands last, but every later complaint wants to name the tensor.
    let name = try self.name(after: record.reader, rank: rank, planeCount: planeCount, length: nameLength)
    let encoding = try self.encoding(code, bits: bits, group: group, tensor: name)
    guard planeCount == encoding.planes.count else {
      throw .planeCount(path: path, tensor: name, expected: encoding.planes.count, found: planeCount)
    }
    let ranks = 0...Format.maximumRank
    guard ranks.contains(rank) else { throw .invalidRank(path: path, tensor: name, rank: rank, allowed: ranks) }
    var shape: [Int] = []
    for axis in 0..<rank {
      let size = try record.reader.integer(UInt64.self)
      guard size >= 1, size <= UInt64(Format.maximumElements) else {
        throw .invalidDimension(path: path, tensor: name, axis: axis, found: size)
      }
      shape.append(Int(size))
    }
    let descriptor = TensorDescriptor(name: name, shape: shape, encoding: encoding)
    let lengths = try descriptor.planeLengths(path: path)
    var planes: [StoredPlane] = []
    for (kind, length) in zip(encoding.planes, lengths) {
      planes.append(try plane(&record.reader, part: .tensor(name, kind), length: length))
    }
    _ = try record.reader.bytes(nameLength)
    try end(&record)
    return StoredTensor(descriptor: descriptor, planes: planes)
  }

  /// The next record, as a section.
  private mutating func section(_ reader: inout FileBytes) throws(ModelFileError) -> StoredSection {
    var record = try self.record(&reader, minimum: Format.sectionFixedLength)
    let nameLength = Int(try record.reader.integer(UInt16.self))
    let reserved = try record.reader.integer(UInt16.self)
    try requireZero(UInt64(reserved), at: record.start + 6)
    let bytes = try nameBytes(after: record.reader, skipping: 0, planeCount: 1, length: nameLength)
    guard (1...Format.maximumSectionName).contains(nameLength), bytes.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw .sectionName(path: path, name: Array(bytes.prefix(64)))
    }
    let name = String(decoding: bytes, as: UTF8.self)
    let plane = try plane(&record.reader, part: .section(name), length: nil)
    _ = try record.reader.bytes(nameLength)
    try end(&record)
    return StoredSection(name: name, plane: plane)
  }

  // MARK: Parts of a record

  /// A record that says how long it is; `start` is its place in the file.
  private struct Record {
    var reader: FileBytes
    var start: Int
  }

  private func record(_ reader: inout FileBytes, minimum: Int) throws(ModelFileError) -> Record {
    let start = reader.offset
    let length = Int(try reader.integer(UInt32.self))
    guard length >= minimum, length % Format.recordAlignment == 0 else {
      throw .recordLength(path: path, offset: start, expected: minimum, found: length)
    }
    return Record(reader: try reader.part(length - 4), start: start)
  }

  /// What follows the name: zeros up to a multiple of eight, and nothing more unless a newer version wrote it.
  private func end(_ record: inout Record) throws(ModelFileError) {
    let used = record.reader.offset - record.start
    let padding = aligned(used, to: Format.recordAlignment) - used
    for _ in 0..<padding {
      let offset = record.reader.offset
      try requireZero(UInt64(try record.reader.integer(UInt8.self)), at: offset)
    }
    guard record.reader.available == 0 || isNewer else {
      throw .recordLength(path: path, offset: record.start, expected: used + padding, found: used + padding + record.reader.available)
    }
  }

  private func requireZero(_ value: UInt64, at offset: Int) throws(ModelFileError) {
    guard value == 0 || isNewer else { throw .reservedNotZero(path: path, offset: offset, found: value) }
  }

  private func name(after reader: FileBytes, rank: Int, planeCount: Int, length: Int) throws(ModelFileError) -> String {
    let bytes = try nameBytes(after: reader, skipping: rank * 8, planeCount: planeCount, length: length)
    guard (1...Format.maximumTensorName).contains(length), let name = String(validating: bytes, as: UTF8.self) else {
      throw .tensorName(path: path, name: Array(bytes.prefix(64)))
    }
    return name
  }

  /// The bytes of a name, which stands after the planes.
  private func nameBytes(
    after reader: FileBytes, skipping count: Int, planeCount: Int, length: Int
  ) throws(ModelFileError) -> ArraySlice<UInt8> {
    var ahead = reader
    _ = try ahead.bytes(count)
    for _ in 0..<planeCount {
      _ = try ahead.bytes(16)
      let chunks = Int(try ahead.integer(UInt32.self))
      _ = try ahead.bytes(4)
      _ = try ahead.bytes(chunks * Format.chunkLength)
    }
    return try ahead.bytes(length)
  }

  private func encoding(_ code: UInt8, bits: Int, group: Int, tensor: String) throws(ModelFileError) -> TensorEncoding {
    guard let known = EncodingCode(rawValue: code), known != .uneven || flags & Format.hasUnevenLevels != 0 else {
      throw .unknownEncoding(path: path, tensor: tensor, code: Int(code))
    }
    switch known {
    case .float32, .float16, .bfloat16:
      guard bits == 0 else { throw .unsupportedBits(path: path, tensor: tensor, bits: bits) }
      guard group == 0 else { throw .invalidGroup(path: path, tensor: tensor, group: group) }
      return known == .float32 ? .float32 : known == .float16 ? .float16 : .bfloat16
    case .symmetric, .asymmetric:
      guard bits != 3 || flags & Format.hasCodesOf3Bits != 0 else { throw .unsupportedBits(path: path, tensor: tensor, bits: bits) }
      return .quantized(bits: bits, group: group, symmetric: known == .symmetric)
    case .uneven: return .quantized(QuantizedScheme(bits: bits, group: group, isSymmetric: true, isUneven: true))
    }
  }

  /// A plane and its chunks. `length`: what the encoding and the shape make it; nil for a section.
  private mutating func plane(_ reader: inout FileBytes, part: FilePart, length: Int?) throws(ModelFileError) -> StoredPlane {
    let offset = try reader.integer(UInt64.self)
    let rawLength = try reader.integer(UInt64.self)
    let count = Int(try reader.integer(UInt32.self))
    let reservedOffset = reader.offset
    try requireZero(UInt64(try reader.integer(UInt32.self)), at: reservedOffset)
    if let length {
      guard rawLength == UInt64(length) else { throw .planeLength(path: path, part: part, expected: length, found: rawLength) }
    } else if rawLength > UInt64(Format.maximumSectionLength), case .section(let name) = part {
      throw .sectionTooLong(path: path, section: name, found: rawLength, limit: Format.maximumSectionLength)
    }
    let total = Int(rawLength)
    let expected = Format.chunkCount(total, chunkSize: chunkSize)
    guard count == expected else { throw .chunkCount(path: path, part: part, expected: expected, found: count) }
    let alignment = Format.alignment(ofPlaneWith: total)
    guard offset % UInt64(alignment) == 0 else {
      throw .misalignedPlane(path: path, part: part, offset: offset, alignment: alignment)
    }
    guard offset >= UInt64(room.lowerBound), offset <= UInt64(room.upperBound) else {
      throw .outOfPlace(path: path, part: part, offset: offset, byteCount: 0, allowed: room)
    }
    try reader.require(count * Format.chunkLength)
    var plane: [StoredChunk] = []
    plane.reserveCapacity(count)
    var next = Int(offset)
    for index in 0..<count {
      let rawCount = min(chunkSize, total - index * chunkSize)
      let chunk = try self.chunk(&reader, part: part, index: index, at: next, rawCount: rawCount)
      plane.append(chunk)
      room = chunk.range.upperBound..<room.upperBound
      next = aligned(chunk.range.upperBound, to: Format.alignment)
    }
    defer { chunkCount += count }
    return StoredPlane(part: part, offset: Int(offset), rawByteCount: total, chunks: plane, firstChunk: chunkCount)
  }

  private func chunk(
    _ reader: inout FileBytes, part: FilePart, index: Int, at offset: Int, rawCount: Int
  ) throws(ModelFileError) -> StoredChunk {
    let stored = Int(try reader.integer(UInt32.self))
    let code = try reader.integer(UInt8.self)
    let reservedOffset = reader.offset
    for byte in try reader.bytes(3) { try requireZero(UInt64(byte), at: reservedOffset) }
    let checksum = try reader.integer(UInt64.self)
    guard let codec = ChunkCodec(rawValue: code) else { throw .unknownCodec(path: path, part: part, chunk: index, code: code) }
    guard codec == .raw ? stored == rawCount : (1..<rawCount).contains(stored) else {
      throw .storedLength(path: path, part: part, chunk: index, rawLength: rawCount, found: stored)
    }
    guard offset <= room.upperBound, stored <= room.upperBound - offset else {
      throw .outOfPlace(path: path, part: part, offset: UInt64(offset), byteCount: stored, allowed: room)
    }
    return StoredChunk(offset: offset, storedByteCount: stored, rawByteCount: rawCount, codec: codec, checksum: checksum)
  }
}
