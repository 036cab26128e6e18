import Compute
import Kernels
import Measurement
import Parallel

/// Attention over keys and values as a cache keeps them: of one token, and of the last 48 of a prompt: few, so that a run is short.
struct CacheAttention {
  struct Shape {
    let heads: Int
    let keyHeads: Int
    let dimension: Int
    let tokens: Int
  }

  /// Of the published decoder, and of LLaVA-OneVision's of 0.5B.
  static let shapes = [
    Shape(heads: 28, keyHeads: 4, dimension: 128, tokens: 1), Shape(heads: 14, keyHeads: 2, dimension: 64, tokens: 48),
    Shape(heads: 28, keyHeads: 4, dimension: 128, tokens: 48),
  ]
  /// Contexts; 6273 and 12,545 are 32 and 64 frames of LLaVA-OneVision, 98,304 are 1536 frames of 64 slow tokens.
  static func contexts(tokens: Int) -> [Int] { tokens == 1 ? [512, 4096, 98_304] : [512, 6273, 12_545] }

  private let engine: Engine

  init(_ kernels: KernelTable, _ pool: ThreadPool) throws { engine = try Engine(pool: pool, kernels: kernels) }

  /// Multiply-adds a second, one figure for each context.
  func rates(_ shape: Shape, _ type: KeyValueType) throws -> [Double] {
    try Self.contexts(tokens: shape.tokens).map { context in
      let cache = try KeyValueCache(heads: shape.keyHeads, headDimension: shape.dimension, capacity: context, type: type)
      let width = shape.keyHeads * shape.dimension
      let (keys, values) = try (random(512, width), random(512, width))
      while cache.count < context {
        let rows = 0..<min(512, context - cache.count)
        cache.append(keys: keys[rows: rows], values: values[rows: rows], interleaved: false, using: engine)
      }
      let queries = try random(shape.tokens, shape.heads * shape.dimension)
      let output = try Matrix(rows: shape.tokens, columns: queries.columns)
      var failure: (any Error)?
      let seconds = fastest(budget: 0.7) {
        do {
          try engine.attention(queries, heads: shape.heads, over: cache, causalOffset: context - shape.tokens, to: output)
        } catch { failure = error }
      }
      if let failure { throw failure }
      // A token sees those up to itself.
      let seen = shape.tokens * context - shape.tokens * (shape.tokens - 1) / 2
      return Double(2 * seen * queries.columns) / seconds
    }
  }

  private func random(_ rows: Int, _ columns: Int) throws -> Matrix {
    let matrix = try Matrix(rows: rows, columns: columns)
    var state: UInt32 = 1
    for index in 0..<rows * columns {
      state = state &* 1_664_525 &+ 1_013_904_223
      matrix.pointer[index] = Float(Int32(bitPattern: state)) / 0x1p31
    }
    return matrix
  }
}
