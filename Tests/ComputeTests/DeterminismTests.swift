import Compute
import Kernels
import Tensors
import TestSupport
import Testing

/// The same bits whatever the number of threads and, where products and sums are fused, whatever the kernels.
@Suite struct DeterminismTests {
  @Test(arguments: kernelNames)
  func threadsDoNotChangeResults(_ kernels: String) throws {
    let results = try [1, 2, 3].map { try run(engine(kernels, threads: $0)) }
    #expect(results[0] == results[1])
    #expect(results[0] == results[2])
  }

  @Test(arguments: fusingKernelNames)
  func kernelsDoNotChangeResults(_ kernels: String) throws {
    let (best, other) = try (run(engine(kernelNames[0])), run(engine(kernels)))
    for (step, (a, b)) in zip(best, other).enumerated() { #expect(a == b, "step \(step)") }
  }

  private func run(_ engine: Engine) throws -> [[Float]] {
    var numbers = SeededNumbers(9)
    let weights = [
      TestWeight(bits: 4, group: 32, asymmetric: false, rows: 384, columns: 250, &numbers),
      TestWeight(bits: 4, group: 64, asymmetric: true, rows: 384, columns: 250, &numbers),
      TestWeight(bits: 8, group: 128, asymmetric: false, rows: 384, columns: 250, &numbers),
    ]
    let floats = ScalarType.allCases.map { TestWeight($0, rows: 250, columns: 384, &numbers) }
    let outer = TestWeight(bits: 8, group: 64, asymmetric: false, rows: 250, columns: 384, &numbers)
    let (scale, bias) = try (Matrix(1, 250, &numbers), Matrix(1, 250, &numbers))
    let map = try Matrix(49, 250, &numbers)
    var results: [[Float]] = []
    for tokens in [1, 130] {
      let input = try Matrix(tokens, 250, &numbers)
      let normed = try Matrix(rows: tokens, columns: 250)
      for (weight, back) in zip(weights, floats) {
        engine.normalize(input, .layer(weight: scale, bias: bias, epsilon: 1e-5), to: normed)
        results.append(normed.values)
        let hidden = try Matrix(rows: tokens, columns: 384)
        let gated = try Matrix(rows: tokens, columns: 384)
        try engine.linear(normed, [LinearProduct(weight.matrix, .gelu, to: hidden), LinearProduct(weight.matrix, to: gated)])
        results += [hidden.values, gated.values]
        for activation in [Activation.geluTanh, .quickGelu] {
          try engine.perceptron(
            normed, .activated(weight.matrix, bias: nil, by: activation), LinearProduct(outer.matrix, .addTo(scale: nil), to: input))
          results.append(input.values)
        }
        try engine.linear(hidden, [LinearProduct(back.matrix, .addTo(scale: scale), to: input)])
        results.append(input.values)
        try engine.perceptron(
          input, norm: .rms(weight: scale, epsilon: 1e-6), .gated(gate: weight.matrix, up: weight.matrix),
          LinearProduct(outer.matrix, .addTo(scale: nil), to: input))
        results.append(input.values)
      }
      let cache = try KeyValueCache(heads: 2, headDimension: 50, capacity: 1500, type: .float16)
      let keys = try Matrix(1500, 100, &numbers)
      cache.append(keys: keys, values: keys, interleaved: false, using: engine)
      let attended = try Matrix(rows: tokens, columns: 250)
      let queries = input[columns: 0..<200]
      try engine.attention(queries, heads: 4, over: cache, causalOffset: 1300, to: attended[columns: 0..<200])
      results.append(attended.values)
      let codes = try KeyValueCache(heads: 2, headDimension: 50, capacity: 1500, type: .int8)
      codes.append(keys: keys, values: keys, interleaved: false, using: engine)
      try engine.attention(queries, heads: 4, over: codes, causalOffset: 1300, to: attended[columns: 0..<200])
      results.append(attended.values)
      for type in KeyValueType.allCases { results.append(try StoredRows(input, type: type, on: engine).values) }
      let convolved = try Matrix(rows: tokens, columns: 250)
      try engine.depthwise7x7(input, height: 1, width: tokens, weights: map, bias: bias, to: convolved)
      results.append(convolved.values)
    }
    return results
  }
}
