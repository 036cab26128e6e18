import Foundation

/// Memory at a 64-byte boundary that ends with its page, but for what is left of the last 64 bytes: what reads or writes beyond that ends
/// the program. Those bytes, and some before the memory, nobody may change.
package final class GuardedMemory {
  package let base: UnsafeMutableRawPointer
  private let byteCount: Int
  private let mapping: UnsafeMutableRawPointer
  private let mapped: Int
  private static let page = sysconf(Int32(_SC_PAGESIZE))
  private static let mark: UInt8 = 0xa5

  package init(byteCount: Int, filledWith byte: UInt8 = 0xff) {
    self.byteCount = byteCount
    let (used, page) = ((byteCount + 63) & ~63, Self.page)
    let whole = (used + page - 1) / page * page
    mapped = whole + 2 * page
    guard let mapping = mmap(nil, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), mapping != MAP_FAILED,
      whole == 0 || mprotect(mapping + page, whole, PROT_READ | PROT_WRITE) == 0
    else { fatalError("no memory for a test: \(String(cString: strerror(errno)))") }
    self.mapping = mapping
    base = mapping + page + whole - used
    base.initializeMemory(as: UInt8.self, repeating: byte, count: byteCount)
    for guardBytes in guards { guardBytes.baseAddress?.initializeMemory(as: UInt8.self, repeating: Self.mark, count: guardBytes.count) }
  }

  package convenience init<Value: BitwiseCopyable>(_ values: [Value]) {
    self.init(byteCount: values.count * MemoryLayout<Value>.stride)
    values.withUnsafeBytes { if let from = $0.baseAddress { base.copyMemory(from: from, byteCount: $0.count) } }
  }

  deinit { munmap(mapping, mapped) }

  /// Up to 256 bytes before the memory, and what is left of its last line.
  private var guards: [UnsafeMutableRawBufferPointer] {
    let before = min(256, base - mapping - Self.page)
    return [(base - before, before), (base + byteCount, -byteCount & 63)].map { UnsafeMutableRawBufferPointer(start: $0, count: $1) }
  }

  package var isGuardIntact: Bool { guards.allSatisfy { $0.allSatisfy { $0 == Self.mark } } }

  package func pointer<Value>(to: Value.Type) -> UnsafeMutablePointer<Value> { base.assumingMemoryBound(to: Value.self) }
}
