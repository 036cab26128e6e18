import Compute
import Kernels
import Tensors
import TestSupport
import Testing

/// Attention in which every token sees every other, as vision transformers have it: over a cache, and straight from the projections.
@Suite struct EncoderAttentionTests {
  struct Shape: Sendable, CustomTestStringConvertible {
    let tokens: Int
    let heads: Int
    let dimension: Int
    var entries: Int?
    var keyHeads: Int?
    var testDescription: String { "\(tokens) tokens, \(heads)/\(keyHeads ?? heads)×\(dimension), \(entries ?? tokens) entries" }
  }

  static let shapes = [
    Shape(tokens: 1, heads: 3, dimension: 8), Shape(tokens: 2, heads: 2, dimension: 72), Shape(tokens: 31, heads: 2, dimension: 80),
    Shape(tokens: 32, heads: 2, dimension: 64), Shape(tokens: 33, heads: 3, dimension: 72), Shape(tokens: 64, heads: 1, dimension: 8),
    Shape(tokens: 65, heads: 2, dimension: 1), Shape(tokens: 196, heads: 2, dimension: 80), Shape(tokens: 257, heads: 2, dimension: 64),
    Shape(tokens: 576, heads: 2, dimension: 64), Shape(tokens: 729, heads: 3, dimension: 72), Shape(tokens: 1024, heads: 2, dimension: 8),
    Shape(tokens: 1, heads: 4, dimension: 72, entries: 729), Shape(tokens: 40, heads: 6, dimension: 24, entries: 77, keyHeads: 2),
  ]

  /// A row of queries, keys and values each, as the columns of one matrix.
  private struct Projections {
    let queries: Matrix
    let keys: Matrix
    let values: Matrix

    init(_ shape: Shape) throws {
      var numbers = SeededNumbers(UInt64(shape.tokens))
      let width = (shape.keyHeads ?? shape.heads) * shape.dimension
      queries = try Matrix(shape.tokens, shape.heads * shape.dimension, &numbers, in: -3...3).widened(by: 3)
      let both = try Matrix(shape.entries ?? shape.tokens, 2 * width, &numbers)
      (keys, values) = (both[columns: 0..<width], both[columns: width..<2 * width])
    }

    /// Of some rows, by doubles.
    func expected(_ rows: [Int], _ shape: Shape) -> [Double] {
      referenceAttention(
        rows.flatMap { queries[rows: $0..<$0 + 1].values }, keys.values, values.values, tokens: rows.count, heads: shape.heads,
        keyHeads: shape.keyHeads ?? shape.heads, dimension: shape.dimension, entries: keys.rows, causalOffset: nil)
    }
  }

  @Test(arguments: shapes)
  func matchesSoftmax(_ shape: Shape) throws {
    let operands = try Projections(shape)
    let rows = Set([0, 1, 31, 32, 167, 168, shape.tokens - 1]).filter { $0 < shape.tokens }.sorted()
    let expected = operands.expected(rows, shape)
    var first: (cached: [Float], direct: [Float])?
    for kernels in kernelNames {
      let engine = try engine(kernels)
      let cached = try Matrix(rows: shape.tokens, columns: operands.queries.columns).widened(by: 2)
      let cache = try KeyValueCache(
        heads: shape.keyHeads ?? shape.heads, headDimension: shape.dimension, capacity: operands.keys.rows, type: .float32)
      cache.append(keys: operands.keys, values: operands.values, interleaved: false, using: engine)
      try engine.attention(operands.queries, heads: shape.heads, over: cache, causalOffset: nil, to: cached)
      let direct = try Matrix(rows: shape.tokens, columns: operands.queries.columns).widened(by: 2)
      try engine.attention(operands.queries, heads: shape.heads, keys: operands.keys, values: operands.values, to: direct)
      for output in [cached, direct] {
        expectClose(rows.flatMap { output[rows: $0..<$0 + 1].values }, expected, within: 2e-6, "\(kernels)")
        #expect(output.row(0)[-1] == 1000 && output.row(0)[output.columns] == 1000)
      }
      // Every row: the two ways check each other.
      expectClose(direct.values, cached.values.map(Double.init), within: 2e-6, "\(kernels)")
      if fusingKernelNames.contains(kernels) {
        let values = (cached: cached.values, direct: direct.values)
        if let first { #expect(first == values, "\(kernels)") }
        first = values
      }
    }
  }

  /// As int8: the root mean square of the errors, of which most are of the scores, is within a fiftieth of the output's; the same bits on
  /// all machines; a token's output does not depend on the others.
  @Test(arguments: shapes)
  func asCodes(_ shape: Shape) throws {
    let operands = try Projections(shape)
    let rows = Set([0, 1, 31, 32, 167, 168, shape.tokens - 1]).filter { $0 < shape.tokens }.sorted()
    let expected = operands.expected(rows, shape)
    var first: [Float]?
    for kernels in kernelNames {
      let engine = try engine(kernels)
      let output = try Matrix(rows: shape.tokens, columns: operands.queries.columns).widened(by: 2)
      try engine.attention(
        operands.queries, heads: shape.heads, keys: operands.keys, values: operands.values, asCodes: true, to: output)
      let found = rows.flatMap { output[rows: $0..<$0 + 1].values }
      let error = zip(found, expected).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
      #expect(error <= 4e-4 * expected.reduce(0) { $0 + $1 * $1 }, "\(kernels)")
      #expect(output.row(0)[-1] == 1000 && output.row(0)[output.columns] == 1000)
      if fusingKernelNames.contains(kernels) {
        if let first { #expect(first == output.values, "\(kernels)") }
        first = output.values
        let last = try Matrix(rows: 1, columns: output.columns)
        try engine.attention(
          operands.queries[rows: shape.tokens - 1..<shape.tokens], heads: shape.heads, keys: operands.keys, values: operands.values,
          asCodes: true, to: last)
        #expect(last.values == output[rows: shape.tokens - 1..<shape.tokens].values)
      }
    }
  }

  @Test(arguments: [false, true])
  func threadsDoNotChangeResultsAndTheOutputMayBeTheQueries(asCodes: Bool) throws {
    let shape = Shape(tokens: 100, heads: 3, dimension: 72)
    let operands = try Projections(shape)
    let outputs = try [1, 2, 3].map { threads in
      let output = try Matrix(rows: 100, columns: 216)
      try engine(kernelNames[0], threads: threads).attention(
        operands.queries, heads: 3, keys: operands.keys, values: operands.values, asCodes: asCodes, to: output)
      return output.values
    }
    #expect(outputs[0] == outputs[1] && outputs[0] == outputs[2])
    try engine(kernelNames[0]).attention(
      operands.queries, heads: 3, keys: operands.keys, values: operands.values, asCodes: asCodes, to: operands.queries)
    #expect(operands.queries.values == outputs[0])
  }

  /// Scores so far apart that all weight is on one entry, in every order of appearance.
  @Test(arguments: kernelNames)
  func greatScores(_ kernels: String) throws {
    let engine = try engine(kernels)
    for peak in [0, 40, 127, 128, 300, 699] {
      let (keys, values) = try (Matrix(rows: 700, columns: 16), Matrix(rows: 700, columns: 16))
      for entry in 0..<700 {
        keys.row(entry)[0] = entry == peak ? 4000 : -4000
        values.row(entry)[3] = Float(entry)
      }
      let queries = try Matrix(rows: 1, columns: 16, values: [100] + [Float](repeating: 0, count: 15))
      let output = try Matrix(rows: 1, columns: 16)
      try engine.attention(queries, heads: 1, keys: keys, values: values, to: output)
      #expect(output.row(0)[3] == Float(peak))
      try engine.attention(queries, heads: 1, keys: keys, values: values, asCodes: true, to: output)
      // The greatest value of a group of 128 is exact but for a rounding, and half a step is its error.
      #expect(abs(output.row(0)[3] - Float(peak)) <= 699 / 254)
    }
  }

  /// A query that is no number makes its own token's head none, and nothing else.
  @Test(arguments: kernelNames)
  func keepsNaN(_ kernels: String) throws {
    let shape = Shape(tokens: 70, heads: 2, dimension: 72)
    let operands = try Projections(shape)
    operands.queries.row(40)[75] = .nan
    let output = try Matrix(rows: 70, columns: 144)
    for asCodes in [false, true] {
      try engine(kernels).attention(
        operands.queries, heads: 2, keys: operands.keys, values: operands.values, asCodes: asCodes, to: output)
      for token in 0..<70 {
        for column in 0..<144 { #expect(output.row(token)[column].isNaN == (token == 40 && column >= 72)) }
      }
    }
  }

  @Test func noEntriesGiveZerosAndNoTokensNothing() throws {
    var numbers = SeededNumbers(3)
    let engine = try engine(kernelNames[0])
    let empty = try Matrix(rows: 0, columns: 64)
    let output = try Matrix(2, 64, &numbers)
    try engine.attention(Matrix(2, 64, &numbers), heads: 2, keys: empty, values: empty, to: output)
    #expect(output.values.allSatisfy { $0 == 0 })
    for asCodes in [false, true] { try engine.attention(empty, heads: 2, keys: output, values: output, asCodes: asCodes, to: empty) }
  }
}
