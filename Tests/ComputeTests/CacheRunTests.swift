import Compute
import Kernels
import Tensors
import TestSupport
import Testing

/// Entries of a cache as bytes: into another cache of another capacity, and into a larger one.
@Suite struct CacheRunTests {
  @Test(arguments: KeyValueType.allCases, [1, 31, 32, 33, 70])
  func entriesMove(type: KeyValueType, count: Int) throws {
    let engine = try engine("portable", threads: 1)
    var numbers = SeededNumbers(5)
    let (heads, dimension) = (2, 40)
    let cache = try KeyValueCache(heads: heads, headDimension: dimension, capacity: 100, type: type)
    cache.append(
      keys: try Matrix(100, heads * dimension, &numbers), values: try Matrix(100, heads * dimension, &numbers), interleaved: false,
      using: engine)
    cache.count = count
    let bytes = cache.runs(count).flatMap { Array($0) }
    #expect(bytes.count == KeyValueCache.runBytes(heads: heads, headDimension: dimension, count: count, type: type))

    let restored = try KeyValueCache(heads: heads, headDimension: dimension, capacity: count, type: type)
    bytes.withUnsafeBytes { restored.restore(count, from: $0) }
    let queries = try Matrix(3, heads * dimension, &numbers)
    func attended(_ cache: KeyValueCache) throws -> [Float] {
      let output = try Matrix(rows: 3, columns: heads * dimension)
      try engine.attention(queries, heads: heads, over: cache, causalOffset: nil, to: output)
      return output.values
    }
    let expected = try attended(cache)
    #expect(restored.count == count)
    #expect(try attended(restored) == expected)
    #expect(try attended(cache.grown(to: 300)) == expected)
    // What is added next is behind what was there.
    let further = try Matrix(1, heads * dimension, &numbers)
    let grown = try restored.grown(to: count + 1)
    for cache in [cache, grown] { cache.append(keys: further, values: further, interleaved: false, using: engine) }
    #expect(try attended(grown) == attended(cache))
  }

  @Test func nothingIsNothing() throws {
    let cache = try KeyValueCache(heads: 2, headDimension: 8, capacity: 4, type: .float16)
    #expect(cache.runs(0).isEmpty && KeyValueCache.runBytes(heads: 2, headDimension: 8, count: 0, type: .float16) == 0)
    cache.restore(0, from: UnsafeRawBufferPointer(start: nil, count: 0))
    #expect(cache.count == 0)
  }
}
