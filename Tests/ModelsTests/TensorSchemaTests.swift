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
    let prefix = ConvNeXtTower.prefix
    var known: [String: [Int]] = [prefix + "stem.0.weight": [8, 3, 4, 4]]
    for (stage, width) in [8, 12].enumerated() {
      for block in 0..<2 { known[prefix + "stages.\(stage).blocks.\(block).mlp.fc1.weight"] = [4 * width, width] }
    }
    let schema = try TensorSchema(needed: config, shapes: TensorShapes(known))
    return Dictionary(uniqueKeysWithValues: schema.requirements.map { ($0.name, $0.shape) })
  }

  @Test func measuresAreReadOffTheShapes() throws {
    let config = try small()
    let schema = try TensorSchema(config: config, shapes: TensorShapes(shapes(config)))
    #expect(schema.tower.depths == [2, 2] && schema.tower.widths == [8, 12] && schema.tower.outputWidth == 12)
    #expect(schema.tower.outputSide == 4 && schema.tower.mapFloats == 8 * 8 * 48)
    let byName = Dictionary(uniqueKeysWithValues: schema.requirements.map { ($0.name, $0) })
    let attention = "model.layers.0.self_attn."
    #expect(byName[attention + "k_proj.weight"]?.shape == [8, 16])
    #expect(byName[attention + "cross_attn_kv_proj.weight"]?.shape == [16, 16])
    #expect(byName[attention + "cross_attn_gate_proj.0.weight"]?.shape == [1, 16])
    #expect(byName[attention + "cross_attn_warm_up_gate"]?.shape == [1])
    #expect(byName["model.layers.1.self_attn.cross_attn_kv_proj.weight"] == nil)
    #expect(byName["model.mm_projector.0.weight"]?.shape == [16, 12] && byName["model.mm_projector.2.weight"]?.shape == [16, 16])
    #expect(byName[ConvNeXtTower.prefix + "stages.1.downsample.1.weight"]?.storedShape == [12, 32])
    #expect(byName[ConvNeXtTower.prefix + "stages.0.blocks.0.conv_dw.weight"]?.storedShape == [49, 8])
    #expect(schema.headName == "lm_head.weight")
    #expect(Set(schema.visionNames).isDisjoint(with: schema.decoderNames))
    #expect(schema.visionNames.count + schema.decoderNames.count + 1 == schema.requirements.count)
  }

  @Test func tiedEmbeddings() throws {
    let config = try small(["tie_word_embeddings": true])
    let schema = try TensorSchema(config: config, shapes: TensorShapes(shapes(config)))
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
      switch failure({ _ = try TensorSchema(config: config, shapes: TensorShapes(some)) }) {
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
        let error = failure { _ = try TensorSchema(config: config, shapes: TensorShapes(some)) }
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
    let stem = ConvNeXtTower.prefix + "stem.0.weight"
    for shape in [[8, 3, 4], [8, 1, 4, 4], [8, 3, 4, 5], [8, 3, 17, 17], [0, 3, 4, 4], [], [-8, 3, 4, 4]] {
      all[stem] = shape
      guard case .towerShape(stem, shape, _) = failure({ _ = try TensorSchema(config: config, shapes: TensorShapes(all)) }) else {
        Issue.record("\(shape)")
        return
      }
    }
    #expect(failure { _ = try TensorSchema(config: config, shapes: TensorShapes([:])) } == .missingTensors([stem]))
  }

  /// What a model file stores has the stored shapes; the schema comes out the same.
  @Test func storedShapes() throws {
    let config = try small()
    let schema = try TensorSchema(config: config, shapes: TensorShapes(shapes(config)))
    let stored = Dictionary(uniqueKeysWithValues: schema.requirements.map { ($0.name, $0.storedShape) })
    #expect(try TensorSchema(config: config, shapes: TensorShapes(stored, areStored: true)).requirements == schema.requirements)
    var wrong = stored
    wrong[ConvNeXtTower.prefix + "stages.0.blocks.0.conv_dw.weight"] = [48, 8]
    #expect(failure { _ = try TensorSchema(config: config, shapes: TensorShapes(wrong, areStored: true)) } != nil)
  }
}

/// What calibration goes by, and what costs are told.
@Suite struct ModelUnitTests {
  private func schema(_ changes: [String: Any?] = [:]) throws -> TensorSchema {
    var all: [String: Any?] = [
      "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
      "vocab_size": 50, "input_image_size": 32, "cross_attn_every_n_layers": 2,
    ]
    for (name, value) in changes { all[name] = value }
    var known: [String: [Int]] = [ConvNeXtTower.prefix + "stem.0.weight": [8, 3, 4, 4]]
    for (stage, width) in [8, 12].enumerated() {
      for block in 0..<2 { known[ConvNeXtTower.prefix + "stages.\(stage).blocks.\(block).mlp.fc1.weight"] = [4 * width, width] }
    }
    return try TensorSchema(needed: config(all), shapes: TensorShapes(known))
  }

  /// Two blocks, a downsampling, two blocks; the projector; two layers; the head.
  @Test func unitsInOrder() throws {
    let units = try schema().units
    #expect(units.map(\.component) == Array(repeating: .tower, count: 5) + [.projector] + Array(repeating: .decoder, count: 3))
    #expect(units.map(\.index) == [0, 1, 2, 3, 4, 0, 0, 1, 2])
    #expect(units[2].tensors.first == ConvNeXtTower.prefix + "stages.1.downsample.0.weight")
    #expect(try schema(["mm_projector_type": "identity"]).units.allSatisfy { $0.component != .projector })
  }

  /// Every matrix that may be quantized is in one unit, but the embedding, and is watched there once.
  @Test func everyMatrixIsWatched() throws {
    let schema = try schema()
    let watched = schema.units.flatMap { $0.inputs.flatMap(\.matrices) }
    let matrices = schema.requirements.filter { $0.role.isMatrix && $0.role != .embedding }.map(\.name)
    #expect(watched.sorted() == matrices.sorted())
    for unit in schema.units { #expect(Set(unit.inputs.flatMap(\.matrices)).isSubset(of: unit.tensors)) }
  }

  @Test func sharedInputsAndFolds() throws {
    let units = try schema().units
    let layer = units[6]
    let name = "model.layers.0."
    #expect(
      layer.inputs.map(\.matrices) == [
        ["q_proj", "k_proj", "v_proj"].map { name + "self_attn.\($0).weight" }, [name + "self_attn.o_proj.weight"],
        [name + "self_attn.cross_attn_kv_proj.weight"], [name + "mlp.gate_proj.weight", name + "mlp.up_proj.weight"],
        [name + "mlp.down_proj.weight"],
      ])
    #expect(layer.folds.map(\.readers.count) == [2, 1, 1] && units[7].folds.map(\.readers.count) == [1, 1, 1])
    #expect(layer.folds[2].rows == name + "mlp.up_proj.weight" && layer.folds[2].vectors.isEmpty)
    for unit in units {
      for fold in unit.folds {
        #expect(Set(fold.readers + fold.vectors + (fold.rows.map { [$0] } ?? [])).isSubset(of: unit.tensors))
      }
    }
    // A head that is the embedding is read by others too.
    #expect(units[8].folds.count == 1)
    #expect(try schema(["tie_word_embeddings": true]).units[8].folds.isEmpty)
  }

  @Test func costs() throws {
    let schema = try schema()
    let block = { (side: Int, width: Int) in side * side * width * (49 + 8 * width) }
    #expect(schema.tower.stageProducts == [8 * 8 * 8 * 48 + 2 * block(8, 8), 4 * 4 * 12 * 32 + 2 * block(4, 12)])
    #expect(schema.projector.products(positions: 16) == 16 * (12 * 16 + 16 * 16))
    let decoder = schema.decoder
    let layer = 16 * (16 + 8 + 8 + 16) + 3 * 16 * 24
    #expect(decoder.products(context: 10, slowTokens: 0) == 2 * (layer + 2 * 10 * 16))
    #expect(decoder.products(context: 10, slowTokens: 7) == 2 * (layer + 2 * 10 * 16) + 15 * 16)
    #expect(decoder.slowProducts(7) == 7 * 16 * 16 && decoder.headProducts == 50 * 16)
    // Each token sees itself and those before it.
    #expect(
      decoder.prefillProducts(tokens: 3, crossTokens: 1, slowTokens: 7) == 2 * (3 * layer + 2 * (1 + 2 + 3) * 16) + 15 * 16 + 50 * 16)
  }
}

/// Names that other tools give to tensors, of towers whose prefixes begin with one another.
@Suite struct TowerNameTests {
  @Test func theLongestPrefixCounts() {
    let transformer = "model.vision_tower.vision_tower.vision_model.encoder.layers.0.ln.gamma"
    #expect(CanonicalName.canonical(transformer) == transformer)
    #expect(CanonicalName.canonical(ConvNeXtTower.prefix + "stages.0.blocks.0.gamma") == ConvNeXtTower.prefix + "stages.0.blocks.0.weight")
    #expect(CanonicalName.canonical("vision_tower.vision_model.post_layernorm.weight") == SiglipTower.prefix + "post_layernorm.weight")
    #expect(CanonicalName.reasonUnused(SiglipTower.prefix + "post_layernorm.weight") != nil)
    #expect(CanonicalName.reasonUnused(ConvNeXtTower.prefix + "head.fc.weight") != nil)
  }

  /// Where a stride leaves nothing of a frame.
  @Test(arguments: [("mm_video_pooling_stride", 5), ("fast_token_spatial_stride", 3)])
  func stridesBeyondTheMap(_ field: String, _ stride: Int) throws {
    var changes: [String: Any?] = [
      "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
      "vocab_size": 50, "input_image_size": 32,
    ]
    changes[field] = stride
    // A map of 4 × 4, pooled to 2 × 2.
    var known: [String: [Int]] = [ConvNeXtTower.prefix + "stem.0.weight": [8, 3, 4, 4]]
    for (stage, width) in [8, 12].enumerated() {
      known[ConvNeXtTower.prefix + "stages.\(stage).blocks.0.mlp.fc1.weight"] = [4 * width, width]
    }
    guard case .configValue(_, field, _, _) = failure({ _ = try TensorSchema(needed: config(changes), shapes: TensorShapes(known)) }) else {
      Issue.record("\(field) of \(stride)")
      return
    }
  }
}
