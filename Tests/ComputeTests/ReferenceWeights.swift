import Compute
import Kernels
import Tensors
import TestSupport

/// A weight matrix of each kind beside the values that it stands for.
struct TestWeight {
  let matrix: WeightMatrix
  /// `[rows][columns]`.
  let values: [Double]

  /// Floats stored as `type`; the values are what remains of them.
  init(_ type: ScalarType, rows: Int, columns: Int, _ numbers: inout SeededNumbers) {
    let floats = numbers.floats(rows * columns)
    let bytes: GuardedMemory
    switch type {
    case .float32:
      bytes = GuardedMemory(floats)
      values = floats.map(Double.init)
    case .float16:
      bytes = GuardedMemory(floats.map { Float16($0).bitPattern })
      values = floats.map { Double(Float16($0)) }
    case .bfloat16:
      let bits = floats.map { UInt16($0.bitPattern >> 16) }
      bytes = GuardedMemory(bits)
      values = bits.map { Double(Float(bitPattern: UInt32($0) << 16)) }
    }
    matrix = WeightMatrix(rows: rows, columns: columns, storage: .float(type, UnsafeRawPointer(bytes.base)), owner: bytes)
  }

  /// Random codes, scales and, where asymmetric, minima, in panels of 32 rows.
  init(bits: Int, group: Int, asymmetric: Bool, uneven: Bool = false, rows: Int, columns: Int, _ numbers: inout SeededNumbers) {
    let panels = (rows + 31) / 32
    let groups = (columns + group - 1) / group
    let padded = groups * group
    var codes = [UInt8](repeating: 0, count: panels * 32 * padded * bits / 8)
    var scales = [UInt16](repeating: 0, count: panels * 32 * groups)
    var minima = scales
    var values = [Double](repeating: 0, count: rows * columns)
    for row in 0..<panels * 32 {
      for k in 0..<padded {
        let inside = row < rows && k < columns
        let g = k / group
        let at = (row / 32 * groups + g) * 32 + row % 32
        if k % group == 0 {
          scales[at] = Float16(Float.random(in: 0.001...0.02, using: &numbers)).bitPattern
          minima[at] = Float16(Float.random(in: -0.1...0, using: &numbers)).bitPattern
        }
        // Padding has the code of zero where there is one, and anything else where inputs are zero anyhow.
        let code = inside ? UInt8.random(in: 0...UInt8((1 << bits) - 1), using: &numbers) : UInt8(1 << (bits - 1))
        let panel = row / 32 * (32 * padded * bits / 8)
        if bits == 3 {
          let (block, four) = (panel + k / 32 * 384 + row % 32 * 4 + k % 4, k % 32 / 4)
          if four < 6 {
            codes[block + four / 2 * 128] |= code << (four % 2 * 3)
          } else {
            codes[block + (four - 6) * 128] |= (code % 4) << 6
            codes[block + 256] |= (code / 4) << four
          }
        } else if bits == 4 {
          codes[panel + k / 8 * 128 + row % 32 * 4 + k % 4] |= k % 8 < 4 ? code : code << 4
        } else {
          codes[panel + k / 4 * 128 + row % 32 * 4 + k % 4] = code
        }
        guard inside else { continue }
        let scale = Double(Float16(bitPattern: scales[at]))
        let minimum = Double(Float16(bitPattern: minima[at]))
        let level = uneven ? Double(QuantizedScheme.unevenLevels[Int(code)]) : Double(code) - Double(1 << (bits - 1))
        values[row * columns + k] = asymmetric ? scale * Double(code) + minimum : scale * level
      }
    }
    let owner = [GuardedMemory(codes), GuardedMemory(scales), GuardedMemory(minima)]
    let scheme = QuantizedScheme(bits: bits, group: group, isSymmetric: !asymmetric, isUneven: uneven)
    guard let layout = QuantizedLayout(rows: rows, columns: columns, scheme: scheme) else { preconditionFailure("no such layout") }
    let planes = QuantizedPlanes(
      codes: UnsafeRawPointer(owner[0].base), scales: UnsafePointer(owner[1].base.assumingMemoryBound(to: UInt16.self)),
      minima: asymmetric ? UnsafePointer(owner[2].base.assumingMemoryBound(to: UInt16.self)) : nil)
    matrix = WeightMatrix(rows: rows, columns: columns, storage: .quantized(layout, planes), owner: owner as AnyObject)
    self.values = values
  }

  /// `input · weightᵀ`, `[tokens][rows]`.
  func product(_ input: Matrix) -> [Double] {
    var result: [Double] = []
    for token in 0..<input.rows {
      for row in 0..<matrix.rows {
        var sum = 0.0
        for k in 0..<matrix.columns { sum += Double(input.row(token)[k]) * values[row * matrix.columns + k] }
        result.append(sum)
      }
    }
    return result
  }
}

/// An input that int8 with groups of `group` holds exactly: whole numbers, the largest of each group 127.
func exactInput(_ rows: Int, _ columns: Int, group: Int, _ numbers: inout SeededNumbers) throws -> Matrix {
  var values = (0..<rows * columns).map { _ in Float(Int.random(in: -127...127, using: &numbers)) }
  for row in 0..<rows {
    for k in stride(from: 0, to: columns, by: group) { values[row * columns + k] = 127 }
  }
  return try Matrix(rows: rows, columns: columns, values: values)
}
