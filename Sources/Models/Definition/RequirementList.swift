/// Builds the list of tensors part by part, under the published names.
package struct RequirementList {
  package private(set) var requirements: [TensorRequirement] = []

  private mutating func add(_ name: String, _ shape: [Int], _ role: TensorRole, _ layout: TensorLayout = .asStored) {
    requirements.append(TensorRequirement(name: name, shape: shape, role: role, layout: layout))
  }

  private mutating func addNorm(_ name: String, _ width: Int, hasBias: Bool) {
    add(name + ".weight", [width], .norm)
    if hasBias { add(name + ".bias", [width], .norm) }
  }

  private mutating func addLinear(_ name: String, _ rows: Int, _ columns: Int, _ role: TensorRole, hasBias: Bool) {
    add(name + ".weight", [rows, columns], role)
    if hasBias { add(name + ".bias", [rows], .bias) }
  }

  package mutating func addTower(_ tower: TowerShape) {
    let prefix = TowerShape.prefix
    add(prefix + "stem.0.weight", [tower.widths[0], 3, tower.patch, tower.patch], .towerStem, .patchMatrix)
    add(prefix + "stem.0.bias", [tower.widths[0]], .bias)
    addNorm(prefix + "stem.1", tower.widths[0], hasBias: true)
    for (stage, depth) in tower.depths.enumerated() {
      let width = tower.widths[stage]
      let inner = tower.innerWidths[stage]
      let name = prefix + "stages.\(stage)."
      if stage > 0 {
        let previous = tower.widths[stage - 1]
        addNorm(name + "downsample.0", previous, hasBias: true)
        add(name + "downsample.1.weight", [width, previous, 2, 2], .towerDownsample, .patchMatrix)
        add(name + "downsample.1.bias", [width], .bias)
      }
      for block in 0..<depth {
        let name = name + "blocks.\(block)."
        add(name + "conv_dw.weight", [width, 1, 7, 7], .towerDepthwise, .depthwise)
        add(name + "conv_dw.bias", [width], .bias)
        addNorm(name + "norm", width, hasBias: true)
        addLinear(name + "mlp.fc1", inner, width, .towerLinear, hasBias: true)
        addLinear(name + "mlp.fc2", width, inner, .towerLinear, hasBias: true)
        add(name + "weight", [width], .layerScale)
      }
    }
  }

  package mutating func addProjector(_ config: ModelConfig, width: Int) {
    switch config.projector {
    case .identity: break
    case .linear: addLinear("model.mm_projector", config.hiddenSize, width, .projector, hasBias: true)
    case .mlp(let depth):
      for index in 0..<depth {
        let columns = index == 0 ? width : config.hiddenSize
        addLinear("model.mm_projector.\(2 * index)", config.hiddenSize, columns, .projector, hasBias: true)
      }
    }
  }

  package mutating func addDecoder(_ config: ModelConfig, hasHead: Bool) {
    let hidden = config.hiddenSize
    let queries = config.headCount * config.headDimension
    let keys = config.keyValueHeadCount * config.headDimension
    add(TensorSchema.embeddingName, [config.vocabularySize, hidden], .embedding)
    for layer in 0..<config.layerCount {
      let name = "model.layers.\(layer)."
      let attention = name + "self_attn."
      addNorm(name + "input_layernorm", hidden, hasBias: false)
      addLinear(attention + "q_proj", queries, hidden, .attention, hasBias: true)
      addLinear(attention + "k_proj", keys, hidden, .attention, hasBias: true)
      addLinear(attention + "v_proj", keys, hidden, .attention, hasBias: true)
      addLinear(attention + "o_proj", hidden, queries, .attention, hasBias: false)
      if let hybrid = config.hybrid, hybrid.layers.contains(layer) {
        addLinear(attention + "cross_attn_kv_proj", 2 * keys, hidden, .crossAttention, hasBias: true)
        add(attention + "cross_attn_gate_proj.0.weight", [1, queries], .gate)
        add(attention + "cross_attn_gate_proj.0.bias", [1], .gate)
        if hybrid.gateHasWarmUp { add(attention + "cross_attn_warm_up_gate", [1], .gate) }
      }
      addNorm(name + "post_attention_layernorm", hidden, hasBias: false)
      addLinear(name + "mlp.gate_proj", config.intermediateSize, hidden, .mlp, hasBias: false)
      addLinear(name + "mlp.up_proj", config.intermediateSize, hidden, .mlp, hasBias: false)
      addLinear(name + "mlp.down_proj", hidden, config.intermediateSize, .mlp, hasBias: false)
    }
    addNorm("model.norm", hidden, hasBias: false)
    // Tied checkpoints have no head of their own, or one that is the embedding again.
    if !config.tiesWordEmbeddings || hasHead { add("lm_head.weight", [config.vocabularySize, hidden], .head) }
  }
}
