import Compute
import Kernels
import Tensors
import TestSupport
import Testing

/// Products of floats, with every number of rows that a tile can have and strides of all kinds.
@Suite struct ProductKernelTests {
  @Test(arguments: kernelNames) func multiply(_ name: String) throws {
    let kernels = try KernelChoice.kernels(named: name).float
    var numbers = SeededNumbers(1)
    for m in Array(0...17) + [23, 32, 41] {
      for k in [0, 1, 2, 7, 32, 65] {
        for accumulate in [false, true] {
          let (aStride, bStride, cStride) = (k + 3, 35, 37)
          let a = numbers.floats(max(1, m * aStride))
          let b = numbers.floats(max(1, k * bStride))
          let before = numbers.floats(m * cStride + 40)
          var c = before
          kernels.multiply(m, k, a, aStride, b, bStride, &c, cStride, accumulate)
          var expected = before.map(Double.init)
          for i in 0..<m {
            for j in 0..<32 {
              let sum = (0..<k).reduce(0.0) { $0 + Double(a[i * aStride + $1]) * Double(b[$1 * bStride + j]) }
              expected[i * cStride + j] = accumulate ? expected[i * cStride + j] + sum : sum
            }
          }
          expectClose(c, expected, within: 2e-5, "\(m) rows, \(k) deep")
        }
      }
    }
  }

  /// Float16 operands are floats too: the same sums, to the last bit, as of those floats.
  @Test(arguments: kernelNames) func multiplyHalf(_ name: String) throws {
    let kernels = try KernelChoice.kernels(named: name).float
    var numbers = SeededNumbers(3)
    for m in 0...17 {
      for k in [0, 1, 5, 128] {
        for accumulate in [false, true] {
          let (aStride, bStride, cStride) = (k + 1, 34, 33)
          let a = numbers.floats(max(1, m * aStride))
          let halves = numbers.floats(max(1, k * bStride)).map { Float16($0) }
          let b = halves.map(Float.init)
          let bits = halves.map(\.bitPattern)
          let before = numbers.floats(m * cStride + 40)
          var (c, expected) = (before, before)
          kernels.multiply(m, k, a, aStride, b, bStride, &expected, cStride, accumulate)
          kernels.multiplyHalf(m, k, a, aStride, bits, bStride, &c, cStride, accumulate)
          #expect(c == expected, "\(m) rows, \(k) deep")
        }
      }
    }
  }

  @Test(arguments: kernelNames, ScalarType.allCases) func packPanel(_ name: String, _ type: ScalarType) throws {
    let kernels = try KernelChoice.kernels(named: name).float
    var numbers = SeededNumbers(2)
    for rows in [1, 3, 8, 17, 31, 32] {
      for columns in [1, 2, 5, 16, 33] {
        let stride = columns + 2
        let weight = TestWeight(type, rows: rows, columns: stride, &numbers)
        guard case .float(_, let base) = weight.matrix.storage else { continue }
        var panel = [Float](repeating: 5, count: columns * 32 + 1)
        kernels.packPanel(type, base, stride, rows, columns, &panel)
        for column in 0..<columns {
          for row in 0..<32 {
            let expected = row < rows ? Float(weight.values[row * stride + column]) : 0
            if panel[column * 32 + row] != expected { Issue.record("row \(row), column \(column) of \(rows)×\(columns)") }
          }
        }
        #expect(panel[columns * 32] == 5)
      }
    }
  }
}
