import Parallel
import Support

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

  private var loader: TensorLoader { TensorLoader(file: file, chunkSize: chunkSize, verified: verified) }
}

/// Brings tensors of a file, finished or in the making, into memory.
struct TensorLoader {
  let file: SystemFile
  let chunkSize: Int
  /// What was checked of the file's own pages; nil where the file is in the making and its pages are not used.
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
