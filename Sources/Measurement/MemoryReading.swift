import Kernels
import Parallel
import Support

/// A plain loop that reads memory and does nothing else: the limit of everything that takes its operands from memory.
///
/// Different pages of one machine may be read at different speeds, so what is bound by memory is best held against its own operands.
package struct MemoryReading: @unchecked Sendable {
  /// Some hundred kilobytes each, in order.
  private let parts: [UnsafeRawBufferPointer]
  private static let part = 1 << 18

  package let byteCount: Int

  /// Of blocks of memory that live as long as this is used.
  package init(_ blocks: [UnsafeRawBufferPointer]) {
    parts = blocks.flatMap { block in
      stride(from: 0, to: block.count, by: Self.part).map {
        UnsafeRawBufferPointer(rebasing: block[$0..<min(block.count, $0 + Self.part)])
      }
    }
    byteCount = blocks.reduce(0) { $0 + $1.count }
  }

  /// Reads all of it once; seconds of wall time.
  package func seconds(_ pool: ThreadPool) -> Double {
    let start = monotonicSeconds()
    pool.forEachInRuns(parts.count) { index, _ in Self.read(parts[index]) }
    return monotonicSeconds() - start
  }

  @inline(never)
  private static func read(_ part: UnsafeRawBufferPointer) {
    guard let base = part.baseAddress else { return }
    var (a, b) = (SIMD8<UInt64>(), SIMD8<UInt64>())
    for place in stride(from: 0, to: part.count & ~127, by: 128) {
      a &+= base.loadUnaligned(fromByteOffset: place, as: SIMD8<UInt64>.self)
      b &+= base.loadUnaligned(fromByteOffset: place + 64, as: SIMD8<UInt64>.self)
    }
    keep(a &+ b)
  }

  /// Takes a value that has to be computed for it.
  @inline(never) @_optimize(none)
  private static func keep(_ value: SIMD8<UInt64>) {}
}
