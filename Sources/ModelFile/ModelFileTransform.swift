import Parallel
import Support

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
