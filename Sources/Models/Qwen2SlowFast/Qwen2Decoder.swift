import Compute
import Support
import Tensors

/// Qwen2, and Llama, which is the same without biases; hybrid layers also read the slow tokens through cross-attention.
package struct Qwen2Decoder: Decoder {
  package static let modelTypes = ["llava_qwen_slow_fast", "llava_qwen", "llava_qwen2", "llava", "qwen2", "llama"]

  package let config: ModelConfig
  package let ownsHead: Bool
  package let layers: [any DecoderLayer]
  private let norm: Matrix  // [1, hidden]
  package let head: WeightMatrix

  package init(_ config: ModelConfig, ownsHead: Bool, _ builder: LayerBuilder) throws(SlowFastError) {
    self.config = config
    self.ownsHead = ownsHead
    let (vocabulary, hidden) = (config.vocabularySize, config.hiddenSize)
    builder.embedding(TensorSchema.embeddingName, vocabulary, hidden)
    var layers: [any DecoderLayer] = []
    for index in 0..<config.layerCount {
      layers.append(
        try builder.scope("model.layers.\(index).") { () throws(SlowFastError) in
          try builder.unit { () throws(SlowFastError) in try Layer(config, index, builder) }
        })
    }
    self.layers = layers
    (norm, head) = try builder.unit { () throws(SlowFastError) in
      let norm = try builder.vector("model.norm.weight", hidden, .norm)
      guard ownsHead else { return (norm, try builder.shared(TensorSchema.embeddingName, vocabulary, hidden)) }
      let head = try builder.linear("lm_head", vocabulary, hidden, .head, hasBias: false).weight
      builder.fold(inputsOf: ["lm_head"], into: ["model.norm.weight"])
      return (norm, head)
    }
  }

  package var finalNorm: RowNorm { .rms(weight: norm, epsilon: config.rmsNormEpsilon) }

  package var scratch: ScratchMeasures {
    ScratchMeasures(
      widestInput: max(config.intermediateSize, config.hiddenSize, config.headCount * config.headDimension), heads: config.headCount,
      keyHeads: config.keyValueHeadCount, headDimension: config.headDimension, mapWidth: 0)
  }

  private struct Layer: DecoderLayer {
    let config: ModelConfig
    let inputNorm: Matrix  // [1, hidden]
    let query: Linear  // [heads · headDimension, hidden]
    let key: Linear  // [keyValueHeads · headDimension, hidden]
    let value: Linear
    let output: Linear
    let cross: CrossAttention?
    let postNorm: Matrix  // [1, hidden]
    let gate: WeightMatrix  // [intermediate, hidden]
    let up: WeightMatrix
    let down: Linear  // [hidden, intermediate]

    init(_ config: ModelConfig, _ index: Int, _ builder: LayerBuilder) throws(SlowFastError) {
      self.config = config
      let (hidden, inner) = (config.hiddenSize, config.intermediateSize)
      let queries = config.headCount * config.headDimension
      let keys = config.keyValueHeadCount * config.headDimension
      let hybrid = config.hybrid.flatMap { $0.layers.contains(index) ? $0 : nil }

      let inputNorm = try builder.vector("input_layernorm.weight", hidden, .norm)
      self.inputNorm = inputNorm
      let bias = config.attentionHasBias
      query = try builder.linear("self_attn.q_proj", queries, hidden, .attention, hasBias: bias, input: "self_attn")
      key = try builder.linear("self_attn.k_proj", keys, hidden, .attention, hasBias: bias, input: "self_attn")
      value = try builder.linear("self_attn.v_proj", keys, hidden, .attention, hasBias: bias, input: "self_attn")
      output = try builder.linear("self_attn.o_proj", hidden, queries, .attention, hasBias: false)
      cross = try hybrid.map { hybrid throws(SlowFastError) in
        try builder.scope("self_attn.") { () throws(SlowFastError) in try CrossAttention(config, hybrid, inputNorm, builder) }
      }
      let readers = ["self_attn.q_proj"] + (hybrid == nil ? [] : ["self_attn.cross_attn_kv_proj"])
      builder.fold(inputsOf: readers, into: ["input_layernorm.weight"])

      postNorm = try builder.vector("post_attention_layernorm.weight", hidden, .norm)
      gate = try builder.linear("mlp.gate_proj", inner, hidden, .mlp, hasBias: false, input: "mlp").weight
      up = try builder.linear("mlp.up_proj", inner, hidden, .mlp, hasBias: false, input: "mlp").weight
      down = try builder.linear("mlp.down_proj", hidden, inner, .mlp, hasBias: false)
      builder.fold(inputsOf: ["mlp.gate_proj"], into: ["post_attention_layernorm.weight"])
      // Their product is linear in `up`.
      builder.fold(inputsOf: ["mlp.down_proj"], rowsOf: "mlp.up_proj")
    }

    var readsSlowTokens: Bool { cross != nil }

    var generationWeights: [WeightMatrix] { [query.weight, key.weight, value.weight, output.weight, gate, up, down.weight] }

    func products(context: Int, slowTokens: Int) -> Int {
      let linear = generationWeights.reduce(0) { $0 + $1.rows * $1.columns }
      let own = linear + 2 * context * query.weight.rows
      return cross == nil || slowTokens == 0 ? own : own + (2 * slowTokens + 1) * query.weight.rows
    }

    func slowProducts(_ slowTokens: Int) -> Int { cross.map { slowTokens * $0.keyValue.weightCount } ?? 0 }

    func makeSlowCache(_ slowTokens: [StoredRows], type: KeyValueType, on engine: Engine) throws(ComputeError) -> KeyValueCache? {
      guard let cross else { return nil }
      return try cross.makeCache(slowTokens, type: type, on: engine)
    }

    func run(_ x: Matrix, _ parts: [LayerPart], in workspace: DecoderWorkspace, on engine: Engine) throws(ComputeError) {
      let rows = 0..<x.rows
      let alone = parts.alone
      let query = workspace.query[rows: rows]
      let key = workspace.key[rows: rows]
      let value = workspace.value[rows: rows]
      let attended = workspace.attended[rows: rows]
      try engine.linear(
        x, norm: .rms(weight: inputNorm, epsilon: config.rmsNormEpsilon), alone: alone,
        [self.query.product(to: query), self.key.product(to: key), self.value.product(to: value)])
      for part in parts.inOrder {
        for x in [query, key] {
          try engine.rotate(x[rows: part.rows], headDimension: config.headDimension, position: part.position, theta: config.ropeTheta)
        }
        let (own, past) = (part.own, part.own.count)
        own.append(keys: key[rows: part.rows], values: value[rows: part.rows], interleaved: false, using: engine)
        try engine.attention(
          query[rows: part.rows], heads: config.headCount, over: own, causalOffset: past, to: attended[rows: part.rows])
        guard let cross, let slow = part.slow else { continue }
        for range in part.crossRanges where !range.isEmpty {
          try cross.add(
            to: attended[rows: range], query: query[rows: range], slow: slow, scratch: workspace.cross[rows: range],
            gates: workspace.gates[rows: range], on: engine)
        }
      }
      try engine.linear(attended, alone: alone, [output.product(.addTo(scale: nil), to: x)])
      try engine.perceptron(
        x, norm: .rms(weight: postNorm, epsilon: config.rmsNormEpsilon), alone: alone, .gated(gate: gate, up: up),
        down.product(.addTo(scale: nil), to: x)
      )
    }
  }
}
