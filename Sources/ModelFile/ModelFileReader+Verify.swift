import Parallel
import Synchronization

/// Bytes of a model file that are not what was written.
package struct Damage: Hashable, Sendable, CustomStringConvertible {
  /// nil for the gaps between chunks, which no model needs.
  package let part: FilePart?
  /// In the file.
  package let range: Range<Int>
  /// What is wrong with them.
  package let description: String
}

extension ModelFileReader {
  /// Checks every byte of the file: each chunk's checksum, that it unpacks, and that the gaps are zeros. Returns all damage in the
  /// order of the file; throws only when the file cannot be read or the work was stopped. `progress` counts the file's bytes.
  package func verify(pool: ThreadPool, progress: ModelFileProgress? = nil) throws(ModelFileError) -> [Damage] {
    let pieces = self.pieces
    let fetcher = ChunkFetcher(file, workers: pool.threadCount)
    let meter = ProgressMeter(progress, total: byteCount, path: path)
    try meter.add(Format.preludeLength + byteCount - tableOffset)
    let damage = Mutex<[Damage]>([])
    try pool.forEach(pieces.count) { index, worker throws(ModelFileError) in
      let piece = pieces[index]
      if index + 8 < pieces.count { file.willNeed(pieces[index + 8].range) }
      do throws(ModelFileError) {
        if let chunk = piece.chunk, let part = piece.part {
          _ = try fetcher.fetch(chunk, of: part, worker: worker)
        } else {
          try fetcher.checkZeros(piece.range, worker: worker)
        }
      } catch {
        guard error.isDamage else { throw error }
        damage.withLock { $0.append(Damage(part: piece.part, range: piece.range, description: error.description)) }
      }
      try meter.add(piece.range.count)
    }
    return damage.withLock { $0.sorted { $0.range.lowerBound < $1.range.lowerBound } }
  }

  private struct Piece {
    var part: FilePart?
    var chunk: StoredChunk?
    var range: Range<Int>
  }

  /// The chunks and the gaps, which together are all between the prelude and the table.
  private var pieces: [Piece] {
    var result: [Piece] = []
    var end = Format.preludeLength
    for plane in tensors.flatMap(\.planes) + sections.map(\.plane) {
      for chunk in plane.chunks {
        if chunk.offset > end { result.append(Piece(part: nil, chunk: nil, range: end..<chunk.offset)) }
        result.append(Piece(part: plane.part, chunk: chunk, range: chunk.range))
        end = chunk.range.upperBound
      }
    }
    if tableOffset > end { result.append(Piece(part: nil, chunk: nil, range: end..<tableOffset)) }
    return result
  }
}
