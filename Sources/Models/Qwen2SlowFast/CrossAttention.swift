import Compute
import Foundation
import Support
import Tensors

/// What a hybrid layer has beyond a plain one: text reads the slow tokens.
///
///     gate = tanh(cross_attn_gate_proj(a)) · tanh(cross_attn_warm_up_gate)
///     a'   = a + gate · softmax(q kᵀ / √d) v          a: self-attention before o_proj, q: the layer's queries after RoPE
package struct CrossAttention: Sendable {
  package let keyValue: Linear  // [2 · keyValueHeads · headDimension, hidden]: per head its key, then its value
  private let gate: Linear  // [1, heads · headDimension]
  private let warmUpGate: Matrix?  // [1, 1]
  private let hybrid: HybridConfig
  private let config: ModelConfig
  /// The layer's own RMSNorm, which the slow tokens go through too.
  private let inputNorm: Matrix

  /// Rows of slow tokens that are projected together.
  private static let blockTokens = 512

  /// Tensors of `cross_attn_…` in the builder's scope.
  package init(_ config: ModelConfig, _ hybrid: HybridConfig, _ inputNorm: Matrix, _ builder: LayerBuilder) throws(SlowFastError) {
    self.config = config
    self.hybrid = hybrid
    self.inputNorm = inputNorm
    let keys = config.keyValueHeadCount * config.headDimension
    keyValue = try builder.linear("cross_attn_kv_proj", 2 * keys, config.hiddenSize, .crossAttention)
    gate = try builder.linear("cross_attn_gate_proj.0", 1, config.headCount * config.headDimension, .gate, biasRole: .gate)
    warmUpGate = hybrid.gateHasWarmUp ? try builder.vector("cross_attn_warm_up_gate", 1, .gate) : nil
  }

  /// The factor as it multiplies the gate; `vanilla` takes the parameter as it is.
  private var warmUp: Float {
    guard let raw = warmUpGate?.values[0] else { return 1 }
    return hybrid.isTextOnly ? tanh(raw) : raw
  }

  /// Keys and values of the clips' slow tokens, each `[count, hidden]`.
  package func makeCache(_ slow: [StoredRows], type: KeyValueType, on engine: Engine) throws(ComputeError) -> KeyValueCache {
    let cache = try KeyValueCache(
      heads: config.keyValueHeadCount, headDimension: config.headDimension, capacity: slow.reduce(0) { $0 + $1.rows }, type: type)
    let block = min(Self.blockTokens, cache.capacity)
    let projected = try Matrix(rows: block, columns: keyValue.weight.rows)
    let read = try Matrix(rows: slow.allSatisfy { $0.type == .float32 } ? 0 : block, columns: config.hiddenSize)
    for part in slow {
      for start in stride(from: 0, to: part.rows, by: block) {
        let tokens = part.load(start..<min(start + block, part.rows), in: read, pool: engine.pool)
        let rows = projected[rows: 0..<tokens.rows]
        try engine.linear(tokens, norm: .rms(weight: inputNorm, epsilon: config.rmsNormEpsilon), [keyValue.product(to: rows)])
        cache.append(keys: rows, values: nil, interleaved: true, using: engine)
      }
    }
    return cache
  }

  /// Floats between slow tokens and their keys and values.
  package static func bufferFloats(_ config: ModelConfig) -> Int {
    blockTokens * (config.hiddenSize + 2 * config.keyValueHeadCount * config.headDimension)
  }

  /// `attended += gate · c` for rows that all cross-attend. All `[rows, heads · headDimension]` but `gates`, `[rows, 1]`.
  package func add(
    to attended: Matrix, query: Matrix, slow: KeyValueCache, scratch: Matrix, gates: Matrix, on engine: Engine
  ) throws(ComputeError) {
    try engine.attention(query, heads: config.headCount, over: slow, causalOffset: nil, to: scratch)
    try engine.linear(attended, [gate.product(to: gates)])
    let warmUp = warmUp
    for row in 0..<attended.rows {
      let value = gates.row(row)[0]
      let factor = (hybrid.gateHasTanh ? tanh(value) : value) * warmUp
      engine.kernels.float.addMultiple(factor, scratch.row(row), attended.columns, attended.row(row))
    }
  }
}
