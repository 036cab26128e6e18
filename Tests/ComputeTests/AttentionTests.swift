import Compute
import Kernels
import Tensors
import TestSupport
import Testing

@Suite struct AttentionTests {
  struct Shape: Sendable, CustomTestStringConvertible {
    let tokens: Int
    let heads: Int
    let keyHeads: Int
    let dimension: Int
    let entries: Int
    let causalOffset: Int?
    var testDescription: String {
      "\(tokens) tokens, \(heads)/\(keyHeads)×\(dimension), \(entries) entries, \(causalOffset.map { "causal \($0)" } ?? "all")"
    }
  }

  static let shapes = [
    Shape(tokens: 1, heads: 1, keyHeads: 1, dimension: 16, entries: 1, causalOffset: 0),
    Shape(tokens: 5, heads: 4, keyHeads: 2, dimension: 24, entries: 5, causalOffset: 0),
    Shape(tokens: 40, heads: 6, keyHeads: 2, dimension: 32, entries: 77, causalOffset: 37),
    Shape(tokens: 3, heads: 3, keyHeads: 3, dimension: 7, entries: 70, causalOffset: nil),
    Shape(tokens: 1, heads: 28, keyHeads: 4, dimension: 128, entries: 1100, causalOffset: 1099),
    Shape(tokens: 2, heads: 14, keyHeads: 2, dimension: 64, entries: 1300, causalOffset: nil),
    Shape(tokens: 90, heads: 7, keyHeads: 1, dimension: 40, entries: 600, causalOffset: 510),
    Shape(tokens: 150, heads: 8, keyHeads: 4, dimension: 256, entries: 150, causalOffset: 0),
    Shape(tokens: 2, heads: 200, keyHeads: 2, dimension: 16, entries: 40, causalOffset: nil),
  ]

  @Test(arguments: kernelNames, shapes)
  func matchesSoftmax(_ kernels: String, _ shape: Shape) throws {
    for type in KeyValueType.allCases {
      var numbers = SeededNumbers(UInt64(shape.entries))
      let engine = try engine(kernels)
      let width = shape.keyHeads * shape.dimension
      let queries = try Matrix(shape.tokens, shape.heads * shape.dimension, &numbers, in: -3...3).widened(by: 2)
      let keys = try Matrix(shape.entries, width, &numbers)
      let values = try Matrix(shape.entries, width, &numbers)
      let cache = try KeyValueCache(heads: shape.keyHeads, headDimension: shape.dimension, capacity: shape.entries + 9, type: type)
      append(keys, values, to: cache, in: [0.3, 0.31, 0.9, 1], engine)
      #expect(cache.count == shape.entries)
      let output = try Matrix(rows: shape.tokens, columns: queries.columns).widened(by: 1)
      try engine.attention(queries, heads: shape.heads, over: cache, causalOffset: shape.causalOffset, to: output)
      let (group, dimension) = (shape.dimension % 64 == 0 ? 64 : 32, shape.dimension)
      func stored(_ x: [Float], group: Int, scale: (Float) -> Float) -> [Float] {
        switch type {
        case .float32: x
        case .float16: x.map { Float(Float16($0)) }
        case .int8: rounded(x, dimension: dimension, group: group, scale: scale)
        }
      }
      let storedKeys = stored(keys.values, group: group) { greatest in
        let scale = Float16(greatest / 127)
        return Float(Float(scale) * 127 < greatest ? scale.nextUp : scale)
      }
      let storedValues = stored(values.values, group: dimension) { $0 / 127 }
      let expected = referenceAttention(
        queries.values, storedKeys, storedValues, tokens: shape.tokens, heads: shape.heads, keyHeads: shape.keyHeads,
        dimension: shape.dimension, entries: shape.entries, causalOffset: shape.causalOffset)
      // Queries and weights of two digits have some 15 bits.
      expectClose(output.values, expected, within: type == .int8 ? 1e-4 : 2e-6, "\(type)")
      #expect(output.row(0)[-1] == 1000 && output.row(0)[output.columns] == 1000)
    }
  }

  /// Each head's values of a row, in groups, as codes of 8 bits stand for them.
  private func rounded(_ x: [Float], dimension: Int, group: Int, scale: (Float) -> Float) -> [Float] {
    var result = x
    for head in Swift.stride(from: 0, to: x.count, by: dimension) {
      for first in Swift.stride(from: 0, to: dimension, by: group) {
        let range = head + first..<head + min(dimension, first + group)
        let scale = scale(x[range].reduce(0) { max($0, abs($1)) })
        for index in range { result[index] = scale == 0 ? 0 : scale * (x[index] * (1 / scale)).rounded(.toNearestOrEven) }
      }
    }
    return result
  }

  /// Adds the rows in parts that end at these fractions of all.
  private func append(_ keys: Matrix, _ values: Matrix, to cache: KeyValueCache, in parts: [Double], _ engine: Engine) {
    for part in parts {
      let rows = cache.count..<Int(Double(keys.rows) * part)
      if rows.isEmpty { continue }
      cache.append(keys: keys[rows: rows], values: values[rows: rows], interleaved: false, using: engine)
    }
  }

  @Test func interleavedKeysAndValues() throws {
    var numbers = SeededNumbers(1)
    let engine = try engine(kernelNames[0])
    let (heads, dimension, entries) = (3, 24, 75)
    let both = try Matrix(entries, 2 * heads * dimension, &numbers)
    let keys = try Matrix(rows: entries, columns: heads * dimension)
    let values = try Matrix(rows: entries, columns: heads * dimension)
    for head in 0..<heads {
      let columns = head * dimension..<(head + 1) * dimension
      keys[columns: columns].copy(from: both[columns: 2 * head * dimension..<(2 * head + 1) * dimension])
      values[columns: columns].copy(from: both[columns: (2 * head + 1) * dimension..<(2 * head + 2) * dimension])
    }
    let separate = try KeyValueCache(heads: heads, headDimension: dimension, capacity: entries, type: .float16)
    let interleaved = try KeyValueCache(heads: heads, headDimension: dimension, capacity: entries, type: .float16)
    separate.append(keys: keys, values: values, interleaved: false, using: engine)
    interleaved.append(keys: both, values: nil, interleaved: true, using: engine)
    let queries = try Matrix(4, heads * dimension, &numbers)
    let outputs = try [Matrix(rows: 4, columns: heads * dimension), Matrix(rows: 4, columns: heads * dimension)]
    try engine.attention(queries, heads: heads, over: separate, causalOffset: nil, to: outputs[0])
    try engine.attention(queries, heads: heads, over: interleaved, causalOffset: nil, to: outputs[1])
    #expect(outputs[0].values == outputs[1].values)
  }

  /// Entries that were forgotten do not count, and may be written again.
  @Test func forgetsEntries() throws {
    var numbers = SeededNumbers(2)
    let engine = try engine(kernelNames[0])
    let cache = try KeyValueCache(heads: 1, headDimension: 32, capacity: 100, type: .float32)
    let keys = try Matrix(100, 32, &numbers)
    let values = try Matrix(100, 32, &numbers)
    cache.append(keys: keys, values: values, interleaved: false, using: engine)
    cache.count = 41
    cache.append(keys: keys[rows: 70..<75], values: values[rows: 70..<75], interleaved: false, using: engine)
    let queries = try Matrix(3, 32, &numbers)
    let output = try Matrix(rows: 3, columns: 32)
    try engine.attention(queries, heads: 1, over: cache, causalOffset: 43, to: output)
    let rows = Array(0..<41) + Array(70..<75)
    let expected = referenceAttention(
      queries.values, rows.flatMap { keys[rows: $0..<$0 + 1].values }, rows.flatMap { values[rows: $0..<$0 + 1].values }, tokens: 3,
      heads: 1, keyHeads: 1, dimension: 32, entries: 46, causalOffset: 43)
    expectClose(output.values, expected, within: 2e-6)
  }

  /// What is not a number is seen where it is read, and nothing where all is zero.
  @Test(arguments: kernelNames)
  func extremesInEightBits(_ kernels: String) throws {
    let engine = try engine(kernels)
    func attended(_ key: Float, _ value: Float) throws -> Float {
      let cache = try KeyValueCache(heads: 1, headDimension: 32, capacity: 40, type: .int8)
      let (keys, values) = try (Matrix(rows: 40, columns: 32), Matrix(rows: 40, columns: 32))
      for row in 0..<40 { (keys.row(row)[5], values.row(row)[7]) = (key, value) }
      cache.append(keys: keys, values: values, interleaved: false, using: engine)
      let output = try Matrix(rows: 1, columns: 32)
      let queries = try Matrix(rows: 1, columns: 32, values: [Float](repeating: 1, count: 32))
      try engine.attention(queries, heads: 1, over: cache, causalOffset: nil, to: output)
      return output.row(0)[7]
    }
    #expect(try attended(0, 0) == 0)
    #expect(try abs(attended(1, 1) - 1) < 1e-6)
    #expect(try abs(attended(1e-9, 1e-9) - 1e-9) < 1e-14)
    #expect(try abs(attended(60_000, 1e30) - 1e30) < 1e24)
    #expect(try attended(1, .nan).isNaN && attended(1, .infinity).isNaN && attended(.nan, 1).isNaN)
  }

  @Test func emptyCacheGivesZeros() throws {
    var numbers = SeededNumbers(3)
    let engine = try engine(kernelNames[0])
    let cache = try KeyValueCache(heads: 1, headDimension: 32, capacity: 10, type: .float32)
    let output = try Matrix(2, 64, &numbers)
    try engine.attention(Matrix(2, 64, &numbers), heads: 2, over: cache, causalOffset: nil, to: output)
    #expect(output.values.allSatisfy { $0 == 0 })
  }

  /// Scores so far apart that all weight is on one entry, in every order of appearance.
  @Test(arguments: kernelNames)
  func greatScores(_ kernels: String) throws {
    let engine = try engine(kernels)
    let entries = 700
    for peak in [0, 40, 300, 699] {
      let keys = try Matrix(rows: entries, columns: 16)
      let values = try Matrix(rows: entries, columns: 16)
      for entry in 0..<entries {
        keys.row(entry)[0] = entry == peak ? 4000 : -4000
        values.row(entry)[3] = Float(entry)
      }
      let cache = try KeyValueCache(heads: 1, headDimension: 16, capacity: entries, type: .float32)
      cache.append(keys: keys, values: values, interleaved: false, using: engine)
      let queries = try Matrix(rows: 1, columns: 16, values: [100] + [Float](repeating: 0, count: 15))
      let output = try Matrix(rows: 1, columns: 16)
      try engine.attention(queries, heads: 1, over: cache, causalOffset: nil, to: output)
      #expect(output.row(0)[3] == Float(peak))
    }
  }

  @Test func countsBytes() {
    #expect(KeyValueCache.byteCount(heads: 4, headDimension: 128, capacity: 1400, type: .float16) == 4 * 1408 * 256 * 2)
    #expect(KeyValueCache.byteCount(heads: 2, headDimension: 24, capacity: 33, type: .float32) == 2 * 64 * (24 + 32) * 4)
    // A scale for 64 values of a key, and one for each value.
    #expect(KeyValueCache.byteCount(heads: 4, headDimension: 128, capacity: 1400, type: .int8) == 4 * 1408 * (256 + 2 * 2 + 4))
    #expect(KeyValueCache.byteCount(heads: 2, headDimension: 24, capacity: 33, type: .int8) == 2 * 64 * (32 + 2 + 32 + 4))
    #expect(KeyValueCache.byteCount(heads: 1 << 40, headDimension: 128, capacity: 1 << 40, type: .float16) == .max)
    #expect(throws: ComputeError.outOfMemory(bytes: .max)) {
      try KeyValueCache(heads: 1 << 40, headDimension: 128, capacity: 1 << 40, type: .float16)
    }
  }
}
