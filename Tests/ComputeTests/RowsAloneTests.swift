import Compute
import Kernels
import Tensors
import TestSupport
import Testing

/// What a row becomes among others, beside what it becomes as the only one.
@Suite struct RowsAloneTests {
  private static let columns = 250

  private func weights(rows: Int, _ numbers: inout SeededNumbers) -> [WeightMatrix] {
    var weights: [WeightMatrix] = []
    for (bits, group, asymmetric) in [(4, 32, false), (4, 64, true), (4, 128, false), (8, 32, true), (8, 128, false)] {
      let weight = TestWeight(bits: bits, group: group, asymmetric: asymmetric, rows: rows, columns: Self.columns, &numbers).matrix
      var exact = weight
      exact.input = .exact
      weights += [weight, exact]
    }
    for type in ScalarType.allCases {
      let weight = TestWeight(type, rows: rows, columns: Self.columns, &numbers).matrix
      var rounded = weight
      rounded.input = .rounded(group: 64)
      weights += [weight, rounded]
    }
    return weights
  }

  /// Bit for bit the same, in every number of rows up to two tiles, with others behind that are not alone.
  @Test(arguments: kernelNames)
  func linear(_ kernels: String) throws {
    var numbers = SeededNumbers(31)
    let engine = try engine(kernels)
    for weight in weights(rows: 70, &numbers) {
      for (alone, others) in [(1, 0), (2, 0), (3, 5), (4, 0), (7, 1), (12, 3), (25, 0)] {
        let input = try Matrix(alone + others, Self.columns, &numbers)
        let output = try Matrix(rows: alone + others, columns: 70)
        try engine.linear(input, alone: alone, [LinearProduct(weight, to: output)])
        for row in 0..<alone { try expectAlone(input, weight, row, output, engine) }
        if others > 1 {
          let expected = try Matrix(rows: others, columns: 70)
          try engine.linear(input[rows: alone..<alone + others], [LinearProduct(weight, to: expected)])
          #expect(output[rows: alone..<alone + others].values == expected.values)
        }
      }
    }
  }

  private func expectAlone(_ input: Matrix, _ weight: WeightMatrix, _ row: Int, _ output: Matrix, _ engine: Engine) throws {
    let expected = try Matrix(rows: 1, columns: 70)
    try engine.linear(input[rows: row..<row + 1], [LinearProduct(weight, to: expected)])
    #expect(expected.values.contains { $0 != 0 })
    #expect(output[rows: row..<row + 1].values == expected.values)
  }

  @Test(arguments: kernelNames)
  func perceptron(_ kernels: String) throws {
    var numbers = SeededNumbers(32)
    let engine = try engine(kernels)
    let norm = RowNorm.rms(weight: try Matrix(1, Self.columns, &numbers), epsilon: 1e-6)
    let inners = weights(rows: Self.columns, &numbers)
    for (gate, outer) in zip(inners, inners.reversed()) {
      let input = try Matrix(13, Self.columns, &numbers)
      let output = try input.copied()
      let inner = PerceptronInner.gated(gate: gate, up: gate)
      try engine.perceptron(output, norm: norm, alone: 9, inner, LinearProduct(outer, .addTo(scale: nil), to: output))
      for row in 0..<9 {
        let expected = try input[rows: row..<row + 1].copied()
        try engine.perceptron(expected, norm: norm, inner, LinearProduct(outer, .addTo(scale: nil), to: expected))
        #expect(output[rows: row..<row + 1].values == expected.values)
      }
      let expected = try input[rows: 9..<13].copied()
      try engine.perceptron(expected, norm: norm, inner, LinearProduct(outer, .addTo(scale: nil), to: expected))
      #expect(output[rows: 9..<13].values == expected.values)
    }
  }
}
