import Parallel
import Synchronization

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
