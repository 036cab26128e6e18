import Parallel
import Support
import Synchronization
import Tensors

/// A tensor's bytes in memory: unpacked, or the file's own pages. Valid as long as the object lives.
package final class LoadedTensor: Sendable {
  package let descriptor: TensorDescriptor
  /// In the encoding's order.
  package let planes: [LoadedPlane]

  init(_ descriptor: TensorDescriptor, _ planes: [LoadedPlane]) {
    self.descriptor = descriptor
    self.planes = planes
  }

  package var name: String { descriptor.name }

  /// nil where the encoding has no such plane.
  package subscript(_ kind: PlaneKind) -> LoadedPlane? { planes.first { $0.kind == kind } }
}

/// One plane of a loaded tensor.
package struct LoadedPlane: @unchecked Sendable {
  package let kind: PlaneKind
  /// At a 64-byte boundary. Valid as long as the tensor lives.
  package let pointer: UnsafeRawPointer
  package let byteCount: Int
  /// Whether the bytes are the file's own pages.
  package var isMapped: Bool { mapping != nil }

  let mapping: FileMapping?
  private let memory: AlignedMemory?

  package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: pointer, count: byteCount) }

  init(_ kind: PlaneKind, _ mapping: FileMapping, byteCount: Int) {
    self.kind = kind
    self.mapping = mapping
    memory = nil
    pointer = mapping.base
    self.byteCount = byteCount
  }

  init(_ kind: PlaneKind, _ memory: AlignedMemory, byteCount: Int) {
    self.kind = kind
    self.memory = memory
    mapping = nil
    pointer = UnsafeRawPointer(memory.base)
    self.byteCount = byteCount
  }
}

extension ModelFileReader {
  /// A tensor's planes: the file's own pages where they are raw and long, else unpacked by all threads of the pool.
  package func load(_ tensor: StoredTensor, pool: ThreadPool) throws(ModelFileError) -> LoadedTensor {
    try loader.load([tensor], pool: pool)[0]
  }

  package func load(_ name: String, pool: ThreadPool) throws(ModelFileError) -> LoadedTensor {
    try load(found(name), pool: pool)
  }

  /// Many tensors at once, in the order of `names`: the chunks of all are one loop of the pool, so no thread waits at a tensor's end.
  /// `progress` counts raw bytes.
  package func loadAll(
    of names: [String], pool: ThreadPool, progress: ModelFileProgress? = nil
  ) throws(ModelFileError) -> [LoadedTensor] {
    var wanted: [StoredTensor] = []
    for name in names { wanted.append(try found(name)) }
    return try loader.load(wanted, pool: pool, progress: progress)
  }

  private var loader: TensorLoader { TensorLoader(file: file, chunkSize: chunkSize, verified: isMapped ? verified : nil) }
}

/// Brings tensors of a file, finished or in the making, into memory.
struct TensorLoader {
  let file: SystemFile
  let chunkSize: Int
  /// What was checked of the file's own pages; nil where those are not used.
  let verified: VerifiedChunks?

  /// In the order of `wanted`. `progress` counts raw bytes.
  func load(
    _ wanted: [StoredTensor], pool: ThreadPool, progress: ModelFileProgress? = nil
  ) throws(ModelFileError) -> [LoadedTensor] {
    var loaded: [LoadedTensor] = []
    var jobs: [LoadJob] = []
    for tensor in wanted {
      var planes: [LoadedPlane] = []
      for (kind, plane) in zip(tensor.descriptor.encoding.planes, tensor.planes) {
        planes.append(try prepare(kind, plane, &jobs))
      }
      loaded.append(LoadedTensor(tensor.descriptor, planes))
    }
    // The disk likes the file's order, whatever order was asked for.
    jobs.sort { $0.chunk.offset < $1.chunk.offset }
    let fetcher = ChunkFetcher(file, workers: pool.threadCount)
    let meter = ProgressMeter(progress, total: wanted.reduce(0) { $0 + $1.rawByteCount }, path: file.path)
    let order = jobs
    try pool.forEach(order.count) { index, worker throws(ModelFileError) in
      let job = order[index]
      // Far enough ahead that a thread rarely waits for the disk.
      let ahead = index + LoadJob.readAhead
      if ahead < order.count { file.willNeed(order[ahead].chunk.range) }
      switch job.target {
      case .memory(let destination):
        try fetcher.fetch(job.chunk, of: job.part, to: destination, worker: worker)
      case .mapped(let pages):
        if verified?.contains(job.index) == true { break }
        try fetcher.check(UnsafeRawBufferPointer(start: pages, count: job.chunk.storedByteCount), job.chunk, job.part)
        verified?.insert(job.index)
      }
      try meter.add(job.chunk.rawByteCount)
    }
    return loaded
  }

  /// Room for a plane, and the jobs that fill it.
  private func prepare(_ kind: PlaneKind, _ plane: StoredPlane, _ jobs: inout [LoadJob]) throws(ModelFileError) -> LoadedPlane {
    let isMapped = verified != nil && plane.isRaw && plane.rawByteCount >= Format.pageAlignedFrom
    if isMapped {
      let mapping = try FileMapping(file, plane.offset..<plane.end)
      for (index, chunk) in plane.chunks.enumerated() {
        jobs.append(LoadJob(plane, index, chunk, .mapped(mapping.base + index * chunkSize)))
      }
      return LoadedPlane(kind, mapping, byteCount: plane.rawByteCount)
    }
    guard let memory = AlignedMemory(byteCount: plane.rawByteCount) else {
      throw .outOfMemory(path: file.path, byteCount: plane.rawByteCount)
    }
    for (index, chunk) in plane.chunks.enumerated() {
      jobs.append(LoadJob(plane, index, chunk, .memory(memory.base + index * chunkSize)))
    }
    return LoadedPlane(kind, memory, byteCount: plane.rawByteCount)
  }
}

/// One chunk on its way to memory.
private struct LoadJob: @unchecked Sendable {
  static let readAhead = 8

  enum Target {
    case memory(UnsafeMutableRawPointer)
    case mapped(UnsafeRawPointer)
  }

  var part: FilePart
  /// Among all chunks of the file.
  var index: Int
  var chunk: StoredChunk
  var target: Target

  init(_ plane: StoredPlane, _ index: Int, _ chunk: StoredChunk, _ target: Target) {
    part = plane.part
    self.index = plane.firstChunk + index
    self.chunk = chunk
    self.target = target
  }
}

/// Rows of a tensor, read one by one: an embedding table without the memory that it would take.
///
/// Only the chunks that hold a wanted row are read and checked; of a packed tensor, the last few stay in memory. A row of a raw tensor
/// costs a read of its bytes (of its panel's, where it is quantized), a row of a packed one may cost the unpacking of a chunk.
package final class RowReader: Sendable {
  package let descriptor: TensorDescriptor
  /// The first dimension.
  package var rows: Int { descriptor.rows }
  /// Values of a row: the product of the other dimensions.
  package var columns: Int { descriptor.columns }

  private let path: String
  private let planes: [PlaneReader]

  init(_ reader: ModelFileReader, _ tensor: StoredTensor, keptChunks: Int) {
    path = reader.path
    descriptor = tensor.descriptor
    planes = tensor.planes.map { PlaneReader($0, of: reader, keptChunks: keptChunks) }
  }

  /// One row's values as they are stored, of a tensor of floats.
  package func row(_ row: Int) throws(ModelFileError) -> [UInt8] {
    try require(row)
    guard let size = descriptor.encoding.valueSize else {
      throw .noRows(path: path, tensor: descriptor.name, encoding: descriptor.encoding)
    }
    return try planes[0].read(from: row * columns * size, count: columns * size)
  }

  /// One row's `columns` values as floats, of a tensor of any encoding.
  package func read(row: Int, into output: UnsafeMutablePointer<Float>) throws(ModelFileError) {
    try require(row)
    if let layout = descriptor.quantizedLayout {
      try dequantize(row, layout, into: output)
    } else if case .float(let type) = descriptor.encoding {
      try self.row(row).withUnsafeBytes { bytes in
        if let base = bytes.baseAddress { type.decode(base, columns, to: output) }
      }
    }
  }

  private func require(_ row: Int) throws(ModelFileError) {
    guard row >= 0, row < rows else { throw .noSuchRow(path: path, tensor: descriptor.name, row: row, rows: rows) }
  }

  /// The row out of its panel.
  private func dequantize(_ row: Int, _ layout: QuantizedLayout, into output: UnsafeMutablePointer<Float>) throws(ModelFileError) {
    let (panel, lane) = row.quotientAndRemainder(dividingBy: QuantizedLayout.panelRows)
    let codes = try planes[0].read(from: panel * layout.panelCodeBytes, count: layout.panelCodeBytes)
    let scales = try halves(1, panel, layout)
    let minima = layout.scheme.isSymmetric ? [] : try halves(2, panel, layout)
    codes.withUnsafeBytes { codes in
      scales.withUnsafeBufferPointer { scales in
        minima.withUnsafeBufferPointer { minima in
          guard let codes = codes.baseAddress, let scales = scales.baseAddress else { return }
          let planes = QuantizedPlanes(codes: codes, scales: scales, minima: layout.scheme.isSymmetric ? nil : minima.baseAddress)
          layout.decode(row: lane, 0..<columns, of: planes, to: output)
        }
      }
    }
  }

  /// Scales or minima of a panel.
  private func halves(_ plane: Int, _ panel: Int, _ layout: QuantizedLayout) throws(ModelFileError) -> [UInt16] {
    let bytes = try planes[plane].read(from: panel * layout.panelScaleBytes, count: layout.panelScaleBytes)
    return bytes.withUnsafeBytes { bytes in
      (0..<layout.panelScaleCount).map { UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self)) }
    }
  }
}

extension ModelFileReader {
  /// Rows on demand. `keptChunks`: unpacked chunks of each plane that stay in memory.
  package func rows(of name: String, keptChunks: Int = 8) throws(ModelFileError) -> RowReader {
    RowReader(self, try found(name), keptChunks: keptChunks)
  }
}

/// Any bytes of a plane, without the memory that the whole of it would take.
///
/// Only chunks that hold wanted bytes are touched. A raw chunk is checked when it is first touched, and only the wanted bytes are read
/// after that; a packed one is unpacked, and the last few are kept.
final class PlaneReader: Sendable {
  private let file: SystemFile
  private let verified: VerifiedChunks
  private let plane: StoredPlane
  private let chunkSize: Int
  private let keptChunks: Int
  private let state: Mutex<State>

  private struct State {
    var fetcher: ChunkFetcher
    /// Unpacked chunks, the last used one last.
    var kept: [(chunk: Int, bytes: [UInt8])] = []
  }

  init(_ plane: StoredPlane, of reader: ModelFileReader, keptChunks: Int) {
    self.plane = plane
    file = reader.file
    verified = reader.verified
    chunkSize = reader.chunkSize
    self.keptChunks = max(1, keptChunks)
    state = Mutex(State(fetcher: ChunkFetcher(reader.file, workers: 1)))
  }

  /// Writes the plane's bytes from `start` on to `output`, as many as it takes. The caller has checked that there are so many.
  func read(from start: Int, into output: UnsafeMutableRawBufferPointer) throws(ModelFileError) {
    var done = 0
    while done < output.count {
      let position = start + done
      let lower = position % chunkSize
      let count = min(output.count - done, chunkSize - lower)
      try copy(lower, ofChunk: position / chunkSize, to: UnsafeMutableRawBufferPointer(rebasing: output[done..<done + count]))
      done += count
    }
  }

  func read(from start: Int, count: Int) throws(ModelFileError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try bytes.withMutableBytes { buffer throws(ModelFileError) in try read(from: start, into: buffer) }
    return bytes
  }

  private func copy(_ start: Int, ofChunk index: Int, to output: UnsafeMutableRawBufferPointer) throws(ModelFileError) {
    let chunk = plane.chunks[index]
    let number = plane.firstChunk + index
    if chunk.codec == .raw && verified.contains(number) { return try file.read(into: output, at: chunk.offset + start) }
    let range = start..<start + output.count
    let outcome = state.withLock { state -> Result<Void, ModelFileError> in
      do throws(ModelFileError) {
        if let found = state.kept.lastIndex(where: { $0.chunk == index }) {
          state.kept.append(state.kept.remove(at: found))
        } else {
          let raw = try state.fetcher.fetch(chunk, of: plane.part, worker: 0)
          verified.insert(number)
          if chunk.codec == .raw {
            output.copyMemory(from: UnsafeRawBufferPointer(rebasing: raw[range]))
            return .success(())
          }
          if state.kept.count == keptChunks { state.kept.removeFirst() }
          state.kept.append((index, Array(raw)))
        }
        state.kept[state.kept.count - 1].bytes.withUnsafeBytes {
          output.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[range]))
        }
        return .success(())
      } catch { return .failure(error) }
    }
    try outcome.get()
  }
}
