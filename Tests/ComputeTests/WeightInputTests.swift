import Compute
import TestSupport
import Testing

/// Products whose inputs are taken otherwise than they would be: for measuring what the int8 scheme costs.
@Suite struct WeightInputTests {
  /// Codes beside floats: no rounding but the floats' own, on any input.
  @Test(arguments: kernelNames, [1, 2, 40])
  func exactInputs(_ kernels: String, _ tokens: Int) throws {
    var numbers = SeededNumbers(11)
    let engine = try engine(kernels)
    for (bits, group, columns) in [(4, 32, 100), (4, 128, 200), (8, 64, 385), (8, 128, 31)] {
      for asymmetric in [false, true] {
        let weight = TestWeight(bits: bits, group: group, asymmetric: asymmetric, rows: 70, columns: columns, &numbers)
        let input = try Matrix(tokens, columns, &numbers)
        let output = try Matrix(rows: tokens, columns: 70)
        var matrix = weight.matrix
        matrix.input = .exact
        try engine.linear(input, [LinearProduct(matrix, to: output)])
        expectClose(output.values, weight.product(input), within: 1e-5 * Double(columns), "exact")
      }
    }
  }

  /// One product of an input takes it rounded, another as it is; where the input is exact in int8, both are the same.
  @Test(arguments: kernelNames, [1, 30])
  func roundedInputs(_ kernels: String, _ tokens: Int) throws {
    var numbers = SeededNumbers(12)
    let engine = try engine(kernels)
    let columns = 200
    let weight = TestWeight(.float32, rows: 40, columns: columns, &numbers)
    var rounded = weight.matrix
    rounded.input = .rounded(group: 128)
    let outputs = try (0..<2).map { _ in try Matrix(rows: tokens, columns: 40) }

    let exact = try exactInput(tokens, columns, group: 128, &numbers)
    try engine.linear(exact, [LinearProduct(rounded, to: outputs[0]), LinearProduct(weight.matrix, to: outputs[1])])
    expectClose(outputs[0].values, weight.product(exact), within: 1e-3 * 127, "rounded")
    expectClose(outputs[1].values, weight.product(exact), within: 1e-3 * 127, "plain")

    // Elsewhere each value is off by half a step of its group at most.
    let input = try Matrix(tokens, columns, &numbers)
    try engine.linear(input, [LinearProduct(rounded, to: outputs[0]), LinearProduct(weight.matrix, to: outputs[1])])
    expectClose(outputs[1].values, weight.product(input), within: 1e-4, "plain")
    let difference = zip(outputs[0].values, outputs[1].values).map { Double($0) - Double($1) }
    let norm = outputs[1].values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    let error = difference.reduce(0.0) { $0 + $1 * $1 }.squareRoot() / norm
    #expect(error > 1e-4 && error < 0.02, "\(error)")
  }
}
