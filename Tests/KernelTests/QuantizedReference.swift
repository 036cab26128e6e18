import Kernels
import Tensors
import TestSupport

/// One token's activations as int8, by the book.
struct ReferenceRow {
  var values: [Int8] = []
  var scales: [Float] = []
  /// Integer sums of the groups' values.
  var sums: [Int32] = []

  init(_ x: [Float], groups: Int, group: Int) {
    for start in stride(from: 0, to: groups * group, by: group) {
      let part = (start..<start + group).map { $0 < x.count ? x[$0] : 0 }
      let isFinite = part.allSatisfy(\.isFinite)
      let greatest = part.map(\.magnitude).reduce(0, max)
      let isZero = isFinite && greatest < 0x1p-116
      scales.append(!isFinite ? .nan : isZero ? 0 : greatest / 127)
      let integers = part.map { isZero || !isFinite ? 0 : Int8(($0 * (127 / greatest)).rounded(.toNearestOrEven)) }
      values += integers
      sums.append(integers.reduce(0) { $0 + Int32($1) })
    }
  }
}

/// A panel of 32 rows with everything that its layout hides: codes `[row][input]`, scales and minima `[group][row]`.
struct ReferencePanel {
  var bits: Int
  var isUneven = false
  let groups: Int
  let group: Int
  var codes: [UInt8]
  var scales: [Float16]
  var minima: [Float16]?

  var columns: Int { groups * group }
  private var zero: Int32 { 1 << (bits - 1) }

  init(bits: Int, isUneven: Bool = false, groups: Int, group: Int, hasMinima: Bool, _ numbers: inout SeededNumbers) {
    self.bits = bits
    self.isUneven = isUneven
    self.groups = groups
    self.group = group
    codes = (0..<panelRows * groups * group).map { _ in UInt8.random(in: 0...UInt8((1 << bits) - 1), using: &numbers) }
    scales = (0..<groups * panelRows).map { _ in Float16(Float.random(in: 0.001...0.02, using: &numbers)) }
    minima = hasMinima ? (0..<groups * panelRows).map { _ in Float16(Float.random(in: -0.2...0.1, using: &numbers)) } : nil
  }

  /// The codes as a file has them: see `QuantizedPanel`.
  func packedCodes() -> [UInt8] {
    var packed = [UInt8](repeating: 0, count: panelRows * columns * bits / 8)
    for row in 0..<panelRows {
      for input in 0..<columns {
        let code = codes[row * columns + input]
        let place = row * 4 + input % 4
        switch bits {
        case 3:
          let block = input / 32 * 384 + place
          let four = input % 32 / 4
          if four < 6 {
            packed[block + four / 2 * 128] |= code << (four % 2 * 3)
          } else {
            packed[block + (four - 6) * 128] |= (code % 4) << 6
            packed[block + 256] |= (code / 4) << four
          }
        case 4: packed[input / 8 * 128 + place] |= input % 8 < 4 ? code : code << 4
        default: packed[input / 4 * 128 + place] = code
        }
      }
    }
    return packed
  }

  /// What a code stands for without minima, before the scale.
  private func level(_ code: UInt8) -> Int32 { isUneven ? Int32(QuantizedScheme.unevenLevels[Int(code)]) : Int32(code) - zero }

  /// Σ level · value over a group, exact.
  func integerSum(_ row: Int, _ group: Int, _ values: UnsafePointer<Int8>) -> Int32 {
    codes.withUnsafeBufferPointer { codes in
      var sum: Int32 = 0
      for input in group * self.group..<(group + 1) * self.group {
        sum += level(codes[row * columns + input]) * Int32(values[input])
      }
      return sum
    }
  }

  /// What `QuantizedKernels` promises, to the last bit: `[32]`.
  func product(_ token: ReferenceRow) -> [Float] {
    token.values.withUnsafeBufferPointer { values in
      (0..<panelRows).map { row in
        var result: Float = 0
        for group in 0..<groups {
          let scale = Float(scales[group * panelRows + row])
          let integers = Float(integerSum(row, group, values.baseAddress!))
          result.addProduct(scale * token.scales[group], integers)
          if let minima {
            let minimum = Float(minima[group * panelRows + row]).addingProduct(Float(zero), scale)
            result.addProduct(minimum, token.scales[group] * Float(token.sums[group]))
          }
        }
        return result
      }
    }
  }

  /// The plain sum over dequantized weights and activations, in doubles, and the sum of its terms' magnitudes: `[32]`.
  func plainProduct(_ token: ReferenceRow) -> [(sum: Double, magnitude: Double)] {
    (0..<panelRows).map { row in
      var sum = 0.0
      var magnitude = 0.0
      for input in 0..<columns {
        let place = input / group * panelRows + row
        let code = codes[row * columns + input]
        let weight = Double(scales[place]) * (minima == nil ? Double(level(code)) : Double(code)) + (minima.map { Double($0[place]) } ?? 0)
        let term = weight * Double(token.values[input]) * Double(token.scales[input / group])
        sum += term
        magnitude += abs(term)
      }
      return (sum, magnitude)
    }
  }
}

/// Runs a table's kernels, or its default for widths that it has none for, on a panel and tokens. Memory that they may not touch is
/// checked.
struct KernelRun {
  let output: [[Float]]
  let rows: QuantizedRows
  let isIntact: Bool
  private let owner: GuardedMemory
  private let interleave: Int

  init(_ kernels: QuantizedKernels, _ panel: ReferencePanel, _ tokens: ArraySlice<[Float]>, isDefault: Bool = false) {
    interleave = kernels.interleave ?? panel.group
    let bytes = QuantizedRows.byteCount(count: tokens.count, groups: panel.groups, group: panel.group)
    owner = GuardedMemory(byteCount: bytes)
    rows = QuantizedRows(memory: owner.base, count: tokens.count, groups: panel.groups, group: panel.group)
    let columns = tokens.first?.count ?? 0
    kernels.quantizeRows(tokens.flatMap(\.self), columns, columns, rows, 0..<tokens.count, 0..<rows.groups)

    let codes = GuardedMemory(panel.packedCodes())
    let scales = GuardedMemory(panel.scales.map(\.bitPattern))
    let minima = panel.minima.map { GuardedMemory($0.map(\.bitPattern)) }
    // Filled with NaN: a kernel may rely neither on the output's nor on the scratch's content.
    let result = GuardedMemory(byteCount: tokens.count * panelRows * 4)
    let scratch = GuardedMemory(
      byteCount: isDefault
        ? kernels.decodedScratchBytes(columns: rows.columns) : kernels.scratchBytes(bits: panel.bits, columns: rows.columns))
    let operand = QuantizedPanel(
      codes: codes.base, scales: scales.pointer(to: UInt16.self), minima: minima.map { UnsafePointer($0.pointer(to: UInt16.self)) },
      groups: panel.groups, group: panel.group)
    let multiply = isDefault ? kernels.multiplyDecoded : kernels.multiply
    multiply(panel.bits, panel.isUneven, operand, rows, result.pointer(to: Float.self), scratch.base)
    let values = result.pointer(to: Float.self)
    output = (0..<tokens.count).map { token in (0..<panelRows).map { values[token * panelRows + $0] } }
    isIntact = owner.isGuardIntact && result.isGuardIntact && scratch.isGuardIntact
  }

  /// A token's values, scales and sums, out of their tile.
  func token(_ token: Int) -> (values: [Int8], scales: [Float], sums: [Float]) {
    let tile = token / tileTokens * tileTokens
    let width = min(tileTokens, rows.count - tile)
    let values = (0..<rows.columns).map { input in
      let (run, place) = input.quotientAndRemainder(dividingBy: interleave)
      return rows.values[tile * rows.columns + (run * width + token - tile) * interleave + place]
    }
    let places = (0..<rows.groups).map { tile * rows.groups + $0 * width + token - tile }
    return (values, places.map { rows.scales[$0] }, places.map { rows.sums[$0] })
  }
}
