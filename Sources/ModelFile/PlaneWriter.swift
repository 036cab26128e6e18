/// A tensor on its way into the file. Its first plane goes there as it comes; the others wait in memory, packed, until their place is known.
final class OpenTensor {
  let descriptor: TensorDescriptor
  private let planes: [PlaneWriter]
  private let file: SystemFile
  private let path: String

  init(
    _ descriptor: TensorDescriptor, lengths: [Int], compression: ChunkCompression, chunkSize: Int, file: SystemFile,
    encoder: ChunkEncoder, end: Int, path: String
  ) {
    self.descriptor = descriptor
    self.file = file
    self.path = path
    planes = zip(descriptor.encoding.planes, lengths).map { kind, length in
      PlaneWriter(.tensor(descriptor.name, kind), length: length, compression: compression.of(kind), encoder: encoder, path: path)
    }
    planes.first?.place(in: file, after: end)
  }

  /// Where the bytes of the first plane end.
  var end: Int { planes.first?.end ?? 0 }

  func write(_ kind: PlaneKind, _ bytes: UnsafeRawBufferPointer) throws(ModelFileError) {
    guard let index = descriptor.encoding.planes.firstIndex(of: kind) else {
      throw .noSuchPlane(path: path, part: .tensor(descriptor.name, kind))
    }
    try planes[index].write(bytes)
  }

  /// The tensor, wholly in the file.
  func finish() throws(ModelFileError) -> StoredTensor {
    for plane in planes { try plane.requireComplete() }
    var stored: [StoredPlane] = []
    for plane in planes {
      if let end = stored.last?.end { plane.place(in: file, after: end) }
      stored.append(try plane.finish())
    }
    return StoredTensor(descriptor: descriptor, planes: stored)
  }
}

/// A plane on its way into the file, in any pieces.
final class PlaneWriter {
  private let part: FilePart
  private let length: Int
  private let compression: ChunkCompression
  private let encoder: ChunkEncoder
  private let path: String

  private var file: SystemFile?
  private var offset = 0
  private var chunks: [StoredChunk] = []
  private var received = 0
  /// Fewer bytes than a batch.
  private var pending: [UInt8] = []
  /// Encoded before the plane had a place.
  private var waiting: [(bytes: [UInt8], rawByteCount: Int, codec: ChunkCodec, checksum: UInt64)] = []

  init(_ part: FilePart, length: Int, compression: ChunkCompression, encoder: ChunkEncoder, path: String) {
    self.part = part
    self.length = length
    self.compression = compression
    self.encoder = encoder
    self.path = path
  }

  var end: Int { chunks.last?.range.upperBound ?? offset }

  /// The plane begins at the next place after `end` that its length allows.
  func place(in file: SystemFile, after end: Int) {
    self.file = file
    offset = aligned(end, to: Format.alignment(ofPlaneWith: length))
  }

  func write(_ bytes: [UInt8]) throws(ModelFileError) {
    try bytes.withBytes { buffer throws(ModelFileError) in try write(buffer) }
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws(ModelFileError) {
    guard bytes.count <= length - received else {
      throw .planeOverfull(path: path, part: part, expected: length, found: received + bytes.count)
    }
    received += bytes.count
    let batch = encoder.batchByteCount
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = rest.prefix(batch - pending.count)
      rest = rest.dropFirst(piece.count)
      if piece.count == batch {
        try store(UnsafeRawBufferPointer(rebasing: piece))
      } else {
        pending.append(contentsOf: piece)
        if pending.count == batch { try storePending() }
      }
    }
  }

  func requireComplete() throws(ModelFileError) {
    guard received == length else { throw .planeIncomplete(path: path, part: part, expected: length, found: received) }
  }

  /// The plane, complete and placed, wholly in the file.
  func finish() throws(ModelFileError) -> StoredPlane {
    for chunk in waiting {
      try chunk.bytes.withBytes { bytes throws(ModelFileError) in
        try append(.init(bytes: bytes, rawByteCount: chunk.rawByteCount, codec: chunk.codec, checksum: chunk.checksum))
      }
    }
    waiting = []
    try storePending()
    return StoredPlane(part: part, offset: offset, rawByteCount: length, chunks: chunks, firstChunk: 0)
  }

  private func storePending() throws(ModelFileError) {
    defer { pending.removeAll(keepingCapacity: true) }
    try pending.withBytes { bytes throws(ModelFileError) in try store(bytes) }
  }

  private func store(_ raw: UnsafeRawBufferPointer) throws(ModelFileError) {
    try encoder.encode(raw, of: part, compression) { chunk throws(ModelFileError) in
      if file == nil {
        waiting.append((Array(chunk.bytes), chunk.rawByteCount, chunk.codec, chunk.checksum))
      } else {
        try append(chunk)
      }
    }
  }

  private func append(_ chunk: ChunkEncoder.Encoded) throws(ModelFileError) {
    let place = chunks.last.map { aligned($0.range.upperBound, to: Format.alignment) } ?? offset
    try file?.write(chunk.bytes, at: place)
    chunks.append(
      StoredChunk(
        offset: place, storedByteCount: chunk.bytes.count, rawByteCount: chunk.rawByteCount, codec: chunk.codec, checksum: chunk.checksum))
  }
}
