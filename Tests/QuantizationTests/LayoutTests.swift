import Quantization
import Tensors
import Testing

struct LayoutTests {
  @Test
  func sizes() throws {
    let layout = try #require(QuantizedLayout(rows: 40, columns: 100, scheme: scheme(4, 64, symmetric: true)))
    #expect(layout.panels == 2 && layout.groups == 2 && layout.paddedColumns == 128)
    #expect(layout.panelCodeBytes == 32 * 128 / 2 && layout.codeBytes == 64 * 128 / 2)
    #expect(layout.panelScaleCount == 64 && layout.panelScaleBytes == 128 && layout.scaleBytes == 64 * 2 * 2)
    #expect(layout.planeBytes == [4096, 256] && layout.panelBytes == 2048 + 128)
    let wide = try #require(QuantizedLayout(rows: 1, columns: 100, scheme: scheme(8, 64, symmetric: false)))
    #expect(wide.panelCodeBytes == 32 * 128 && wide.planeBytes == [4096, 128, 128] && wide.panelBytes == 4096 + 256)
    #expect([0, 1, 32, 33, 64].map { QuantizedLayout.panels(rows: $0) } == [0, 1, 1, 2, 2])
  }

  @Test
  func refusals() {
    for (bits, group) in [(2, 32), (5, 32), (4, 0), (4, -32), (4, 16), (4, 48), (8, 65568)] {
      #expect(QuantizedLayout(rows: 1, columns: 1, scheme: scheme(bits, group, symmetric: true)) == nil)
    }
    for (bits, symmetric) in [(3, true), (8, true), (4, false)] {
      let scheme = QuantizedScheme(bits: bits, group: 32, isSymmetric: symmetric, isUneven: true)
      #expect(QuantizedLayout(rows: 1, columns: 1, scheme: scheme) == nil)
    }
    for (rows, columns) in [(0, 1), (1, 0), (1, Int.max), (Int.max, 1), (Int.max, Int.max), (1 << 30, 1 << 30)] {
      #expect(QuantizedLayout(rows: rows, columns: columns, scheme: scheme(4, 32, symmetric: true)) == nil)
    }
  }

  /// Two rows of 32 weights that 4 bits hold without loss: every byte of the panel.
  @Test
  func bytesOf4SymmetricBits() throws {
    let rows: [[Float]] = [(0..<32).map { Float($0 % 16 - 8) }, (0..<32).map { Float($0 % 16 - 8) * -0.5 }]
    let panel = try Panel(rows.flatMap(\.self), rows: 2, scheme(4, 32, symmetric: true))
    // Inputs 0…3 in the low halves, 4…7 in the high ones; then 8…15, and again.
    let row: [[UInt8]] = [[0x40, 0x51, 0x62, 0x73], [0xc8, 0xd9, 0xea, 0xfb]]
    for block in 0..<4 {
      let expected = row[block % 2] + row[block % 2] + [UInt8](repeating: 0x88, count: 120)
      #expect(Array(panel.codes[block * 128..<(block + 1) * 128]) == expected)
    }
    // 1 and −0.5: the extreme has code 0, whatever its sign.
    #expect(panel.scales == [0x3c00, 0xb800] + [UInt16](repeating: 0, count: 30))
  }

  /// Weights that uneven levels hold without loss, in the same bytes.
  @Test
  func bytesOfUnevenCodes() throws {
    let levels = QuantizedScheme.unevenLevels.map(Float.init)
    #expect(levels.count == 16 && levels == levels.sorted() && levels[unevenScheme(32).zero] == 0)
    let rows: [[Float]] = [(0..<32).map { levels[$0 % 16] }, (0..<32).map { levels[$0 % 16] * -0.5 }]
    let panel = try Panel(rows.flatMap(\.self), rows: 2, unevenScheme(32))
    let row: [[UInt8]] = [[0x40, 0x51, 0x62, 0x73], [0xc8, 0xd9, 0xea, 0xfb]]
    for block in 0..<4 {
      let expected = row[block % 2] + row[block % 2] + [UInt8](repeating: 0x88, count: 120)
      #expect(Array(panel.codes[block * 128..<(block + 1) * 128]) == expected)
    }
    #expect(panel.scales == [0x3c00, 0xb800] + [UInt16](repeating: 0, count: 30))
    #expect(panel.restored == rows.flatMap(\.self))
  }

  /// The same of 3 bits: each of the three parts.
  @Test
  func bytesOf3SymmetricBits() throws {
    let rows: [[Float]] = [(0..<32).map { Float($0 % 8 - 4) }, (0..<32).map { Float($0 % 8 - 4) * -0.5 }]
    let panel = try Panel(rows.flatMap(\.self), rows: 2, scheme(3, 32, symmetric: true))
    #expect(panel.codes.count == 384)
    // Codes 0…3 and 4…7 by turns: pairs of them, and above these the low bits of the last two fours; 0 and 1 are their highest.
    let low: [UInt8] = [0x20, 0x69, 0xb2, 0xfb]
    let last: [UInt8] = low.map { $0 & 0x3f | 0x80 }
    for (part, expected) in [low, low, last].enumerated() {
      let padding: UInt8 = part < 2 ? 0x24 : 0xe4
      #expect(Array(panel.codes[part * 128..<(part + 1) * 128]) == expected + expected + [UInt8](repeating: padding, count: 120))
    }
    #expect(panel.scales == [0x3c00, 0xb800] + [UInt16](repeating: 0, count: 30))
  }

  /// One row of 40 weights in 8 bits: two groups, the second padded.
  @Test
  func bytesOf8SymmetricBits() throws {
    let values = (0..<40).map { column -> Float in
      if column < 32 { return Float(127 - 8 * column) }
      return column == 32 ? -254 : Float(2 * (column - 32))
    }
    let panel = try Panel(values, rows: 1, scheme(8, 32, symmetric: true))
    for column in 0..<64 {
      let code: Int
      switch column {
      case ..<32: code = 255 - 8 * column
      case 32: code = 1
      case ..<40: code = 96 + column
      default: code = 128
      }
      #expect(panel.codes[column / 4 * 128 + column % 4] == UInt8(code))
    }
    let others = panel.codes.enumerated().filter { $0.offset % 128 >= 4 }
    #expect(others.allSatisfy { $0.element == 128 })
    #expect(panel.scales[0] == 0x3c00 && panel.scales[32] == 0x4000)
    #expect(panel.scales.enumerated().allSatisfy { $0.offset % 32 == 0 || $0.element == 0 })
  }

  /// A minimum of −3 and a scale of 0.25.
  @Test(arguments: [3, 4, 8])
  func bytesOfAsymmetricBits(_ bits: Int) throws {
    let last = 1 << bits - 1
    let codes = (0..<32).map { $0 == 31 ? last : $0 * 7 % (last + 1) }
    let panel = try Panel(codes.map { -3 + Float($0) * 0.25 }, rows: 1, scheme(bits, 32, symmetric: false))
    for column in 0..<32 {
      func byte(_ part: Int) -> Int { Int(panel.codes[part * 128 + column % 4]) }
      let four = column / 4
      let code: Int
      switch bits {
      case 3: code = four < 6 ? (byte(four / 2) >> (four % 2 * 3)) & 7 : (byte(four - 6) >> 6) | ((byte(2) >> four) & 1) << 2
      case 4: code = four % 2 == 0 ? byte(four / 2) & 15 : byte(four / 2) >> 4
      default: code = byte(four)
      }
      #expect(code == codes[column])
    }
    #expect(panel.scales == [0x3400] + [UInt16](repeating: 0, count: 31))
    #expect(panel.minima == [0xc200] + [UInt16](repeating: 0, count: 31))
    #expect(panel.codes[4] == 0)
  }
}
