import Compute
import Kernels

/// Memory at a 64-byte boundary, with bytes after it that nobody may change.
final class GuardedMemory {
  let base: UnsafeMutableRawPointer
  private let byteCount: Int
  private static let guardBytes = 256

  init(byteCount: Int, filledWith byte: UInt8 = 0xff) {
    self.byteCount = byteCount
    base = .allocate(byteCount: byteCount + Self.guardBytes, alignment: 64)
    base.initializeMemory(as: UInt8.self, repeating: byte, count: byteCount)
    (base + byteCount).initializeMemory(as: UInt8.self, repeating: 0xa5, count: Self.guardBytes)
  }

  convenience init<Value: BitwiseCopyable>(_ values: [Value]) {
    self.init(byteCount: values.count * MemoryLayout<Value>.stride)
    values.withUnsafeBytes { base.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(base), byteCount: $0.count) }
  }

  deinit { base.deallocate() }

  var isGuardIntact: Bool { UnsafeRawBufferPointer(start: base + byteCount, count: Self.guardBytes).allSatisfy { $0 == 0xa5 } }

  func pointer<Value>(to: Value.Type) -> UnsafeMutablePointer<Value> { base.assumingMemoryBound(to: Value.self) }
}

/// The tables that this machine runs, by name: the arguments of all tests of kernels.
let tableNames = KernelChoice.available.map(\.name)

func quantizedKernels(_ name: String) throws -> QuantizedKernels { try KernelChoice.kernels(named: name).quantized }
