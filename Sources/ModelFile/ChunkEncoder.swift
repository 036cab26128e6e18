import Parallel

/// Whether chunks are stored as they are or packed.
public enum ChunkCompression: Hashable, Sendable {
  case none
  /// zstd, where it saves 3 % or more of a chunk; other chunks are stored raw. Higher levels gain nothing on weights. Without `codes`, planes
  /// of codes stay raw.
  case zstd(level: Int, codes: Bool)

  /// Codes shrink by 5 to 9 % only: raw, they are mapped, which takes a twentieth of the time and no memory of their own. Scales and floats
  /// are packed.
  public static let standard = ChunkCompression.zstd(level: 3, codes: false)
  public static let smallest = ChunkCompression.zstd(level: 3, codes: true)

  /// Of a plane, where this is a file's.
  func of(_ kind: PlaneKind) -> ChunkCompression {
    if case .zstd(_, codes: false) = self, kind == .codes { .none } else { self }
  }

  /// A chunk stays raw unless its packed length is below this share of it.
  static let worthwhilePercent = 97
}

/// Packs and checksums chunks, several at a time on the threads of a pool, in memory that is used again and again.
final class ChunkEncoder {
  /// A chunk as it is to be stored; its bytes are valid only while they are handed over.
  struct Encoded {
    var bytes: UnsafeRawBufferPointer
    var rawByteCount: Int
    var codec: ChunkCodec
    var checksum: UInt64
  }

  /// Raw bytes that are worth waiting for before encoding: enough chunks for every thread, twice.
  let batchByteCount: Int

  private let pool: ThreadPool
  private let chunkSize: Int
  private let path: String
  private let slots: [Slot]
  private let packers: [Packer]

  /// Where one chunk of a batch is packed.
  private final class Slot: @unchecked Sendable {
    var memory: AlignedMemory?
    var encoded: Encoded?
  }

  /// One worker's; no two threads are the same worker at a time.
  private final class Packer: @unchecked Sendable {
    var packer: ZstdPacker?
  }

  init(pool: ThreadPool, chunkSize: Int, path: String) {
    self.pool = pool
    self.chunkSize = chunkSize
    self.path = path
    slots = (0..<2 * pool.threadCount).map { _ in Slot() }
    packers = (0..<pool.threadCount).map { _ in Packer() }
    batchByteCount = slots.count * chunkSize
  }

  /// Hands over `raw` chunk by chunk, in order; only the last chunk may be short.
  func encode(
    _ raw: UnsafeRawBufferPointer, of part: FilePart, _ compression: ChunkCompression,
    _ body: (Encoded) throws(ModelFileError) -> Void
  ) throws(ModelFileError) {
    var start = 0
    while start < raw.count {
      let count = min(slots.count, Format.chunkCount(raw.count - start, chunkSize: chunkSize))
      try pool.forEach(count) { index, worker throws(ModelFileError) in
        let lower = start + index * chunkSize
        let chunk = UnsafeRawBufferPointer(rebasing: raw[lower..<min(lower + chunkSize, raw.count)])
        slots[index].encoded = try encode(chunk, part, compression, slots[index], packers[worker])
      }
      for slot in slots[..<count] {
        if let encoded = slot.encoded { try body(encoded) }
      }
      start += count * chunkSize
    }
  }

  private func encode(
    _ raw: UnsafeRawBufferPointer, _ part: FilePart, _ compression: ChunkCompression, _ slot: Slot, _ worker: Packer
  ) throws(ModelFileError) -> Encoded {
    if case .zstd(let level, _) = compression {
      let bound = ZstdPacker.bound(chunkSize)
      guard let memory = slot.memory ?? AlignedMemory(byteCount: bound), let packer = worker.packer ?? ZstdPacker() else {
        throw .outOfMemory(path: path, byteCount: bound)
      }
      slot.memory = memory
      worker.packer = packer
      let room = UnsafeMutableRawBufferPointer(start: memory.base, count: bound)
      let length: Int
      do throws(FrameProblem) { length = try packer.pack(raw, to: room, level: level) } catch {
        throw .compressionFailed(path: path, part: part, reason: "\(error)")
      }
      if length * 100 <= raw.count * ChunkCompression.worthwhilePercent {
        let packed = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(room)[..<length])
        return Encoded(bytes: packed, rawByteCount: raw.count, codec: .zstd, checksum: checksum(packed))
      }
    }
    return Encoded(bytes: raw, rawByteCount: raw.count, codec: .raw, checksum: checksum(raw))
  }
}
