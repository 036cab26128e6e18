import Compute
import Kernels
import Testing

/// The same bits whatever the number of threads.
@Suite struct DeterminismTests {
  @Test(arguments: kernelNames)
  func threadsDoNotChangeResults(_ kernels: String) throws {
    let results = try [1, 2, 3].map { try run(engine(kernels, threads: $0)) }
    #expect(results[0] == results[1])
    #expect(results[0] == results[2])
  }

  private func run(_ engine: Engine) throws -> [[Float]] {
    var numbers = SeededNumbers(9)
    let weight = TestWeight(bits: 4, group: 32, asymmetric: false, rows: 384, columns: 256, &numbers)
    let floats = TestWeight(.float32, rows: 256, columns: 384, &numbers)
    var results: [[Float]] = []
    for tokens in [1, 130] {
      let input = try Matrix(tokens, 256, &numbers)
      let hidden = try Matrix(rows: tokens, columns: 384)
      try engine.linear(input, [LinearProduct(weight.matrix, .gelu, to: hidden)])
      try engine.linear(hidden, [LinearProduct(floats.matrix, .addTo(scale: nil), to: input)])
      let cache = try KeyValueCache(heads: 2, headDimension: 64, capacity: 1500, type: .float16)
      let keys = try Matrix(1500, 128, &numbers)
      cache.append(keys: keys, values: keys, interleaved: false, using: engine)
      let attended = try Matrix(rows: tokens, columns: 256)
      try engine.attention(input, heads: 4, over: cache, causalOffset: 1300, to: attended)
      results += [hidden.values, input.values, attended.values]
    }
    return results
  }
}
