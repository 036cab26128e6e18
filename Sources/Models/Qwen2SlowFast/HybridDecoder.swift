import Compute
import Support
import Tensors

/// Qwen2 whose hybrid layers also read the slow tokens through cross-attention.
package struct HybridDecoder: Sendable {
  package let layers: [Layer]
  package let norm: Matrix  // model.norm.weight, [1, hidden]
  package let head: WeightMatrix  // lm_head.weight or the tied embedding, [vocabulary, hidden]
  package let config: ModelConfig

  package struct Layer: Sendable {
    package let inputNorm: Matrix  // input_layernorm.weight, [1, hidden]
    package let query: Linear  // self_attn.q_proj, [heads · headDimension, hidden]
    package let key: Linear  // self_attn.k_proj, [keyValueHeads · headDimension, hidden]
    package let value: Linear  // self_attn.v_proj
    package let output: Linear  // self_attn.o_proj, no bias
    package let cross: CrossAttention?  // in hybrid layers
    package let postNorm: Matrix  // post_attention_layernorm.weight, [1, hidden]
    package let gate: WeightMatrix  // mlp.gate_proj, [intermediate, hidden]
    package let up: WeightMatrix  // mlp.up_proj
    package let down: Linear  // mlp.down_proj, [hidden, intermediate]

    package init(_ source: any WeightSource, _ index: Int) throws(SlowFastError) {
      let name = "model.layers.\(index)."
      let isHybrid = source.config.hybrid?.layers.contains(index) == true
      inputNorm = try source.vector(name + "input_layernorm.weight")
      query = try Linear(source, name + "self_attn.q_proj", hasBias: true)
      key = try Linear(source, name + "self_attn.k_proj", hasBias: true)
      value = try Linear(source, name + "self_attn.v_proj", hasBias: true)
      output = try Linear(source, name + "self_attn.o_proj", hasBias: false)
      cross = isHybrid ? try CrossAttention(source, name + "self_attn.") : nil
      postNorm = try source.vector(name + "post_attention_layernorm.weight")
      gate = try source.matrix(name + "mlp.gate_proj.weight")
      up = try source.matrix(name + "mlp.up_proj.weight")
      down = try Linear(source, name + "mlp.down_proj", hasBias: false)
    }
  }

  package init(_ source: any WeightSource) throws(SlowFastError) {
    config = source.config
    var layers: [Layer] = []
    for index in 0..<config.layerCount { layers.append(try Layer(source, index)) }
    self.layers = layers
    norm = try source.vector("model.norm.weight")
    head = try source.matrix(source.schema.headName)
  }

  /// Memory for up to `tokens` tokens on their way through one layer.
  package struct Workspace {
    package let query: Matrix  // [tokens, heads · headDimension]
    package let key: Matrix  // [tokens, keyValueHeads · headDimension]
    package let value: Matrix
    package let attended: Matrix  // [tokens, heads · headDimension]
    package let cross: Matrix  // [tokens, heads · headDimension]
    package let gates: Matrix  // [tokens, 1]
    package var tokens: Int { query.rows }

    package init(config: ModelConfig, tokens: Int) throws(ComputeError) {
      let queries = config.headCount * config.headDimension
      let keys = config.keyValueHeadCount * config.headDimension
      query = try Matrix(rows: tokens, columns: queries)
      key = try Matrix(rows: tokens, columns: keys)
      value = try Matrix(rows: tokens, columns: keys)
      attended = try Matrix(rows: tokens, columns: queries)
      cross = try Matrix(rows: config.hybrid == nil ? 0 : tokens, columns: queries)
      gates = try Matrix(rows: tokens, columns: 1)
    }

    package static func floats(config: ModelConfig, tokens: Int) -> Int {
      let queries = config.headCount * config.headDimension
      let keys = config.keyValueHeadCount * config.headDimension
      let cross = config.hybrid == nil ? 0 : queries
      return tokens * (2 * queries + cross + 2 * keys + 1)
    }
  }

  /// Runs `x` `[tokens, hidden]` (at most the workspace's tokens) through all layers in place; it becomes the last layer's output.
  /// `crossRanges` are the rows that read the slow tokens; `position` is the first row's. `afterLayer` sees `x` after each layer and
  /// says whether to go on. False when it said no: the caches of some layers then hold more than the others'.
  package func run(
    _ x: Matrix, position: Int, caches: DecoderCaches, crossRanges: [Range<Int>], in workspace: Workspace, on engine: Engine,
    afterLayer: (Int, Matrix) -> Bool
  ) throws(ComputeError) -> Bool {
    for (index, layer) in layers.enumerated() {
      try layer.run(
        x, position: position, own: caches.own[index], slow: caches.slow[index], crossRanges: crossRanges, config: config, in: workspace,
        on: engine)
      guard afterLayer(index, x) else { return false }
    }
    return true
  }

  /// The matrices that a generated token is multiplied with, in order.
  package var generationWeights: [WeightMatrix] {
    layers.flatMap { [$0.query.weight, $0.key.weight, $0.value.weight, $0.output.weight, $0.gate, $0.up, $0.down.weight] } + [head]
  }

  package var finalNorm: RowNorm { .rms(weight: norm, epsilon: config.rmsNormEpsilon) }

  /// Final norm and head: `x` `[tokens, hidden]` → `logits` `[tokens, vocabulary]`.
  package func readOut(_ x: Matrix, logits: Matrix, on engine: Engine) throws(ComputeError) {
    try engine.linear(x, norm: finalNorm, [LinearProduct(head, to: logits)])
  }
}

extension HybridDecoder.Layer {
  /// Runs `x` `[tokens, hidden]` through the layer in place; its keys and values join `own`.
  package func run(
    _ x: Matrix, position: Int, own: KeyValueCache, slow: KeyValueCache?, crossRanges: [Range<Int>], config: ModelConfig,
    in workspace: HybridDecoder.Workspace, on engine: Engine
  ) throws(ComputeError) {
    let rows = 0..<x.rows
    let query = workspace.query[rows: rows]
    let key = workspace.key[rows: rows]
    let value = workspace.value[rows: rows]
    let attended = workspace.attended[rows: rows]
    let headDimension = config.headDimension
    try engine.linear(
      x, norm: .rms(weight: inputNorm, epsilon: config.rmsNormEpsilon),
      [self.query.product(to: query), self.key.product(to: key), self.value.product(to: value)])
    for x in [query, key] {
      try engine.rotate(x, headDimension: headDimension, position: position, theta: config.ropeTheta)
    }
    let past = own.count
    own.append(keys: key, values: value, interleaved: false, using: engine)
    try engine.attention(query, heads: config.headCount, over: own, causalOffset: past, to: attended)
    if let cross, let slow {
      for range in crossRanges where !range.isEmpty {
        try cross.add(
          to: attended[rows: range], query: query[rows: range], slow: slow, scratch: workspace.cross[rows: range],
          gates: workspace.gates[rows: range], config: config, on: engine)
      }
    }
    try engine.linear(attended, [output.product(.addTo(scale: nil), to: x)])
    try engine.perceptron(
      x, norm: .rms(weight: postNorm, epsilon: config.rmsNormEpsilon), .gated(gate: gate, up: up), down.product(.addTo(scale: nil), to: x))
  }
}

/// Keys and values that a conversation keeps, one cache a layer.
package struct DecoderCaches: Sendable {
  /// Of the tokens so far.
  package var own: [KeyValueCache]
  /// Of the slow tokens; nil in plain layers and where there is no clip.
  package var slow: [KeyValueCache?]

  package var count: Int { own.first?.count ?? 0 }

  package init(config: ModelConfig, capacity: Int, type: ScalarType) throws(ComputeError) {
    var own: [KeyValueCache] = []
    for _ in 0..<config.layerCount {
      own.append(
        try KeyValueCache(heads: config.keyValueHeadCount, headDimension: config.headDimension, capacity: capacity, type: type))
    }
    self.own = own
    slow = Array(repeating: nil, count: config.layerCount)
  }

  package var hasSlow: Bool { slow.contains { $0 != nil } }

  /// Keys and values of a clip's slow tokens `[count, hidden]` for every hybrid layer.
  package mutating func readSlow(
    _ tokens: Matrix, decoder: HybridDecoder, type: ScalarType, on engine: Engine,
    progress: (_ layer: Int, _ count: Int) -> Void = { _, _ in }
  ) throws(ComputeError) {
    let count = decoder.layers.count { $0.cross != nil }
    var done = 0
    progress(0, count)
    for (index, layer) in decoder.layers.enumerated() {
      slow[index] = try layer.cross?.makeCache(
        slow: tokens, inputNorm: layer.inputNorm, config: decoder.config, type: type, on: engine)
      guard layer.cross != nil else { continue }
      done += 1
      progress(done, count)
    }
  }

  /// Makes room for `capacity` tokens of the conversation.
  package mutating func grow(to capacity: Int) throws(ComputeError) {
    for index in own.indices { own[index] = try own[index].grown(to: capacity) }
  }

  /// Forgets all but the first `count` tokens.
  package func truncate(to count: Int) {
    for cache in own { cache.count = min(cache.count, count) }
  }
}
