import Support
import Tokenizer

/// LLaVA-OneVision in the layout of transformers: a decoder's and a tower's config in one, other names.
package enum LlavaOnevisionFamily: ModelFamily {
  package static let name = "LLaVA-OneVision, transformers layout"
  package static let modelTypes = ["llava_onevision"]
  package static let architectures = ["LlavaOnevisionForConditionalGeneration"]

  package static func isMeant(by fields: ConfigFields) throws(ArchitectureError) -> Bool { true }

  package static func config(_ fields: ConfigFields, _ files: ConfigFiles) throws(ArchitectureError) -> ModelConfig {
    guard let text = try fields.object("text_config") else { throw .configMissing(field: "text_config") }
    let settings = try settings(fields, files)
    try check(fields, "projector_hidden_act", "gelu")
    try check(fields, "vision_feature_select_strategy", "full")
    if try fields.optionalBool("multimodal_projector_bias") == false {
      throw .configValue(field: "multimodal_projector_bias", found: "false", expected: "true")
    }
    var config = try ModelConfig(decoder: text, defaults: .qwen2, tower: settings, projector: .mlp(depth: 2))
    config.towerName = "siglip"
    if try fields.optionalBool("tie_word_embeddings") == true { config.tiesWordEmbeddings = true }
    let aspect = try fields.optionalString("vision_aspect_ratio") ?? "anyres_max_9"
    guard aspect.hasPrefix("anyres_max_") else {
      throw .configValue(field: "vision_aspect_ratio", found: aspect, expected: "anyres_max_ and a number")
    }
    config.sequence = SequenceConfig(
      pooling: .bilinear, newline: .end, picture: .tiles, grid: try grid(fields, tile: settings.pixels.size),
      tileLimit: try SequenceConfig.tileLimit(aspect, field: "vision_aspect_ratio"), picturesHaveNewlines: true, roundsEdges: true)
    let ids = Int(Int32.max)
    config.placeholders = Placeholders(
      picture: Int32(try fields.optionalInteger("image_token_index", in: 0...ids) ?? 151646),
      clip: Int32(try fields.optionalInteger("video_token_index", in: 0...ids) ?? 151647))
    config.promptTemplate = .chatML(system: nil, marksImages: false, textJoint: "")
    // As the original and its evaluations sample them: the files do not say it.
    config.frameCount = 32
    return config
  }

  /// Pairs of height and width.
  private static func grid(_ fields: ConfigFields, tile: Int) throws(ArchitectureError) -> [PictureSize] {
    let field = "image_grid_pinpoints"
    guard !fields.isNull(field) else {
      return (1...6).flatMap { height in (1...6).map { PictureSize(height: height * 384, width: $0 * 384) } }
    }
    let sizes = try fields.pairs(field, in: 1...65536).map { PictureSize(height: $0.0, width: $0.1) }
    return try SequenceConfig.checked(sizes, tile: tile, field: field)
  }

  private static func check(_ fields: ConfigFields, _ field: String, _ expected: String) throws(ArchitectureError) {
    if let found = try fields.optionalString(field), found != expected {
      throw .configValue(field: field, found: found, expected: expected)
    }
  }

  private static func settings(_ fields: ConfigFields, _ files: ConfigFiles) throws(ArchitectureError) -> TowerSettings {
    if let vision = files.vision { return try TowerSettings(json: vision) }
    guard let vision = try fields.object("vision_config") else { throw .configMissing(field: "vision_config") }
    if let type = try vision.optionalString("model_type"), type != "siglip_vision_model" {
      throw .configValue(field: "vision_config.model_type", found: type, expected: "siglip_vision_model")
    }
    let layer = try fields.optionalInteger("vision_feature_layer", in: -1024...1024) ?? -1
    return try TowerSettings(
      SiglipTower.defaults, vision, preprocessor: files.preprocessor, selectLayer: layer, field: "vision_feature_layer")
  }

  /// Three layouts: of the hub's files, of a state dict of 4.52 to 4.57, and as 5.x saves it.
  package static func canonical(_ name: String) -> String {
    let renamed = [
      ("language_model.lm_head.", "lm_head."), ("language_model.model.", "model."), ("model.language_model.", "model."),
      ("model.vision_tower.vision_model.", SiglipTower.prefix), ("vision_tower.vision_model.", SiglipTower.prefix),
      ("vision_tower.", SiglipTower.prefix),
      ("model.multi_modal_projector.linear_1.", "model.mm_projector.0."),
      ("model.multi_modal_projector.linear_2.", "model.mm_projector.2."),
      ("multi_modal_projector.linear_1.", "model.mm_projector.0."), ("multi_modal_projector.linear_2.", "model.mm_projector.2."),
    ]
    for (from, to) in renamed where name.hasPrefix(from) { return to + name.dropFirst(from.count) }
    return name == "image_newline" ? PerceptronProjector.newlineName : name
  }
}
