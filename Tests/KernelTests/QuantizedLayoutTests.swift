import Kernels
import TestSupport
import Testing

struct QuantizedLayoutTests {
  /// The planes of 14 tokens: where each begins, and where the second tile does.
  @Test
  func planes() {
    let memory = GuardedMemory(byteCount: QuantizedRows.byteCount(count: 14, groups: 3, group: 64))
    let rows = QuantizedRows(memory: memory.base, count: 14, groups: 3, group: 64)
    func offset<Value>(_ pointer: UnsafeMutablePointer<Value>) -> Int { UnsafeMutableRawPointer(pointer) - memory.base }
    #expect(rows.columns == 192 && rows.tiles == 2)
    let offsets: [Int] = [offset(rows.values), offset(rows.scales), offset(rows.sums), offset(rows.offsets)]
    #expect(offsets == [0, 2688, 2688 + 192, 2688 + 384] as [Int])
    #expect(QuantizedRows.byteCount(count: 14, groups: 3, group: 64) == 2688 + 384 + 384)

    let second = rows.tiles(1..<2)
    #expect(second.count == 2)
    #expect(offset(second.values) == 12 * 192)
    #expect(offset(second.scales) - offset(rows.scales) == 12 * 3 * 4)
    #expect(offset(second.offsets) - offset(rows.offsets) == 12 * 6 * 4)
    #expect(rows.tiles(0..<1).count == 12)
  }

  /// A panel's bytes, written out: 32 inputs in 4 bits, row r's input k having code (r + k) mod 16.
  @Test(arguments: tableNames)
  func bytesOf4Bits(_ table: String) throws {
    var codes: [UInt8] = []
    for block in 0..<4 {
      for row in 0..<32 {
        for byte in 0..<4 {
          let low = (row + 8 * block + byte) % 16
          let high = (row + 8 * block + byte + 4) % 16
          codes.append(UInt8(high << 4 | low))
        }
      }
    }
    #expect(codes[..<8] == [0x40, 0x51, 0x62, 0x73, 0x51, 0x62, 0x73, 0x84])
    try checkOneInput(table, bits: 4, codes) { row, input in Float((row + input) % 16 - 8) }
  }

  /// The same in 3 bits: the fours of input 0, 8 and 16 in bits 0–2 of the three parts, those of 4, 12 and 20 in bits 3–5, and the last two
  /// in what is left. Row r's input k has code (r + k) mod 8 where k mod 8 < 4, else (r + 3k) mod 8.
  @Test(arguments: tableNames)
  func bytesOf3Bits(_ table: String) throws {
    func code(_ row: Int, _ input: Int) -> Int { (row + input * (input % 8 < 4 ? 1 : 3)) % 8 }
    var codes: [UInt8] = []
    for part in 0..<3 {
      for row in 0..<32 {
        for byte in 0..<4 {
          let pair = code(row, 8 * part + byte) | code(row, 8 * part + 4 + byte) << 3
          let (seventh, eighth) = (code(row, 24 + byte), code(row, 28 + byte))
          codes.append(UInt8(pair | [seventh % 4, eighth % 4, seventh / 4 | eighth / 4 * 2][part] << 6))
        }
      }
    }
    #expect(codes[..<4] == [0x20, 0x79, 0x92, 0xeb])
    try checkOneInput(table, bits: 3, codes) { row, input in Float(code(row, input) - 4) }
  }

  /// The same bytes with uneven levels.
  @Test(arguments: tableNames)
  func bytesOfUnevenCodes(_ table: String) throws {
    let codes = (0..<4 * 128).map { place -> UInt8 in
      let first = place / 4 % 32 + 8 * (place / 128) + place % 4
      return UInt8(((first + 4) % 16) << 4 | first % 16)
    }
    #expect(codes[..<8] == [0x40, 0x51, 0x62, 0x73, 0x51, 0x62, 0x73, 0x84])
    let levels: [Float] = [-31, -25, -19, -15, -11, -8, -5, -2, 0, 3, 6, 9, 12, 16, 20, 26]
    try checkOneInput(table, bits: 4, isUneven: true, codes) { row, input in levels[(row + input) % 16] }
  }

  /// The same in 8 bits, with code (8r + k) mod 256.
  @Test(arguments: tableNames)
  func bytesOf8Bits(_ table: String) throws {
    var codes: [UInt8] = []
    for block in 0..<8 {
      for row in 0..<32 {
        for byte in 0..<4 { codes.append(UInt8((8 * row + 4 * block + byte) % 256)) }
      }
    }
    #expect(codes[128..<136] == [4, 5, 6, 7, 12, 13, 14, 15])
    try checkOneInput(table, bits: 8, codes) { row, input in Float((8 * row + input) % 256 - 128) }
  }

  /// Tokens that are 127 in one input and 0 elsewhere read the weights out one by one; scales are 1 in even rows and 0.5 in odd ones.
  private func checkOneInput(
    _ table: String, bits: Int, isUneven: Bool = false, _ codes: [UInt8], _ weight: (Int, Int) -> Float
  ) throws {
    let kernels = try quantizedKernels(table)
    let codes = GuardedMemory(codes)
    let scales = GuardedMemory((0..<32).map { Float16($0 % 2 == 0 ? 1 : 0.5).bitPattern })
    let panel = QuantizedPanel(codes: codes.base, scales: scales.pointer(to: UInt16.self), minima: nil, groups: 1, group: 32)
    for count in [1, 32] {
      let memory = GuardedMemory(byteCount: QuantizedRows.byteCount(count: count, groups: 1, group: 32))
      let rows = QuantizedRows(memory: memory.base, count: count, groups: 1, group: 32)
      let output = GuardedMemory(byteCount: count * 128)
      let scratch = GuardedMemory(byteCount: kernels.scratchBytes)
      for start in stride(from: 0, to: 32, by: count) {
        for token in 0..<count {
          var x = [Float](repeating: 0, count: 32)
          x[start + token] = 127
          kernels.quantizeRows(x, 32, 32, rows, token..<token + 1, 0..<rows.groups)
        }
        kernels.multiply(bits: bits, isUneven: isUneven, panel, rows, output.pointer(to: Float.self), scratch.base)
        for token in 0..<count {
          for row in 0..<32 {
            let expected = 127 * weight(row, start + token) * (row % 2 == 0 ? 1 : 0.5)
            #expect(output.pointer(to: Float.self)[token * 32 + row] == expected)
          }
        }
      }
    }
  }
}
