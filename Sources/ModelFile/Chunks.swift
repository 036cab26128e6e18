import CZstd
import Parallel
import Support
import Synchronization

/// Whether chunks are stored as they are or packed.
public enum ChunkCompression: Hashable, Sendable {
  /// Everything as it is, to be mapped.
  case none
  /// zstd, where it saves 3 % or more of a chunk; other chunks are stored raw. Higher levels gain nothing on weights. Without `codes`,
  /// planes of codes stay raw.
  case zstd(level: Int, codes: Bool)

  /// Codes shrink by 5 to 9 % only: raw, they are mapped, which takes a twentieth of the time and no memory of their own. Scales and floats
  /// are packed.
  public static let standard = ChunkCompression.zstd(level: 3, codes: false)
  /// Codes are packed too.
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
    var encoded: (chunk: StoredChunk, bytes: UnsafeRawBufferPointer)?
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

  /// Hands over `raw` chunk by chunk, in order, with the bytes to be stored, which are valid only meanwhile; only the last chunk may be
  /// short.
  func encode(
    _ raw: UnsafeRawBufferPointer, of part: FilePart, _ compression: ChunkCompression,
    _ body: (StoredChunk, UnsafeRawBufferPointer) throws(ModelFileError) -> Void
  ) throws(ModelFileError) {
    var start = 0
    while start < raw.count {
      let count = min(slots.count, Format.chunkCount(raw.count - start, chunkSize: chunkSize))
      try pool.forEach(count) { index, worker throws(ModelFileError) in
        let lower = start + index * chunkSize
        let chunk = UnsafeRawBufferPointer(rebasing: raw[lower..<min(lower + chunkSize, raw.count)])
        let (bytes, codec) = try encode(chunk, part, compression, slots[index], packers[worker])
        let stored = StoredChunk(
          offset: 0, storedByteCount: bytes.count, rawByteCount: chunk.count, codec: codec, checksum: checksum(bytes))
        slots[index].encoded = (stored, bytes)
      }
      for slot in slots[..<count] {
        if let (chunk, bytes) = slot.encoded { try body(chunk, bytes) }
      }
      start += count * chunkSize
    }
  }

  private func encode(
    _ raw: UnsafeRawBufferPointer, _ part: FilePart, _ compression: ChunkCompression, _ slot: Slot, _ worker: Packer
  ) throws(ModelFileError) -> (UnsafeRawBufferPointer, ChunkCodec) {
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
        return (UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(room)[..<length]), .zstd)
      }
    }
    return (raw, .raw)
  }
}

/// Reads, checks and unpacks chunks, each worker of a pool in memory of its own.
final class ChunkFetcher: Sendable {
  private let file: SystemFile
  private let workers: [Worker]

  init(_ file: SystemFile, workers count: Int) {
    self.file = file
    workers = (0..<max(1, count)).map { _ in Worker() }
  }

  /// What one worker needs, made when it is first needed; no two threads are the same worker at a time.
  private final class Worker: @unchecked Sendable {
    var scratch: AlignedMemory?
    var raw: AlignedMemory?
    var unpacker: ZstdUnpacker?
  }

  /// The chunk's raw bytes, checked, at `destination`, which has room for them.
  func fetch(_ chunk: StoredChunk, of part: FilePart, to destination: UnsafeMutableRawPointer, worker: Int) throws(ModelFileError) {
    let output = UnsafeMutableRawBufferPointer(start: destination, count: chunk.rawByteCount)
    guard chunk.codec == .zstd else {
      try file.read(into: output, at: chunk.offset)
      return try check(UnsafeRawBufferPointer(output), chunk, part)
    }
    let stored = try stored(chunk, of: part, worker: worker)
    guard let unpacker = workers[worker].unpacker ?? ZstdUnpacker() else { throw outOfMemory(chunk.rawByteCount) }
    workers[worker].unpacker = unpacker
    do throws(FrameProblem) { try unpacker.unpack(stored, to: output) } catch {
      throw failure(error, chunk, part)
    }
  }

  /// The same into memory of the worker; valid until its next chunk.
  func fetch(_ chunk: StoredChunk, of part: FilePart, worker: Int) throws(ModelFileError) -> UnsafeRawBufferPointer {
    let raw = try room(chunk.rawByteCount, \.raw, worker)
    try fetch(chunk, of: part, to: raw, worker: worker)
    return UnsafeRawBufferPointer(start: raw, count: chunk.rawByteCount)
  }

  /// The chunk's bytes as they are in the file, checked; valid until the worker's next chunk.
  func stored(_ chunk: StoredChunk, of part: FilePart, worker: Int) throws(ModelFileError) -> UnsafeRawBufferPointer {
    let scratch = UnsafeMutableRawBufferPointer(start: try room(chunk.storedByteCount, \.scratch, worker), count: chunk.storedByteCount)
    try file.read(into: scratch, at: chunk.offset)
    let stored = UnsafeRawBufferPointer(scratch)
    try check(stored, chunk, part)
    return stored
  }

  /// Whether `bytes` are those that were written.
  func check(_ bytes: UnsafeRawBufferPointer, _ chunk: StoredChunk, _ part: FilePart) throws(ModelFileError) {
    let found = checksum(bytes)
    guard found == chunk.checksum else {
      throw .chunkChecksum(path: file.path, part: part, range: chunk.range, expected: chunk.checksum, found: found)
    }
  }

  /// Whether a range of the file that no chunk has is zero.
  func checkZeros(_ range: Range<Int>, worker: Int) throws(ModelFileError) {
    let piece = 1 << 20
    var start = range.lowerBound
    while start < range.upperBound {
      let count = min(piece, range.upperBound - start)
      let bytes = UnsafeMutableRawBufferPointer(start: try room(piece, \.scratch, worker), count: count)
      try file.read(into: bytes, at: start)
      guard bytes.allSatisfy({ $0 == 0 }) else { throw .paddingNotZero(path: file.path, range: range) }
      start += count
    }
  }

  private func room(
    _ count: Int, _ memory: ReferenceWritableKeyPath<Worker, AlignedMemory?>, _ worker: Int
  ) throws(ModelFileError) -> UnsafeMutableRawPointer {
    if let there = workers[worker][keyPath: memory], there.byteCount >= count { return there.base }
    guard let made = AlignedMemory(byteCount: aligned(count, to: Format.pageAlignment)) else { throw outOfMemory(count) }
    workers[worker][keyPath: memory] = made
    return made.base
  }

  private func outOfMemory(_ count: Int) -> ModelFileError { .outOfMemory(path: file.path, byteCount: count) }

  private func failure(_ problem: FrameProblem, _ chunk: StoredChunk, _ part: FilePart) -> ModelFileError {
    switch problem {
    case .invalid(let reason): .invalidFrame(path: file.path, part: part, range: chunk.range, reason: reason)
    case .contentSize(let found):
      .frameLength(path: file.path, part: part, range: chunk.range, expected: chunk.rawByteCount, found: found)
    }
  }
}

/// Told how many bytes are done, of how many; never by two threads at once, and not always by the same. False stops the work.
package typealias ModelFileProgress = @Sendable (_ done: Int, _ total: Int) -> Bool

/// Adds up what the workers of a loop have done.
final class ProgressMeter: Sendable {
  private let done = Mutex<Int>(0)
  private let total: Int
  private let path: String
  private let report: ModelFileProgress?

  init(_ report: ModelFileProgress?, total: Int, path: String) {
    self.report = report
    self.total = total
    self.path = path
  }

  func add(_ count: Int) throws(ModelFileError) {
    guard let report else { return }
    let goesOn = done.withLock { done in
      done += count
      return report(done, total)
    }
    if !goesOn { throw .cancelled(path: path) }
  }
}

/// The lowest index that any thread has noted.
final class FirstIndex: Sendable {
  private let lowest = Atomic<Int>(Int.max)

  func note(_ index: Int) { lowest.min(index, ordering: .relaxed) }
  /// nil where none was.
  var value: Int? {
    let found = lowest.load(ordering: .relaxed)
    return found == Int.max ? nil : found
  }
}

/// What a frame is not. The caller knows where it was.
enum FrameProblem: Error {
  case invalid(String)
  case contentSize(UInt64)
}

/// Unpacks one frame at a time; not for two threads at once.
final class ZstdUnpacker {
  private let context: OpaquePointer

  /// nil when memory is out.
  init?() {
    guard let context = ZSTD_createDCtx() else { return nil }
    self.context = context
  }

  deinit { ZSTD_freeDCtx(context) }

  /// `frame` is exactly one frame that says that it holds `output.count` bytes, and does.
  func unpack(_ frame: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer) throws(FrameProblem) {
    let size = ZSTD_getFrameContentSize(frame.baseAddress, frame.count)
    // The library's two largest values mean "not told" and "no frame".
    if size == UInt64.max { throw .invalid("the frame does not tell its content's size") }
    if size == UInt64.max - 1 { throw .invalid("no zstd frame begins here") }
    guard size == UInt64(output.count) else { throw .contentSize(size) }
    let length = ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count)
    if ZSTD_isError(length) != 0 { throw .invalid(zstdMessage(length)) }
    guard length == frame.count else { throw .invalid("the frame ends after \(length) of \(frame.count) bytes") }
    let written = ZSTD_decompressDCtx(context, output.baseAddress, output.count, frame.baseAddress, frame.count)
    if ZSTD_isError(written) != 0 { throw .invalid(zstdMessage(written)) }
    guard written == output.count else { throw .contentSize(UInt64(written)) }
  }
}

/// Packs one frame at a time; not for two threads at once.
final class ZstdPacker {
  private let context: OpaquePointer

  /// nil when memory is out.
  init?() {
    guard let context = ZSTD_createCCtx() else { return nil }
    self.context = context
  }

  deinit { ZSTD_freeCCtx(context) }

  /// Bytes that any frame of `count` bytes fits in.
  static func bound(_ count: Int) -> Int { ZSTD_compressBound(count) }

  /// The frame's length in `output`.
  func pack(_ bytes: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer, level: Int) throws(FrameProblem) -> Int {
    let written = ZSTD_compressCCtx(context, output.baseAddress, output.count, bytes.baseAddress, bytes.count, Int32(clamping: level))
    if ZSTD_isError(written) != 0 { throw .invalid(zstdMessage(written)) }
    return written
  }
}

private func zstdMessage(_ code: Int) -> String { String(cString: ZSTD_getErrorName(code)) }
