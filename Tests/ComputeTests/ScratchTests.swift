import Compute
import Kernels
import Parallel
import TestSupport
import Testing

/// What a memory plan counts on: scratch memory stays within its bound, whatever the number of tokens.
@Suite struct ScratchTests {
  @Test(arguments: kernelNames, [1, 3]) func staysWithinItsBound(_ kernels: String, _ threads: Int) throws {
    let engine = try engine(kernels, threads: threads)
    let measures = ScratchMeasures(widestInput: 1500, heads: 14, keyHeads: 2, headDimension: 40, mapWidth: 60, encoderTokens: 3000)
    let bound = Engine.scratchBytes(measures, kernels: engine.kernels, threads: threads)
    #expect(engine.scratchBytes == 0)
    var numbers = SeededNumbers(1)
    let weights = [
      TestWeight(bits: 4, group: 32, asymmetric: true, rows: 33, columns: 1500, &numbers),
      TestWeight(bits: 8, group: 64, asymmetric: false, rows: 33, columns: 1500, &numbers),
      TestWeight(bits: 4, group: 128, asymmetric: false, rows: 33, columns: 1500, &numbers),
      TestWeight(.float32, rows: 33, columns: 1500, &numbers),
    ]
    let inners = [
      TestWeight(bits: 8, group: 32, asymmetric: false, rows: 1500, columns: 33, &numbers),
      TestWeight(.float16, rows: 1500, columns: 33, &numbers),
    ]
    let outers = [weights[2], weights[3]]
    let ones = try Matrix(1, 33, &numbers)
    for tokens in [1, 100, 5000] {
      let input = try Matrix(rows: tokens, columns: 1500)
      let output = try Matrix(rows: tokens, columns: 33)
      for weight in weights { try engine.linear(input, [LinearProduct(weight.matrix, to: output)]) }
      try engine.linear(input, weights.map { LinearProduct($0.matrix, to: try Matrix(rows: tokens, columns: 33)) })
      for outer in outers {
        for norm in [nil, RowNorm.rms(weight: ones, epsilon: 1e-6)] {
          try engine.perceptron(
            output, norm: norm, .gated(gate: inners[0].matrix, up: inners[1].matrix),
            LinearProduct(outer.matrix, .addTo(scale: nil), to: output))
        }
      }
    }
    for type in KeyValueType.allCases {
      let cache = try KeyValueCache(heads: 2, headDimension: 40, capacity: 3000, type: type)
      cache.append(
        keys: try Matrix(rows: 3000, columns: 80), values: try Matrix(rows: 3000, columns: 80), interleaved: false, using: engine)
      for tokens in [1, 20, 400] {
        let queries = try Matrix(rows: tokens, columns: 14 * 40)
        try engine.attention(queries, heads: 14, over: cache, causalOffset: nil, to: Matrix(rows: tokens, columns: 14 * 40))
      }
    }
    for (tokens, entries) in [(1, 3000), (3000, 3000), (400, 1)] {
      let (queries, keys) = try (Matrix(rows: tokens, columns: 14 * 40), Matrix(rows: entries, columns: 80))
      for asCodes in [false, true] { try engine.attention(queries, heads: 14, keys: keys, values: keys, asCodes: asCodes, to: queries) }
    }
    for (height, width) in [(20, 60), (140, 41), (300, 5)] {
      let map = try Matrix(rows: height * width, columns: 24)
      try engine.depthwise7x7(
        map, height: height, width: width, weights: Matrix(rows: 49, columns: 24), bias: Matrix(rows: 1, columns: 24),
        to: Matrix(rows: height * width, columns: 24))
    }
    #expect(engine.scratchBytes > 0)
    #expect(engine.scratchBytes <= bound)
  }
}
