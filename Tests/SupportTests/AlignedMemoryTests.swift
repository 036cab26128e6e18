import Support
import Testing

@Suite struct AlignedMemoryTests {
  @Test(arguments: [0, 1, 63, 4096, 1 << 20, 3_000_001])
  func isZeroedAndAligned(_ bytes: Int) throws {
    let memory = try #require(AlignedMemory(byteCount: bytes))
    #expect(memory.byteCount == bytes)
    #expect(UInt(bitPattern: memory.base) % 64 == 0)
    let all = UnsafeRawBufferPointer(start: memory.base, count: bytes)
    #expect(all.allSatisfy { $0 == 0 })
    memory.base.initializeMemory(as: UInt8.self, repeating: 7, count: bytes)
  }

  @Test func refusesTheImpossible() {
    #expect(AlignedMemory(byteCount: .max) == nil)
    #expect(AlignedMemory(byteCount: -1) == nil)
  }
}
