import Support
import Tokenizer

/// LLaVA-OneVision and LLaVA-Video in their own layout (LLaVA-VL/LLaVA-NeXT): all of a clip's tokens stand in the prompt.
package enum LlavaNextFamily: ModelFamily {
  package static let name = "LLaVA-OneVision or LLaVA-Video, original layout"
  package static let modelTypes = ["llava", "llava_qwen", "qwen2"]
  package static let architectures = ["LlavaQwenForCausalLM"]

  /// The type was changed after publishing: the tower tells, which is a vision transformer here.
  package static func isMeant(by fields: ConfigFields) throws(ArchitectureError) -> Bool {
    guard let name = try fields.optionalString("mm_vision_tower") else { return false }
    return fields.isNull("cross_attn_every_n_layers") && !ConvNeXtTower.isNamed(name)
  }

  package static func config(_ fields: ConfigFields, _ files: ConfigFiles) throws(ArchitectureError) -> ModelConfig {
    let towerName = try fields.string("mm_vision_tower")
    let tower = try ModelRegistry.tower(named: towerName)
    let settings = try settings(tower, fields, files)
    guard settings.vision != nil else { throw .configValue(field: "mm_vision_tower", found: towerName, expected: "a vision transformer") }
    if try fields.optionalBool("add_faster_video") == true {
      throw .configValue(field: "add_faster_video", found: "true", expected: "false: the published code cannot compute it")
    }
    guard fields.isNull("mm_resampler_type") else {
      throw .configValue(field: "mm_resampler_type", found: fields.text("mm_resampler_type"), expected: "null: it is not computed")
    }
    var config = try ModelConfig(
      decoder: fields, defaults: nil, tower: settings, projector: ProjectorType(name: fields.string("mm_projector_type")))
    config.towerName = towerName
    config.sequence = try sequence(fields, tile: settings.pixels.size)
    config.promptTemplate = .chatML(marksImages: try fields.optionalBool("mm_use_im_start_end") ?? false)
    // LLaVA-Video was trained on 64, the others on 32.
    let spreads = try fields.optionalBool("force_sample") == true
    let isOfVideos = config.sequence?.tellsTimes != nil || spreads
    config.frameCount =
      try fields.optionalInteger("video_frames", in: 1...Limits.frames) ?? (isOfVideos ? 64 : 32)
    return config
  }

  /// Of a SigLIP all layers that are stored run, and pixels are always made in the same way. Where the tower has no config of its own,
  /// it is so400m of 384 pixels: the published code has no other.
  private static func settings(
    _ tower: any VisionTower.Type, _ fields: ConfigFields, _ files: ConfigFiles
  ) throws(ArchitectureError) -> TowerSettings {
    guard tower == SiglipTower.self, files.vision == nil else {
      return try tower.settings(fields, files, selectLayer: try fields.optionalInteger("mm_vision_select_layer", in: -1024...1024))
    }
    let defaults = SiglipTower.defaults
    let vision =
      if let json = files.tower {
        try VisionConfig(defaults, ConfigFields(tower: json, named: fields.string("mm_vision_tower"), defaults))
      } else {
        VisionConfig(imageSize: 384, headCount: 16, layerCount: nil, epsilon: defaults.epsilon, activation: defaults.activation)
      }
    return TowerSettings(vision: vision, pixels: try PixelConfig(defaults, imageSize: vision.imageSize, preprocessor: nil))
  }

  private static func sequence(_ fields: ConfigFields, tile: Int) throws(ArchitectureError) -> SequenceConfig {
    let merge = try fields.optionalString("mm_patch_merge_type") ?? "flat"
    guard ["flat", "spatial_unpad"].contains(merge) else {
      throw .configValue(field: "mm_patch_merge_type", found: merge, expected: "spatial_unpad or flat")
    }
    let hasNewlines = merge == "spatial_unpad"
    let pooling: SequenceConfig.Pooling = fields.isNull("mm_spatial_pool_mode") ? .bilinear : try fields.choice("mm_spatial_pool_mode")
    let newline: SequenceConfig.Newline = fields.isNull("mm_newline_position") ? .end : try fields.choice("mm_newline_position")
    let aspect = try fields.optionalString("image_aspect_ratio") ?? ""
    let picture: SequenceConfig.Picture = aspect.hasPrefix("anyres") ? .tiles : aspect == "pad" ? .pad : .stretch
    let spreads = try fields.optionalBool("force_sample") ?? false
    return SequenceConfig(
      pooling: pooling, newline: hasNewlines ? newline : .none, picture: picture,
      grid: picture == .tiles ? try grid(fields, tile: tile) : [],
      tileLimit: try SequenceConfig.tileLimit(aspect, field: "image_aspect_ratio"), picturesHaveNewlines: hasNewlines, roundsEdges: false,
      tellsTimes: try fields.optionalBool("add_time_instruction") == true ? spreads ? .spread : .asSampled : nil)
  }

  /// Pairs of width and height, or `(1x1),...,(6x6)`: all multiples of a tile, those of the width first.
  private static func grid(_ fields: ConfigFields, tile: Int) throws(ArchitectureError) -> [PictureSize] {
    let field = "image_grid_pinpoints"
    guard let text = try? fields.optionalString(field), text.contains("x") else {
      // Also as a string of such a list.
      let sizes = try fields.pairs(field, in: 1...65536).map { PictureSize(height: $0.1, width: $0.0) }
      return try SequenceConfig.checked(sizes, tile: tile, field: field)
    }
    guard let match = text.firstMatch(of: #/^\(([0-9]{1,2})x([0-9]{1,2})\).*\(([0-9]{1,2})x([0-9]{1,2})\)$/#),
      let a = Int(match.1), let b = Int(match.2), let c = Int(match.3), let d = Int(match.4), a >= 1, b >= 1, a <= c, b <= d
    else { throw .configValue(field: field, found: text, expected: "pairs of numbers, or a range such as (1x1),...,(6x6)") }
    let sizes = (a...c).flatMap { i in (b...d).map { j in PictureSize(height: j * tile, width: i * tile) } }
    return try SequenceConfig.checked(sizes, tile: tile, field: field)
  }
}

extension SequenceConfig {
  /// Sizes that tiles can be cut from, and not more of them than anybody trains with: the published ones have 36.
  static func checked(_ sizes: [PictureSize], tile: Int, field: String) throws(ArchitectureError) -> [PictureSize] {
    for size in sizes where size.height % tile != 0 || size.width % tile != 0 || size.height * size.width > 400 * tile * tile {
      throw .configValue(
        field: field, found: "\(size.height) × \(size.width) pixels", expected: "multiples of \(tile) pixels, at most 400 tiles")
    }
    return sizes
  }

  /// `anyres_max_9` → 9.
  static func tileLimit(_ aspect: String, field: String) throws(ArchitectureError) -> Int? {
    guard aspect.hasPrefix("anyres_max_") else { return nil }
    guard let limit = Int(aspect.dropFirst("anyres_max_".count)), (1...4096).contains(limit) else {
      throw .configValue(field: field, found: aspect, expected: "anyres_max_ and a number")
    }
    return limit
  }
}
