import Parallel
import Synchronization

/// Rows of a tensor of floats, read one by one: an embedding table without the memory that it would take.
///
/// Only chunks that hold a wanted row are touched. A raw chunk is checked when it is first touched, and only the row's bytes are read
/// after that; a packed one is unpacked, and the last few are kept.
public final class RowReader: Sendable {
  public let descriptor: TensorDescriptor
  /// The first dimension.
  public var rows: Int { descriptor.rows }
  public let rowByteCount: Int

  private let reader: ModelFileReader
  private let plane: StoredPlane
  private let keptChunks: Int
  private let state: Mutex<State>

  private struct State {
    var fetcher: ChunkFetcher
    /// Unpacked chunks, the last used one last.
    var kept: [(chunk: Int, bytes: [UInt8])] = []
  }

  init(_ reader: ModelFileReader, _ tensor: StoredTensor, valueSize: Int, keptChunks: Int) {
    self.reader = reader
    descriptor = tensor.descriptor
    plane = tensor.planes[0]
    rowByteCount = tensor.descriptor.columns * valueSize
    self.keptChunks = max(1, keptChunks)
    state = Mutex(State(fetcher: ChunkFetcher(reader.file, workers: 1)))
  }

  /// Writes one row's stored values to `destination`, which has room for `rowByteCount` bytes.
  public func read(row: Int, into destination: UnsafeMutableRawPointer) throws(ModelFileError) {
    guard row >= 0, row < rows else { throw .noSuchRow(path: reader.path, tensor: descriptor.name, row: row, rows: rows) }
    var position = row * rowByteCount
    let end = position + rowByteCount
    var output = destination
    while position < end {
      let chunk = position / reader.chunkSize
      let start = position % reader.chunkSize
      let count = min(end - position, reader.chunkSize - start)
      try copy(start..<start + count, ofChunk: chunk, to: output)
      position += count
      output += count
    }
  }

  /// One row's stored values.
  public func row(_ row: Int) throws(ModelFileError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: rowByteCount)
    try bytes.withMutableBytes { buffer throws(ModelFileError) in
      if let base = buffer.baseAddress { try read(row: row, into: base) }
    }
    return bytes
  }

  private func copy(_ range: Range<Int>, ofChunk index: Int, to output: UnsafeMutableRawPointer) throws(ModelFileError) {
    let chunk = plane.chunks[index]
    let number = plane.firstChunk + index
    if chunk.codec == .raw && reader.verified.contains(number) {
      let buffer = UnsafeMutableRawBufferPointer(start: output, count: range.count)
      return try reader.file.read(into: buffer, at: chunk.offset + range.lowerBound)
    }
    let outcome = state.withLock { state -> Result<Void, ModelFileError> in
      do throws(ModelFileError) {
        if let found = state.kept.lastIndex(where: { $0.chunk == index }) {
          state.kept.append(state.kept.remove(at: found))
        } else {
          let raw = try state.fetcher.fetch(chunk, of: plane.part, worker: 0)
          reader.verified.insert(number)
          if chunk.codec == .raw {
            copy(raw[range], to: output)
            return .success(())
          }
          if state.kept.count == keptChunks { state.kept.removeFirst() }
          state.kept.append((index, Array(raw)))
        }
        state.kept[state.kept.count - 1].bytes.withUnsafeBytes { copy($0[range], to: output) }
        return .success(())
      } catch { return .failure(error) }
    }
    try outcome.get()
  }

  private func copy(_ bytes: Slice<UnsafeRawBufferPointer>, to output: UnsafeMutableRawPointer) {
    UnsafeMutableRawBufferPointer(start: output, count: bytes.count).copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes))
  }
}

extension ModelFileReader {
  /// Rows on demand of a tensor of floats with at least one dimension. `keptChunks`: unpacked chunks that stay in memory.
  public func rows(of name: String, keptChunks: Int = 8) throws(ModelFileError) -> RowReader {
    let tensor = try found(name)
    guard let valueSize = tensor.descriptor.encoding.valueSize, !tensor.descriptor.shape.isEmpty else {
      throw .noRows(path: path, tensor: name, encoding: tensor.descriptor.encoding)
    }
    return RowReader(self, tensor, valueSize: valueSize, keptChunks: keptChunks)
  }
}
