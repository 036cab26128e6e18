import Parallel
import Synchronization
import Tensors

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
