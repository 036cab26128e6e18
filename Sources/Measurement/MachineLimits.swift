import Kernels
import Parallel
import Support

/// What the machine can do at most with one kernel table on the threads of a pool: what stages and kernels are measured against. Each is
/// the best of many short runs, by wall time.
package struct MachineLimits: Sendable {
  /// int8 multiply-adds from register to register (`vpdpbusd` where there is one), in 10⁹ a second.
  package let products: Double
  /// float multiply-adds, of a product of matrices that lie in the first-level cache, in 10⁹ a second.
  package let floatProducts: Double
  /// Bytes read from memory, in 10⁹ a second.
  package let bytes: Double

  /// nil where memory is out. `budget` is seconds for each of the three.
  package init?(_ kernels: KernelTable, _ pool: ThreadPool, budget: Double = 0.6) {
    products = Self.products(kernels.quantized, pool, budget)
    guard let floats = Self.floatProducts(kernels.float, pool, budget), let bytes = Self.bytesRead(pool, budget) else { return nil }
    floatProducts = floats
    self.bytes = bytes
  }

  private static func products(_ kernels: QuantizedKernels, _ pool: ThreadPool, _ budget: Double) -> Double {
    let threads = pool.threadCount
    // Some milliseconds: much longer than a clock's tick.
    let iterations = 2_000_000
    let count = kernels.multiplyInRegisters(1) * iterations * threads
    let seconds = fastest(budget: budget) { pool.forEach(threads) { _, _ in _ = kernels.multiplyInRegisters(iterations) } }
    return Double(count) / 1e9 / seconds
  }

  private static func floatProducts(_ kernels: FloatKernels, _ pool: ThreadPool, _ budget: Double) -> Double? {
    // 8 × 128 by 128 × 32: 21 KiB.
    let (rows, inner, columns) = (8, 128, 32)
    let threads = pool.threadCount
    let size = (rows * inner + inner * columns + rows * columns) * MemoryLayout<Float>.stride
    let stride = (size + 4095) / 4096 * 4096
    guard let memory = AlignedMemory(byteCount: stride * threads) else { return nil }
    let repetitions = 20_000
    let seconds = fastest(budget: budget) {
      pool.forEach(threads) { _, worker in
        let a = (memory.base + worker * stride).assumingMemoryBound(to: Float.self)
        let b = a + rows * inner
        let c = b + inner * columns
        for _ in 0..<repetitions { kernels.multiply(rows, inner, a, inner, b, columns, c, columns, false) }
      }
    }
    return Double(repetitions * threads * rows * inner * columns) / 1e9 / seconds
  }

  private static func bytesRead(_ pool: ThreadPool, _ budget: Double) -> Double? {
    let size = 256 << 20
    guard let memory = AlignedMemory(byteCount: size) else { return nil }
    // Every page another: a host may keep only one of several that are the same.
    for page in 0..<size / 4096 { memory.base.storeBytes(of: page, toByteOffset: page * 4096, as: Int.self) }
    let reading = MemoryReading([UnsafeRawBufferPointer(start: memory.base, count: size)])
    return Double(size) / 1e9 / fastest(budget: budget) { _ = reading.seconds(pool) }
  }
}

/// Seconds of the fastest of the runs of `body` that fit into `budget` seconds, three at least. Wall time: processor time over threads
/// would call a run twice as fast in which one of two threads did all the work. On a busy machine some short runs still have all
/// processors.
package func fastest(budget: Double = 0.6, _ body: () -> Void) -> Double {
  var least = Double.infinity
  var total = 0.0
  var runs = 0
  while total < budget || runs < 3 {
    let start = monotonicSeconds()
    body()
    let seconds = monotonicSeconds() - start
    least = min(least, seconds)
    total += seconds
    runs += 1
  }
  return least
}

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
