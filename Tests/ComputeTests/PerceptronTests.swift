import Compute
import Kernels
import TestSupport
import Testing

@Suite struct PerceptronTests {
  static let width = 90
  static let columns = 160

  /// Weights of the inner layer, in every storage.
  private func inners(_ numbers: inout SeededNumbers) -> [TestWeight] {
    [
      TestWeight(bits: 4, group: 32, asymmetric: false, rows: Self.width, columns: Self.columns, &numbers),
      TestWeight(bits: 8, group: 128, asymmetric: true, rows: Self.width, columns: Self.columns, &numbers),
      TestWeight(.float16, rows: Self.width, columns: Self.columns, &numbers),
    ]
  }

  /// An outer layer that hands the inner one's result on.
  private func identity() throws -> WeightMatrix {
    let matrix = try Matrix(rows: Self.width, columns: Self.width)
    for index in 0..<Self.width { matrix.row(index)[index] = 1 }
    return WeightMatrix(matrix)
  }

  @Test(arguments: kernelNames, [1, 6, 50])
  func innerLayer(_ kernels: String, _ tokens: Int) throws {
    var numbers = SeededNumbers(5)
    let engine = try engine(kernels)
    let input = try exactInput(tokens, Self.columns, group: 32, &numbers)
    let output = try Matrix(rows: tokens, columns: Self.width)
    let outer = LinearProduct(try identity(), to: output)
    let bias = try Matrix(1, Self.width, &numbers)
    func check(_ inner: PerceptronInner, _ expected: [Double]) throws {
      try engine.perceptron(input, inner, outer)
      let largest = expected.reduce(0) { max($0, abs($1)) }
      expectClose(output.values, expected, within: 2e-6 * largest + 1e-4)
    }
    for gate in inners(&numbers) {
      let product = gate.product(input)
      let biased = product.indices.map { product[$0] + Double(bias.pointer[$0 % Self.width]) }
      try check(.gelu(gate.matrix, bias: bias), biased.map(referenceGELU))
      for activation in Activation.allCases {
        try check(.activated(gate.matrix, bias: bias, by: activation), biased.map { reference(activation, $0) })
      }
      for up in inners(&numbers) {
        try check(.gated(gate: gate.matrix, up: up.matrix), zip(product, up.product(input)).map { referenceSiLU($0) * $1 })
      }
    }
  }

  /// Codes made floats again instead of int8 inputs: the same where the inputs are exact in int8.
  @Test func exactInputs() throws {
    var numbers = SeededNumbers(13)
    let engine = try engine("portable")
    let input = try exactInput(9, Self.columns, group: 32, &numbers)
    var weight = inners(&numbers)[0].matrix
    let outputs = try (0..<2).map { _ in try Matrix(rows: 9, columns: Self.width) }
    try engine.perceptron(input, .gated(gate: weight, up: weight), LinearProduct(try identity(), to: outputs[0]))
    weight.input = .exact
    try engine.perceptron(input, .gated(gate: weight, up: weight), LinearProduct(try identity(), to: outputs[1]))
    let scale = outputs[0].values.reduce(0) { max($0, abs($1)) }
    expectClose(outputs[1].values, outputs[0].values.map(Double.init), within: 1e-5 * Double(scale))
  }

  /// Bit for bit what norm, linear layer and linear layer give one by one, however many parts, blocks and groups there are; an observer,
  /// for whom everything is made floats, changes nothing and sees every weight.
  @Test(arguments: kernelNames, [(1, .gelu), (5, .geluTanh), (40, .quickGelu), (300, .gelu)] as [(Int, Activation)])
  func isItsPartsOneByOne(_ kernels: String, _ shape: (tokens: Int, activation: Activation)) throws {
    let (tokens, activation) = shape
    var numbers = SeededNumbers(14)
    let engine = try engine(kernels)
    let x = try Matrix(tokens, Self.columns, &numbers)
    let norm = RowNorm.layer(weight: try Matrix(1, Self.columns, &numbers), bias: try Matrix(1, Self.columns, &numbers), epsilon: 1e-5)
    let bias = try Matrix(1, Self.width, &numbers)
    let outers = [
      TestWeight(bits: 4, group: 32, asymmetric: false, rows: Self.columns, columns: Self.width, &numbers),
      TestWeight(bits: 8, group: 64, asymmetric: true, rows: Self.columns, columns: Self.width, &numbers),
      TestWeight(bits: 8, group: 128, asymmetric: false, rows: Self.columns, columns: Self.width, &numbers),
      TestWeight(.bfloat16, rows: Self.columns, columns: Self.width, &numbers),
    ]
    let normed = try Matrix(rows: tokens, columns: Self.columns)
    engine.normalize(x, norm, to: normed)
    for inner in inners(&numbers) {
      let hidden = try Matrix(rows: tokens, columns: Self.width)
      try engine.linear(x, norm: norm, [LinearProduct(inner.matrix, bias: bias, .activated(by: activation), to: hidden)])
      let plain = try Matrix(rows: tokens, columns: Self.width)
      try engine.linear(normed, [LinearProduct(inner.matrix, bias: bias, .activated(by: activation), to: plain)])
      #expect(hidden.values == plain.values)
      for outer in outers {
        let expected = try Matrix(rows: tokens, columns: Self.columns, values: x.values)
        try engine.linear(hidden, [LinearProduct(outer.matrix, .addTo(scale: nil), to: expected)])
        for isObserved in [false, true] {
          var seen: [UnsafeRawPointer?] = []
          if isObserved { engine.observer = { weight, _ throws(ComputeError) in seen.append(weight.identity) } }
          let output = try Matrix(rows: tokens, columns: Self.columns, values: x.values)
          try engine.perceptron(
            output, norm: norm, .activated(inner.matrix, bias: bias, by: activation),
            LinearProduct(outer.matrix, .addTo(scale: nil), to: output))
          engine.observer = nil
          #expect(output.values == expected.values)
          #expect(seen == (isObserved ? [inner.matrix.identity, outer.matrix.identity] : []))
        }
      }
    }
  }

  /// More tokens than are computed at a time.
  @Test func manyTokens() throws {
    var numbers = SeededNumbers(15)
    let engine = try engine(kernelNames[0])
    let inner = TestWeight(bits: 4, group: 64, asymmetric: false, rows: 2048, columns: 64, &numbers)
    let outer = TestWeight(bits: 8, group: 128, asymmetric: false, rows: 40, columns: 2048, &numbers)
    let input = try Matrix(2100, 64, &numbers)
    let output = try Matrix(rows: 2100, columns: 40)
    try engine.perceptron(input, .gelu(inner.matrix, bias: nil), LinearProduct(outer.matrix, to: output))
    for token in [0, 1049, 1050, 1055, 1056, 2099] {
      let alone = try Matrix(rows: 1, columns: 40)
      try engine.perceptron(input[rows: token..<token + 1], .gelu(inner.matrix, bias: nil), LinearProduct(outer.matrix, to: alone))
      #expect(output[rows: token..<token + 1].values == alone.values)
    }
  }

  /// A token alone, for which a task multiplies all panels of the gate before those of the other weight, gives bit for bit what it gives
  /// among others; the last task has fewer panels than a group of the outer layer.
  @Test(arguments: kernelNames, [32, 64, 128, 256])
  func gatedAlone(_ kernels: String, _ group: Int) throws {
    var numbers = SeededNumbers(17)
    let engine = try engine(kernels)
    let input = try Matrix(13, Self.columns, &numbers)
    for width in [Self.width, 300] {
      let gate = TestWeight(bits: 4, group: 32, asymmetric: true, rows: width, columns: Self.columns, &numbers)
      let up = TestWeight(bits: 8, group: 64, asymmetric: false, rows: width, columns: Self.columns, &numbers)
      let outer = TestWeight(bits: 8, group: group, asymmetric: false, rows: 40, columns: width, &numbers)
      let inner = PerceptronInner.gated(gate: gate.matrix, up: up.matrix)
      let together = try Matrix(rows: 13, columns: 40)
      try engine.perceptron(input, inner, LinearProduct(outer.matrix, to: together))
      #expect(together.values.contains { $0 != 0 })
      for token in 0..<13 {
        let alone = try Matrix(rows: 1, columns: 40)
        try engine.perceptron(input[rows: token..<token + 1], inner, LinearProduct(outer.matrix, to: alone))
        #expect(together[rows: token..<token + 1].values == alone.values)
      }
    }
  }

  @Test func noTokens() throws {
    var numbers = SeededNumbers(16)
    let inner = TestWeight(bits: 4, group: 32, asymmetric: false, rows: 40, columns: 64, &numbers)
    let outer = TestWeight(bits: 4, group: 32, asymmetric: false, rows: 64, columns: 40, &numbers)
    let empty = try Matrix(rows: 0, columns: 64)
    try engine(kernelNames[0]).perceptron(empty, .gelu(inner.matrix, bias: nil), LinearProduct(outer.matrix, .addTo(scale: nil), to: empty))
  }
}
