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
    path: String, fingerprint: String, compression: ChunkCompression = .standard, chunkSize: Int = 2 << 20,
    overwrite: Bool = false, inputs: [String] = [], mode: UInt32 = 0o666, pool: ThreadPool
  ) throws(ModelFileError) {
    guard Format.chunkSizes.contains(chunkSize), chunkSize % 4096 == 0 else { throw .chunkSize(path: path, found: chunkSize) }
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
    let fetcher = ChunkFetcher(partial.file, workers: 1)
    var planes: [LoadedPlane] = []
    for (kind, plane) in zip(tensor.descriptor.encoding.planes, tensor.planes) {
      guard let memory = AlignedMemory(byteCount: plane.rawByteCount) else { throw .outOfMemory(path: path, byteCount: plane.rawByteCount) }
      for (index, chunk) in plane.chunks.enumerated() {
        try fetcher.fetch(chunk, of: plane.part, to: memory.base + index * chunkSize, worker: 0)
      }
      planes.append(LoadedPlane(kind, memory, byteCount: plane.rawByteCount))
    }
    return LoadedTensor(tensor.descriptor, planes)
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
    let prelude = Prelude(tableOffset: aligned(end, to: Format.alignment), tableLength: bytes.count, tableChecksum: checksum(bytes))
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
