import Parallel
import Support
import Synchronization

/// An open model file. Opening reads and checks the prelude and the table, and nothing else; every chunk is checked before its bytes
/// are handed out.
///
/// The file must not be changed while it is open, which `checkUnchanged` tells. Files that are replaced by renaming, as the writer does it,
/// are safe.
package final class ModelFileReader: Sendable {
  package let path: String
  package let version: (major: Int, minor: Int)
  /// Bytes of the whole file.
  package let byteCount: Int
  /// In the order they have in the file.
  package let tensors: [StoredTensor]
  package let sections: [StoredSection]
  /// Raw bytes of a chunk.
  package let chunkSize: Int
  /// Of the table, which holds every chunk's checksum: two files with the same one hold the same.
  package let tableChecksum: UInt64

  let file: SystemFile
  private let opened: FileStatus
  let tableOffset: Int
  let verified: VerifiedChunks
  /// Whether long planes are the file's own pages rather than read.
  let isMapped: Bool
  private let tensorIndex: [[UInt8]: Int]

  /// A file that others may cut at any time is better not mapped.
  package init(path: String, isMapped: Bool = true) throws(ModelFileError) {
    self.path = path
    self.isMapped = isMapped
    file = try SystemFile(reading: path)
    opened = try file.status()
    let prelude = try Prelude(of: file)
    let bytes = try file.read(prelude.tableLength, at: prelude.tableOffset)
    let found = checksum(bytes)
    guard found == prelude.tableChecksum else { throw .tableChecksum(path: path, expected: prelude.tableChecksum, found: found) }
    let table = try TableParser.parse(bytes, at: prelude.tableOffset, isNewer: prelude.isNewer, flags: prelude.flags, path: path)
    version = (Int(prelude.major), Int(prelude.minor))
    byteCount = prelude.fileLength
    tableOffset = prelude.tableOffset
    tableChecksum = prelude.tableChecksum
    tensors = table.tensors
    sections = table.sections
    chunkSize = table.chunkSize
    verified = VerifiedChunks(count: table.chunkCount)
    tensorIndex = Dictionary(table.tensors.enumerated().map { (Array($1.name.utf8), $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// Throws where the file was written to, or cut, since it was opened.
  package func checkUnchanged() throws(ModelFileError) {
    guard !file.losses.happened, try file.status().hasSameBytes(as: opened) else { throw .changed(path: path) }
  }

  /// nil where there is none of that name.
  package func tensor(_ name: String) -> StoredTensor? {
    tensorIndex[Array(name.utf8)].map { tensors[$0] }
  }

  package func hasSection(_ name: String) -> Bool { sections.contains { $0.name == name } }

  /// A section's bytes, checked.
  package func section(_ name: String) throws(ModelFileError) -> [UInt8] {
    guard let section = sections.first(where: { $0.name == name }) else { throw .noSuchSection(path: path, section: name) }
    let fetcher = ChunkFetcher(file, workers: 1)
    var bytes: [UInt8] = []
    for chunk in section.plane.chunks {
      // Grows with what was found to be there, not with what the table says.
      bytes.append(contentsOf: try fetcher.fetch(chunk, of: section.plane.part, worker: 0))
    }
    return bytes
  }

  func found(_ name: String) throws(ModelFileError) -> StoredTensor {
    guard let tensor = tensor(name) else { throw .noSuchTensor(path: path, tensor: name) }
    return tensor
  }
}

/// Which chunks of the file's own pages were checked since it was opened.
final class VerifiedChunks: Sendable {
  private let words: Mutex<[UInt64]>

  init(count: Int) { words = Mutex([UInt64](repeating: 0, count: (count + 63) / 64)) }

  func contains(_ chunk: Int) -> Bool { words.withLock { $0[chunk / 64] >> UInt64(chunk % 64) & 1 == 1 } }
  func insert(_ chunk: Int) { words.withLock { $0[chunk / 64] |= 1 << UInt64(chunk % 64) } }
}

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
