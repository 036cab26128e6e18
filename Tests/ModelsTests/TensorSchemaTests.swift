import Models
import Testing

/// The list of tensors that a model is made of.
@Suite struct TensorSchemaTests {
  /// Two stages of two blocks; a decoder of two layers, the first hybrid.
  private func small(_ changes: [String: Any?] = [:]) throws -> ModelConfig {
    var all: [String: Any?] = [
      "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
      "vocab_size": 50, "input_image_size": 32, "cross_attn_every_n_layers": 2,
    ]
    for (name, value) in changes { all[name] = value }
    return try config(all)
  }

  /// Shapes of all tensors that the config needs.
  private func shapes(_ config: ModelConfig) throws -> [String: [Int]] {
    let prefix = TowerShape.prefix
    var known: [String: [Int]] = [prefix + "stem.0.weight": [8, 3, 4, 4]]
    for (stage, width) in [8, 12].enumerated() {
      for block in 0..<2 { known[prefix + "stages.\(stage).blocks.\(block).mlp.fc1.weight"] = [4 * width, width] }
    }
    let schema = try TensorSchema(needed: config, shapes: known)
    return Dictionary(uniqueKeysWithValues: schema.requirements.map { ($0.name, $0.shape) })
  }

  @Test func measuresAreReadOffTheShapes() throws {
    let config = try small()
    let schema = try TensorSchema(config: config, shapes: shapes(config))
    #expect(schema.tower.depths == [2, 2] && schema.tower.widths == [8, 12] && schema.tower.innerWidths == [32, 48])
    #expect(schema.tower.patch == 4 && schema.tower.reduction == 8 && schema.tower.outputWidth == 12)
    let byName = Dictionary(uniqueKeysWithValues: schema.requirements.map { ($0.name, $0) })
    let attention = "model.layers.0.self_attn."
    #expect(byName[attention + "k_proj.weight"]?.shape == [8, 16])
    #expect(byName[attention + "cross_attn_kv_proj.weight"]?.shape == [16, 16])
    #expect(byName[attention + "cross_attn_gate_proj.0.weight"]?.shape == [1, 16])
    #expect(byName[attention + "cross_attn_warm_up_gate"]?.shape == [1])
    #expect(byName["model.layers.1.self_attn.cross_attn_kv_proj.weight"] == nil)
    #expect(byName["model.mm_projector.0.weight"]?.shape == [16, 12] && byName["model.mm_projector.2.weight"]?.shape == [16, 16])
    #expect(byName[TowerShape.prefix + "stages.1.downsample.1.weight"]?.storedShape == [12, 32])
    #expect(byName[TowerShape.prefix + "stages.0.blocks.0.conv_dw.weight"]?.storedShape == [49, 8])
    #expect(schema.headName == "lm_head.weight")
    #expect(Set(schema.visionNames).isDisjoint(with: schema.decoderNames))
    #expect(schema.visionNames.count + schema.decoderNames.count + 1 == schema.requirements.count)
  }

  @Test func tiedEmbeddings() throws {
    let config = try small(["tie_word_embeddings": true])
    let schema = try TensorSchema(config: config, shapes: shapes(config))
    #expect(schema.headName == "model.embed_tokens.weight" && schema.decoderNames.contains("model.embed_tokens.weight"))
    #expect(!schema.requirements.contains { $0.name == "lm_head.weight" })
  }

  @Test func gatesWithoutWarmUp() throws {
    let config = try small(["cross_attn_gating_type": "whole-dynamic-tanh"])
    #expect(try shapes(config).keys.allSatisfy { !$0.hasSuffix("warm_up_gate") })
  }

  /// Each tensor, taken away or of another shape, is what the error names.
  @Test func everyTensorIsNeeded() throws {
    let config = try small()
    let all = try shapes(config)
    for name in all.keys {
      var some = all
      some[name] = nil
      // Without its last block a stage would be a shorter one, and what is left of the block is not in the schema.
      let isMeasure = name.hasSuffix("mlp.fc1.weight")
      switch failure({ _ = try TensorSchema(config: config, shapes: some) }) {
      case .missingTensors(let names): #expect(names.contains(name))
      case nil: #expect(isMeasure)
      case let error?: #expect(isMeasure, "\(name): \(error)")
      }
    }
  }

  @Test func everyShapeCounts() throws {
    let config = try small()
    let all = try shapes(config)
    for (name, shape) in all {
      for wrong in [shape + [1], Array(shape.dropLast()), shape.dropLast() + [shape[shape.count - 1] + 1], []] {
        var some = all
        some[name] = wrong
        let error = failure { _ = try TensorSchema(config: config, shapes: some) }
        #expect(error != nil, "\(name) \(wrong)")
        // The tower's measures come from these two, so that another one's shape may be what does not fit.
        if name.hasSuffix("mlp.fc1.weight") || name.hasSuffix("stem.0.weight") { continue }
        #expect(error == .wrongShape(tensor: name, expected: shape, found: wrong))
      }
    }
  }

  @Test func towersOfNoSense() throws {
    let config = try small()
    var all = try shapes(config)
    let stem = TowerShape.prefix + "stem.0.weight"
    for shape in [[8, 3, 4], [8, 1, 4, 4], [8, 3, 4, 5], [8, 3, 17, 17], [0, 3, 4, 4], [], [-8, 3, 4, 4]] {
      all[stem] = shape
      guard case .towerShape(stem, shape, _) = failure({ _ = try TensorSchema(config: config, shapes: all) }) else {
        Issue.record("\(shape)")
        return
      }
    }
    #expect(failure { _ = try TensorSchema(config: config, shapes: [:]) } == .missingTensors([stem]))
  }

  /// What a model file stores has the stored shapes; the schema comes out the same.
  @Test func storedShapes() throws {
    let config = try small()
    let schema = try TensorSchema(config: config, shapes: shapes(config))
    let stored = Dictionary(uniqueKeysWithValues: schema.requirements.map { ($0.name, $0.storedShape) })
    #expect(try TensorSchema(config: config, storedShapes: stored).requirements == schema.requirements)
    var wrong = stored
    wrong[TowerShape.prefix + "stages.0.blocks.0.conv_dw.weight"] = [48, 8]
    #expect(failure { _ = try TensorSchema(config: config, storedShapes: wrong) } != nil)
  }
}
