import Parallel

extension ModelFileReader {
  /// A tensor's planes: the file's own pages where they are raw and long, else unpacked by all threads of the pool.
  package func load(_ tensor: StoredTensor, pool: ThreadPool) throws(ModelFileError) -> LoadedTensor {
    try load([tensor], pool: pool, progress: nil)[0]
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
    return try load(wanted, pool: pool, progress: progress)
  }

  private func load(
    _ wanted: [StoredTensor], pool: ThreadPool, progress: ModelFileProgress?
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
    let meter = ProgressMeter(progress, total: wanted.reduce(0) { $0 + $1.rawByteCount }, path: path)
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
        if !verified.contains(job.index) {
          try fetcher.check(UnsafeRawBufferPointer(start: pages, count: job.chunk.storedByteCount), job.chunk, job.part)
          verified.insert(job.index)
        }
      }
      try meter.add(job.chunk.rawByteCount)
    }
    return loaded
  }

  /// Room for a plane, and the jobs that fill it.
  private func prepare(_ kind: PlaneKind, _ plane: StoredPlane, _ jobs: inout [LoadJob]) throws(ModelFileError) -> LoadedPlane {
    let isMapped = plane.isRaw && plane.rawByteCount >= Format.pageAlignedFrom
    if isMapped {
      let mapping = try FileMapping(file, plane.offset..<plane.end)
      for (index, chunk) in plane.chunks.enumerated() {
        jobs.append(LoadJob(plane, index, chunk, .mapped(mapping.base + index * chunkSize)))
      }
      return LoadedPlane(kind, mapping, byteCount: plane.rawByteCount)
    }
    guard let memory = AlignedMemory(byteCount: plane.rawByteCount) else {
      throw .outOfMemory(path: path, byteCount: plane.rawByteCount)
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
