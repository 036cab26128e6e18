import Compute
import Foundation
import Support
import Tensors

/// What a hybrid layer has beyond a Qwen2 layer: text reads the slow tokens.
///
///     gate = tanh(cross_attn_gate_proj(a)) · tanh(cross_attn_warm_up_gate)
///     a'   = a + gate · softmax(q kᵀ / √d) v          a: self-attention before o_proj, q: the layer's queries after RoPE
package struct CrossAttention: Sendable {
  package let keyValue: Linear  // cross_attn_kv_proj, [2 · keyValueHeads · headDimension, hidden]: per head its key, then its value
  package let gate: Linear  // cross_attn_gate_proj.0, [1, heads · headDimension]
  package let gateHasTanh: Bool
  /// The warm-up factor as it multiplies the gate; 1 where there is none.
  package let warmUp: Float

  package init(_ source: any WeightSource, _ name: String) throws(SlowFastError) {
    keyValue = try Linear(source, name + "cross_attn_kv_proj", hasBias: true)
    gate = try Linear(source, name + "cross_attn_gate_proj.0", hasBias: true)
    let hybrid = source.config.hybrid
    gateHasTanh = hybrid?.gateHasTanh ?? false
    if hybrid?.gateHasWarmUp == true {
      let raw = try source.vector(name + "cross_attn_warm_up_gate").values[0]
      // `vanilla` takes the parameter as it is.
      warmUp = hybrid?.isTextOnly == true ? tanh(raw) : raw
    } else {
      warmUp = 1
    }
  }

  /// Rows of slow tokens that are projected together.
  package static let blockTokens = 512

  /// Keys and values of a clip's slow tokens `[count, hidden]` in this layer. `inputNorm` is the layer's own RMSNorm.
  package func makeCache(slow: Matrix, inputNorm: Matrix, config: ModelConfig, type: ScalarType, on engine: Engine) throws(ComputeError)
    -> KeyValueCache
  {
    let cache = try KeyValueCache(
      heads: config.keyValueHeadCount, headDimension: config.headDimension, capacity: slow.rows, type: type)
    let block = min(Self.blockTokens, slow.rows)
    let projected = try Matrix(rows: block, columns: keyValue.weight.rows)
    for start in stride(from: 0, to: slow.rows, by: block) {
      let range = start..<min(start + block, slow.rows)
      let rows = 0..<range.count
      try engine.linear(
        slow[rows: range], norm: .rms(weight: inputNorm, epsilon: config.rmsNormEpsilon), [keyValue.product(to: projected[rows: rows])])
      cache.append(keys: projected[rows: rows], values: nil, interleaved: true, using: engine)
    }
    return cache
  }

  /// `attended += gate · c` for rows that all cross-attend. All `[rows, heads · headDimension]` but `gates`, `[rows, 1]`.
  package func add(
    to attended: Matrix, query: Matrix, slow: KeyValueCache, scratch: Matrix, gates: Matrix, config: ModelConfig, on engine: Engine
  ) throws(ComputeError) {
    try engine.attention(query, heads: config.headCount, over: slow, causalOffset: nil, to: scratch)
    try engine.linear(attended, [gate.product(to: gates)])
    for row in 0..<attended.rows {
      let value = gates.row(row)[0]
      let factor = (gateHasTanh ? tanh(value) : value) * warmUp
      engine.kernels.float.addMultiple(factor, scratch.row(row), attended.columns, attended.row(row))
    }
  }
}
