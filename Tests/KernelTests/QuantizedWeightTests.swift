import Kernels
import Quantization
import Tensors
import TestSupport
import Testing

struct QuantizedWeightTests {
  /// From weights to panels to products: what the quantizer writes is what the kernels read.
  @Test(arguments: tableNames, [3, 4, 8])
  func productsOfQuantizedWeights(_ table: String, _ bits: Int) throws {
    let kernels = try quantizedKernels(table)
    var numbers = SeededNumbers(5)
    for (symmetric, group, columns, rows) in [(true, 64, 200, 32), (false, 64, 128, 19), (true, 128, 129, 1), (false, 32, 31, 32)] {
      let scheme = QuantizedScheme(bits: bits, group: group, isSymmetric: symmetric)
      let layout = try #require(QuantizedLayout(rows: rows, columns: columns, scheme: scheme))
      let weights = (0..<rows * columns).map { _ in Float.random(in: -1...1, using: &numbers) }
      let codes = GuardedMemory(byteCount: layout.panelCodeBytes)
      let scales = GuardedMemory(byteCount: layout.panelScaleBytes)
      let minima = GuardedMemory(byteCount: layout.panelScaleBytes)
      let halves = (scales.pointer(to: UInt16.self), minima.pointer(to: UInt16.self))
      try layout.quantize(weights, stride: columns, rows: rows, codes: codes.base, scales: halves.0, minima: halves.1)
      #expect(codes.isGuardIntact && scales.isGuardIntact && minima.isGuardIntact)
      var restored = [Float](repeating: 0, count: 32 * columns)
      layout.dequantize(codes: codes.base, scales: halves.0, minima: halves.1, rows: 32, to: &restored, stride: columns)
      #expect(restored[(rows * columns)...].allSatisfy { $0 == 0 })

      for count in [1, 5, 13] {
        let tokens = (0..<count).map { _ in (0..<columns).map { _ in Float.random(in: -1...1, using: &numbers) } }
        let memory = GuardedMemory(byteCount: QuantizedRows.byteCount(count: count, groups: layout.groups, group: group))
        let activations = QuantizedRows(memory: memory.base, count: count, groups: layout.groups, group: group)
        kernels.quantizeRows(tokens.flatMap(\.self), columns, columns, activations, 0..<count, 0..<activations.groups)
        let output = GuardedMemory(byteCount: count * 128)
        let scratch = GuardedMemory(byteCount: kernels.scratchBytes)
        let panel = QuantizedPanel(
          codes: codes.base, scales: halves.0, minima: symmetric ? nil : UnsafePointer(halves.1), groups: layout.groups, group: group)
        kernels.multiply(bits: bits, panel, activations, output.pointer(to: Float.self), scratch.base)

        for (index, token) in tokens.enumerated() {
          for row in 0..<32 {
            var sum = 0.0
            for column in 0..<columns { sum += Double(restored[row * columns + column]) * Double(token[column]) }
            // Activations are rounded to 1/127 of the greatest: an error of √columns · 0.6 / 254 at most, in all likelihood.
            let found = Double(output.pointer(to: Float.self)[index * 32 + row])
            #expect(abs(found - sum) < 0.0025 * Double(columns).squareRoot() * 2)
          }
        }
      }
    }
  }
}
