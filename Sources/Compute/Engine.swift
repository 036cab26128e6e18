import Kernels
import Parallel

/// The operators of the model on one machine: a kernel table, a thread pool, scratch memory.
/// Not for two threads at once: each session has its own and they may share a pool.
public final class Engine {
  public let kernels: KernelTable
  public let pool: ThreadPool

  /// `kernels` defaults to the best that this machine runs, or what `SLOWFAST_KERNELS` names.
  public init(pool: ThreadPool, kernels: KernelTable? = nil) throws(ComputeError) {
    fatalError("to be written")
  }
}

/// What happens to a product before it reaches memory. `bias` always comes first.
public enum Epilogue {
  case store
  /// Exact GELU.
  case gelu
  /// `output += scale · product`; nil scale is 1: a residual connection with or without layer scale. `scale` is `[1, rows of the weight]`.
  case addTo(scale: Matrix?)
}

/// One of the products that share an input.
public struct LinearProduct {
  public var weight: WeightMatrix
  /// `[1, weight.rows]`.
  public var bias: Matrix?
  public var epilogue: Epilogue
  /// `[tokens, weight.rows]`.
  public var output: Matrix

  public init(_ weight: WeightMatrix, bias: Matrix? = nil, _ epilogue: Epilogue = .store, to output: Matrix) {
    self.weight = weight
    self.bias = bias
    self.epilogue = epilogue
    self.output = output
  }
}

extension Engine {
  /// `output = epilogue(input · weightᵀ + bias)` for each product. `input` is `[tokens, columns of every weight]`.
  /// Quantized weights take the input as int8, quantized once for all products of the same group.
  public func linear(_ input: Matrix, _ products: [LinearProduct]) throws(ComputeError) { fatalError() }

  /// `output = silu(input · gateᵀ) · (input · upᵀ)`; `output` `[tokens, gate.rows]`.
  public func gatedLinear(_ input: Matrix, gate: WeightMatrix, up: WeightMatrix, to output: Matrix) throws(ComputeError) { fatalError() }

  /// Row by row; `output` may be `input`. `weight`, `bias` `[1, columns]`.
  public func layerNorm(_ input: Matrix, weight: Matrix, bias: Matrix, epsilon: Float, to output: Matrix) { fatalError() }
  public func rmsNorm(_ input: Matrix, weight: Matrix, epsilon: Float, to output: Matrix) { fatalError() }

  /// Depthwise 7×7 over a channels-last map: `input`, `output` `[height · width, channels]`, `weights` `[49, channels]`, `bias` `[1, channels]`.
  public func depthwise7x7(_ input: Matrix, height: Int, width: Int, weights: Matrix, bias: Matrix, to output: Matrix) { fatalError() }

  /// Rotary embedding in place of `[tokens, heads · headDimension]` whose first row is at `position`, as Qwen2 has it.
  public func rotate(_ x: Matrix, headDimension: Int, position: Int, theta: Float) throws(ComputeError) { fatalError() }

  /// Attention of `[tokens, heads · headDimension]` over a cache; `heads` a multiple of the cache's, grouped in order; scores scaled by 1/√headDimension.
  /// Causal: row i sees the first `causalOffset + i + 1` entries; with a nil offset every row sees all. Online softmax: no full score matrix.
  /// `output` has the queries' shape, and may not be the queries.
  public func attention(_ queries: Matrix, heads: Int, over cache: KeyValueCache, causalOffset: Int?, to output: Matrix) throws(ComputeError) { fatalError() }

  /// `output[r] = table[ids[r]]` as floats.
  public func gatherRows(_ ids: [Int32], of table: WeightMatrix, to output: Matrix) { fatalError() }
}

/// Keys and values of one layer, in the layout its attention reads.
public final class KeyValueCache: @unchecked Sendable {
  public let heads: Int
  public let headDimension: Int
  /// Entries that fit.
  public let capacity: Int
  /// Entries there are; lowering it forgets the last ones.
  public var count: Int = 0
  /// `.float16` or `.float32`.
  public let type: FloatType

  public init(heads: Int, headDimension: Int, capacity: Int, type: FloatType) throws(ComputeError) { fatalError() }

  /// Bytes that a cache of these measures takes.
  public static func byteCount(heads: Int, headDimension: Int, capacity: Int, type: FloatType) -> Int { fatalError() }

  /// Adds rows: `keys`, `values` `[tokens, heads · headDimension]` (any stride, so that one may be columns of a wider matrix).
  /// With `interleaved`, `keys` holds both: per head its key, then its value, and `values` is nil.
  public func append(keys: Matrix, values: Matrix?, interleaved: Bool, using engine: Engine) { fatalError() }
}
