import Parallel

/// One block of memory that grows to the largest request. What it held before is gone after each.
final class Scratch {
  private var memory: AlignedMemory?

  var byteCount: Int { memory?.byteCount ?? 0 }

  /// At least `bytes`, at a 64-byte boundary, with undefined contents.
  func reserve(_ bytes: Int) throws(ComputeError) -> UnsafeMutableRawPointer {
    if let memory, memory.byteCount >= bytes { return memory.base }
    memory = nil
    guard let larger = AlignedMemory(byteCount: max(64, bytes)) else { throw .outOfMemory(bytes: bytes) }
    memory = larger
    return larger.base
  }

  /// `workers` parts of at least `bytes` each, at 64-byte boundaries.
  func reserve(_ bytes: Int, workers: Int) throws(ComputeError) -> WorkerScratch {
    // A page apart, so that workers share no cache line and no page.
    let stride = (bytes + 4095) / 4096 * 4096
    return WorkerScratch(base: try reserve(stride * workers), stride: stride)
  }
}

/// A part of scratch memory for each worker of a loop.
struct WorkerScratch {
  let base: UnsafeMutableRawPointer
  let stride: Int

  subscript(worker: Int) -> UnsafeMutableRawPointer { base + worker * stride }
}

/// Lays out several arrays in one block of scratch memory, each at a 64-byte boundary.
struct ScratchLayout {
  private(set) var byteCount = 0

  /// The offset of room for `count` values.
  mutating func add<Value: BitwiseCopyable>(_ count: Int, of _: Value.Type) -> Int {
    defer { byteCount += (count * MemoryLayout<Value>.stride + 63) / 64 * 64 }
    return byteCount
  }
}

extension UnsafeMutableRawPointer {
  /// The values from `offset` bytes on.
  func values<Value: BitwiseCopyable>(_ offset: Int, of type: Value.Type) -> UnsafeMutablePointer<Value> {
    (self + offset).assumingMemoryBound(to: type)
  }
}
