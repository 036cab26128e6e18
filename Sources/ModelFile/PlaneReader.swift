import Parallel
import Synchronization

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
