import Parallel
import Support

/// Writes a model file under a temporary name (`NAME.partial`) and gives it its own when it is whole and on the disk.
///
/// Tensor by tensor: `beginTensor`, `write` for each plane in as many pieces as the caller likes, `endTensor`. What is in memory at a
/// time is a few chunks of the first plane and the (packed) other planes of one tensor. A run that was interrupted is taken up by the next
/// one with the same fingerprint. For one thread at a time.
package final class ModelFileWriter {
  package let path: String
  /// Tensors that an earlier run wrote and that are whole, in order: the caller goes on after them.
  package let resumed: [StoredTensor]

  /// Raw bytes of a chunk unless the caller says otherwise.
  package static let defaultChunkSize = 2 << 20

  private let overwrite: Bool
  private let compression: ChunkCompression
  private let chunkSize: Int
  private let encoder: ChunkEncoder
  private let partial: PartialFile
  private var names: Set<[UInt8]>
  private var sections: [(name: String, bytes: [UInt8])] = []
  private var open: OpenTensor?
  private var state = State.ready

  private enum State {
    case ready
    case closed
    case failed(ModelFileError)
  }

  /// `fingerprint`: what the file is made from and how; work of a run with another one is discarded.
  /// Throws `.output` where a file is not to be written to that name: with `overwrite` a file is replaced, but never one of `inputs`, a
  /// directory, a device or a link; and `.locked` while another process writes to the same name.
  package init(
    path: String, fingerprint: String, compression: ChunkCompression = .standard, chunkSize: Int = ModelFileWriter.defaultChunkSize,
    overwrite: Bool = false, inputs: [String] = [], mode: UInt32 = 0o666, pool: ThreadPool
  ) throws(ModelFileError) {
    guard Format.chunkSizes.contains(chunkSize), chunkSize % 4096 == 0 else { throw .chunkSize(path: path, found: chunkSize) }
    PartialFile.removeSecondName(path + ".partial", of: path)
    do throws(OutputError) { try OutputFile.check(path, replacing: overwrite, inputs: inputs) } catch { throw .output(error) }
    self.path = path
    self.overwrite = overwrite
    self.compression = compression
    self.chunkSize = chunkSize
    encoder = ChunkEncoder(pool: pool, chunkSize: chunkSize, path: path)
    let setup = Journal.Setup(fingerprint: fingerprint, chunkSize: chunkSize, compression: compression)
    partial = try PartialFile(at: path + ".partial", setup: setup, mode: mode, pool: pool)
    resumed = partial.tensors
    names = Set(resumed.map { Array($0.name.utf8) })
  }

  /// Bytes of the file so far.
  package var byteCount: Int { open?.end ?? partial.end }

  /// `compression`: for this tensor; nil takes the file's.
  package func beginTensor(_ descriptor: TensorDescriptor, compression: ChunkCompression? = nil) throws(ModelFileError) {
    try requireReady()
    if let open { throw .tensorStillOpen(path: path, tensor: open.descriptor.name) }
    let lengths = try descriptor.planeLengths(path: path)
    guard names.count < Format.maximumTensors else {
      throw .tooManyTensors(path: path, found: names.count + 1, limit: Format.maximumTensors)
    }
    guard names.insert(Array(descriptor.name.utf8)).inserted else { throw .duplicateTensor(path: path, tensor: descriptor.name) }
    open = OpenTensor(
      descriptor, lengths: lengths, compression: compression ?? self.compression, chunkSize: chunkSize, file: partial.file,
      encoder: encoder, end: partial.end, path: path)
  }

  /// Adds raw bytes to a plane of the tensor that was begun. Planes may be written in turns.
  package func write(_ plane: PlaneKind, _ bytes: UnsafeRawBufferPointer) throws(ModelFileError) {
    try requireReady()
    guard let open else { throw .noOpenTensor(path: path) }
    try attempt { () throws(ModelFileError) in try open.write(plane, bytes) }
  }

  package func write(_ plane: PlaneKind, _ bytes: [UInt8]) throws(ModelFileError) {
    try bytes.withBytes { buffer throws(ModelFileError) in try write(plane, buffer) }
  }

  /// All planes are complete; the tensor is noted as whole.
  package func endTensor() throws(ModelFileError) {
    try requireReady()
    guard let open else { throw .noOpenTensor(path: path) }
    try attempt { () throws(ModelFileError) in try partial.add(open.finish()) }
    self.open = nil
  }

  /// A tensor that is whole in the file by now, read back; nil where there is none of that name.
  package func load(_ name: String) throws(ModelFileError) -> LoadedTensor? {
    guard let tensor = partial.tensors.last(where: { $0.name == name }) else { return nil }
    let loader = TensorLoader(file: partial.file, chunkSize: chunkSize, verified: nil)
    return try loader.load([tensor], pool: ThreadPool(threadCount: 1))[0]
  }

  /// Keeps a named run of bytes, which `finish` writes. Names are 1 to 64 printable ASCII characters.
  package func addSection(_ name: String, _ bytes: [UInt8]) throws(ModelFileError) {
    try requireReady()
    guard (1...Format.maximumSectionName).contains(name.utf8.count), name.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw .sectionName(path: path, name: Array(name.utf8.prefix(64)))
    }
    guard bytes.count <= Format.maximumSectionLength else {
      throw .sectionTooLong(path: path, section: name, found: UInt64(bytes.count), limit: Format.maximumSectionLength)
    }
    guard !sections.contains(where: { $0.name == name }) else { throw .duplicateSection(path: path, section: name) }
    guard sections.count < Format.maximumSections else {
      throw .tooManySections(path: path, found: sections.count + 1, limit: Format.maximumSections)
    }
    sections.append((name, bytes))
  }

  /// Writes sections, table and prelude, waits until all is on the disk, and gives the file its name.
  package func finish() throws(ModelFileError) {
    try requireReady()
    if let open { throw .tensorStillOpen(path: path, tensor: open.descriptor.name) }
    try attempt { () throws(ModelFileError) in
      var table = Table(chunkSize: chunkSize, tensors: partial.tensors)
      var end = partial.end
      for section in sections {
        let plane = PlaneWriter(.section(section.name), length: section.bytes.count, compression: compression, encoder: encoder, path: path)
        plane.place(in: partial.file, after: end)
        try plane.write(section.bytes)
        let stored = try plane.finish()
        end = stored.end
        table.sections.append(StoredSection(name: section.name, plane: stored))
      }
      try write(table, after: end)
      try partial.publish(as: path, overwrite: overwrite)
    }
    state = .closed
  }

  /// Gives up: nothing stays, under any name. A writer that is merely dropped leaves what a next run can take up.
  package func abort() {
    if case .closed = state { return }
    state = .closed
    open = nil
    partial.remove()
  }

  private func write(_ table: Table, after end: Int) throws(ModelFileError) {
    let bytes = table.bytes
    guard bytes.count <= Format.maximumTableLength else {
      throw .tooManyTensors(path: path, found: table.tensors.count, limit: Format.maximumTensors)
    }
    let prelude = Prelude(table.tensors, tableOffset: aligned(end, to: Format.alignment), table: bytes)
    try partial.file.write(bytes, at: prelude.tableOffset)
    try partial.file.truncate(to: prelude.fileLength)
    try partial.file.write(prelude.bytes, at: 0)
  }

  private func requireReady() throws(ModelFileError) {
    switch state {
    case .ready: return
    case .closed: throw .writerClosed(path: path)
    case .failed(let error): throw error
    }
  }

  /// After a failure of the system the place in the file is unknown, and nothing more is written to it.
  private func attempt(_ body: () throws(ModelFileError) -> Void) throws(ModelFileError) {
    do throws(ModelFileError) { try body() } catch {
      switch error {
      case .planeOverfull, .planeIncomplete, .noSuchPlane: break
      default: state = .failed(error)
      }
      throw error
    }
  }
}

/// A tensor on its way into the file. Its first plane goes there as it comes; the others wait in memory, packed, until their place is
/// known.
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
  private var waiting: [(chunk: StoredChunk, bytes: [UInt8])] = []

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
    for (chunk, bytes) in waiting { try bytes.withBytes { bytes throws(ModelFileError) in try append(chunk, bytes) } }
    waiting = []
    try storePending()
    return StoredPlane(part: part, offset: offset, rawByteCount: length, chunks: chunks, firstChunk: 0)
  }

  private func storePending() throws(ModelFileError) {
    defer { pending.removeAll(keepingCapacity: true) }
    try pending.withBytes { bytes throws(ModelFileError) in try store(bytes) }
  }

  private func store(_ raw: UnsafeRawBufferPointer) throws(ModelFileError) {
    try encoder.encode(raw, of: part, compression) { chunk, bytes throws(ModelFileError) in
      if file == nil { waiting.append((chunk, Array(bytes))) } else { try append(chunk, bytes) }
    }
  }

  private func append(_ chunk: StoredChunk, _ bytes: UnsafeRawBufferPointer) throws(ModelFileError) {
    var chunk = chunk
    chunk.offset = chunks.last.map { aligned($0.range.upperBound, to: Format.alignment) } ?? offset
    try file?.write(bytes, at: chunk.offset)
    chunks.append(chunk)
  }
}

extension ModelFileWriter {
  /// The length of a file with these tensors and sections (their names and lengths) when no chunk is packed: exactly that with
  /// `compression: .none`, at most that otherwise.
  package static func rawFileByteCount(
    of tensors: [TensorDescriptor], sections: [(name: String, byteCount: Int)], chunkSize: Int = ModelFileWriter.defaultChunkSize,
    path: String = ""
  ) throws(ModelFileError) -> Int {
    var table = Table(chunkSize: chunkSize)
    var end = Format.preludeLength
    func place(_ part: FilePart, _ length: Int) -> StoredPlane {
      let offset = aligned(end, to: Format.alignment(ofPlaneWith: length))
      let chunks = (0..<Format.chunkCount(length, chunkSize: chunkSize)).map { index in
        let count = min(chunkSize, length - index * chunkSize)
        return StoredChunk(offset: offset + index * chunkSize, storedByteCount: count, rawByteCount: count, codec: .raw, checksum: 0)
      }
      end = offset + length
      return StoredPlane(part: part, offset: offset, rawByteCount: length, chunks: chunks, firstChunk: 0)
    }
    for tensor in tensors {
      let lengths = try tensor.planeLengths(path: path)
      let planes = zip(tensor.encoding.planes, lengths).map { place(.tensor(tensor.name, $0), $1) }
      table.tensors.append(StoredTensor(descriptor: tensor, planes: planes))
    }
    for section in sections {
      table.sections.append(StoredSection(name: section.name, plane: place(.section(section.name), section.byteCount)))
    }
    return aligned(end, to: Format.alignment) + table.bytes.count
  }
}

extension TensorDescriptor {
  /// Bytes of all planes, unpacked, after all that can be wrong with a name, a shape and an encoding was checked.
  package var byteCount: Int {
    get throws(ModelFileError) { try planeLengths(path: "").reduce(0, +) }
  }
}

/// Makes one model file out of another.
package enum ModelFileTransform {
  /// Writes the same tensors and sections with all chunks raw (`.none`: the file can be mapped and used as it is) or packed.
  /// Streams a few chunks at a time; the output appears when it is whole, and an interrupted run can be repeated.
  /// `keptRaw`: tensors that stay raw whatever `compression` says. `only`: the tensors to write, nil for all; sections are always written.
  /// `progress` counts raw bytes of tensors.
  package static func rewrite(
    from source: String, to output: String, compression: ChunkCompression, keptRaw: Set<String> = [], only: Set<String>? = nil,
    overwrite: Bool = false, pool: ThreadPool, progress: ModelFileProgress? = nil
  ) throws(ModelFileError) {
    let reader = try ModelFileReader(path: source)
    let writer = try ModelFileWriter(
      path: output, fingerprint: "rewrite \(reader.tableChecksum) \(compression) \(only?.sorted() ?? [])", compression: compression,
      chunkSize: reader.chunkSize, overwrite: overwrite, inputs: [source], pool: pool)
    do throws(ModelFileError) {
      let copier = try ChunkCopier(reader, writer, pool)
      let tensors = reader.tensors.filter { only?.contains($0.name) ?? true }
      let meter = ProgressMeter(progress, total: tensors.reduce(0) { $0 + $1.rawByteCount }, path: output)
      for (index, tensor) in tensors.enumerated() {
        if index >= writer.resumed.count {
          try writer.beginTensor(tensor.descriptor, compression: keptRaw.contains(tensor.name) ? ChunkCompression.none : nil)
          for (kind, plane) in zip(tensor.descriptor.encoding.planes, tensor.planes) { try copier.copy(plane, as: kind, meter) }
          try writer.endTensor()
        } else {
          try meter.add(tensor.rawByteCount)
        }
      }
      for section in reader.sections { try writer.addSection(section.name, reader.section(section.name)) }
      try writer.finish()
    } catch {
      // Only what was stopped on request goes on later; half a copy of a damaged file, or on a full disk, helps nobody.
      if case .cancelled = error { throw error }
      writer.abort()
      throw error
    }
  }
}

/// Unpacks a few chunks at a time and hands them to a writer.
private final class ChunkCopier {
  private let reader: ModelFileReader
  private let writer: ModelFileWriter
  private let pool: ThreadPool
  private let fetcher: ChunkFetcher
  private let memory: AlignedMemory
  private let batch: Int

  init(_ reader: ModelFileReader, _ writer: ModelFileWriter, _ pool: ThreadPool) throws(ModelFileError) {
    self.reader = reader
    self.writer = writer
    self.pool = pool
    fetcher = ChunkFetcher(reader.file, workers: pool.threadCount)
    batch = 2 * pool.threadCount
    guard let memory = AlignedMemory(byteCount: batch * reader.chunkSize) else {
      throw .outOfMemory(path: reader.path, byteCount: batch * reader.chunkSize)
    }
    self.memory = memory
  }

  func copy(_ plane: StoredPlane, as kind: PlaneKind, _ meter: ProgressMeter) throws(ModelFileError) {
    var start = 0
    while start < plane.chunks.count {
      let chunks = plane.chunks[start..<min(start + batch, plane.chunks.count)]
      try pool.forEach(chunks.count) { index, worker throws(ModelFileError) in
        try fetcher.fetch(
          chunks[chunks.startIndex + index], of: plane.part, to: memory.base + index * reader.chunkSize, worker: worker)
      }
      let count = chunks.reduce(0) { $0 + $1.rawByteCount }
      try writer.write(kind, UnsafeRawBufferPointer(start: memory.base, count: count))
      try meter.add(count)
      start += chunks.count
    }
  }
}
