import Compute
import Kernels
import Tensors
import TestSupport
import Testing

@Suite struct LinearTests {
  struct Shape: Sendable, CustomTestStringConvertible {
    let tokens: Int
    let rows: Int
    let columns: Int
    var testDescription: String { "\(tokens)×\(columns) by \(rows)" }
  }

  static let shapes = [
    Shape(tokens: 1, rows: 1, columns: 1), Shape(tokens: 1, rows: 33, columns: 100), Shape(tokens: 2, rows: 32, columns: 64),
    Shape(tokens: 7, rows: 70, columns: 129), Shape(tokens: 13, rows: 31, columns: 200), Shape(tokens: 131, rows: 96, columns: 320),
  ]

  @Test(arguments: kernelNames, shapes)
  func floatWeights(_ kernels: String, _ shape: Shape) throws {
    var numbers = SeededNumbers(1)
    let engine = try engine(kernels)
    for type in ScalarType.allCases {
      let weight = TestWeight(type, rows: shape.rows, columns: shape.columns, &numbers)
      let input = try Matrix(shape.tokens, shape.columns, &numbers).widened(by: 3)
      try checkEpilogues(engine, weight, input, tolerance: 1e-6 * Double(10 + shape.columns))
    }
  }

  @Test(arguments: kernelNames, shapes)
  func quantizedWeights(_ kernels: String, _ shape: Shape) throws {
    var numbers = SeededNumbers(2)
    let engine = try engine(kernels)
    for (bits, group) in [(4, 32), (4, 64), (4, 128), (8, 32), (8, 128)] {
      for asymmetric in [false, true] {
        let weight = TestWeight(bits: bits, group: group, asymmetric: asymmetric, rows: shape.rows, columns: shape.columns, &numbers)
        let input = try exactInput(shape.tokens, shape.columns, group: group, &numbers)
        try checkEpilogues(engine, weight, input.widened(by: 5), tolerance: 2e-6 * 127 * Double(10 + shape.columns))
      }
    }
  }

  /// 4-bit codes with uneven levels.
  @Test(arguments: kernelNames, shapes)
  func unevenWeights(_ kernels: String, _ shape: Shape) throws {
    var numbers = SeededNumbers(14)
    let engine = try engine(kernels)
    for group in [32, 64, 128] {
      let weight = TestWeight(bits: 4, group: group, asymmetric: false, uneven: true, rows: shape.rows, columns: shape.columns, &numbers)
      let input = try exactInput(shape.tokens, shape.columns, group: group, &numbers)
      try checkEpilogues(engine, weight, input.widened(by: 5), tolerance: 2e-6 * 127 * 4 * Double(10 + shape.columns))
    }
  }

  /// Widths of vision transformers, which 32 or a group does not divide: patches of 14 × 14 × 3, SigLIP's perceptron, heads of 72.
  static let visionShapes = [
    Shape(tokens: 13, rows: 72, columns: 4304), Shape(tokens: 7, rows: 1160, columns: 72), Shape(tokens: 2, rows: 272, columns: 588),
    Shape(tokens: 14, rows: 80, columns: 272),
  ]

  @Test(arguments: visionShapes)
  func visionWidths(_ shape: Shape) throws {
    var numbers = SeededNumbers(12)
    for bits in [3, 4, 8] {
      for group in [32, 64, 128] {
        let weight = TestWeight(bits: bits, group: group, asymmetric: group == 64, rows: shape.rows, columns: shape.columns, &numbers)
        let input = try exactInput(shape.tokens, shape.columns, group: group, &numbers)
        let product = weight.product(input)
        var first: [Float]?
        for kernels in kernelNames {
          let output = try Matrix(rows: shape.tokens, columns: shape.rows).widened(by: 3)
          try engine(kernels).linear(input, [LinearProduct(weight.matrix, to: output)])
          expectClose(output.values, product, within: 2e-6 * 127 * Double(10 + shape.columns), "\(kernels), \(bits) bits, \(group)")
          #expect(output.row(0)[-1] == 1000 && output.row(0)[shape.rows] == 1000)
          if fusingKernelNames.contains(kernels) {
            #expect(first == nil || output.values == first)
            first = output.values
          }
        }
      }
    }
  }

  /// Every epilogue, with and without a bias.
  private func checkEpilogues(_ engine: Engine, _ weight: TestWeight, _ input: Matrix, tolerance: Double) throws {
    var numbers = SeededNumbers(3)
    let rows = weight.matrix.rows
    let bias = try Matrix(1, rows, &numbers)
    let scale = try Matrix(1, rows, &numbers)
    let before = try Matrix(input.rows, rows, &numbers)
    let product = weight.product(input)
    for usedBias in [nil, bias] {
      let biased = product.indices.map { product[$0] + Double(usedBias?.pointer[$0 % rows] ?? 0) }
      func check(_ epilogue: Epilogue, _ expected: [Double], _ name: Comment) throws {
        let output = try before.widened(by: 2)
        try engine.linear(input, [LinearProduct(weight.matrix, bias: usedBias, epilogue, to: output)])
        expectClose(output.values, expected, within: tolerance, name)
        // Beside the output nothing is written.
        #expect(output.row(0)[-1] == 1000 && output.row(0)[rows] == 1000)
      }
      try check(.store, biased, "store")
      for activation in Activation.allCases {
        try check(.activated(by: activation), biased.map { reference(activation, $0) }, "\(activation)")
      }
      let start = before.values.map(Double.init)
      try check(.addTo(scale: nil), biased.indices.map { start[$0] + biased[$0] }, "add")
      try check(.addTo(scale: scale), biased.indices.map { start[$0] + biased[$0] * Double(scale.pointer[$0 % rows]) }, "add scaled")
    }
  }

  @Test(arguments: kernelNames, [1, 9, 300])
  func severalProductsShareAnInput(_ kernels: String, _ tokens: Int) throws {
    var numbers = SeededNumbers(4)
    let engine = try engine(kernels)
    let columns = 256
    let input = try exactInput(tokens, columns, group: 32, &numbers)
    let weights = [
      TestWeight(bits: 4, group: 64, asymmetric: false, rows: 100, columns: columns, &numbers),
      TestWeight(bits: 8, group: 32, asymmetric: false, rows: 5, columns: columns, &numbers),
      TestWeight(.bfloat16, rows: 40, columns: columns, &numbers),
      TestWeight(bits: 4, group: 64, asymmetric: true, rows: 64, columns: columns, &numbers),
    ]
    let outputs = try weights.map { try Matrix(rows: tokens, columns: $0.matrix.rows) }
    try engine.linear(input, zip(weights, outputs).map { LinearProduct($0.matrix, to: $1) })
    for (weight, output) in zip(weights, outputs) { expectClose(output.values, weight.product(input), within: 0.05) }
  }

  /// Inputs of any size: the error is that of int8 activations, about 1 part in 254 of each group's largest value.
  @Test(arguments: kernelNames)
  func roundsInputs(_ kernels: String) throws {
    var numbers = SeededNumbers(6)
    let weight = TestWeight(bits: 8, group: 64, asymmetric: false, rows: 64, columns: 500, &numbers)
    let input = try Matrix(20, 500, &numbers)
    let output = try Matrix(rows: 20, columns: 64)
    try engine(kernels).linear(input, [LinearProduct(weight.matrix, to: output)])
    let expected = weight.product(input)
    let error = zip(output.values, expected).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
    let norm = expected.reduce(0) { $0 + $1 * $1 }
    #expect((error / norm).squareRoot() < 0.01)
  }

  /// More tokens than are quantized at a time, and as many tasks as there can be.
  @Test func manyTokens() throws {
    var numbers = SeededNumbers(7)
    let weight = TestWeight(bits: 4, group: 128, asymmetric: false, rows: 40, columns: 2048, &numbers)
    let input = try exactInput(2100, 2048, group: 128, &numbers)
    let output = try Matrix(rows: 2100, columns: 40)
    try engine(kernelNames[0]).linear(input, [LinearProduct(weight.matrix, to: output)])
    for token in [0, 1, 1000, 1999, 2000, 2001, 2047, 2048, 2099] {
      expectClose(output[rows: token..<token + 1].values, weight.product(input[rows: token..<token + 1]), within: 0.5)
    }
  }

  @Test func noTokens() throws {
    var numbers = SeededNumbers(8)
    let weight = TestWeight(bits: 4, group: 32, asymmetric: false, rows: 40, columns: 64, &numbers)
    try engine(kernelNames[0]).linear(Matrix(rows: 0, columns: 64), [LinearProduct(weight.matrix, to: Matrix(rows: 0, columns: 40))])
  }
}
