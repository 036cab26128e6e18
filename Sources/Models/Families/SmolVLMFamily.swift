import Support
import Tokenizer

/// SmolVLM2 in the layout of transformers: a Llama that sees squares of a SigLIP's map as one token, with words between frames and tiles.
package enum SmolVLMFamily: ModelFamily {
  package static let name = "SmolVLM2"
  package static let modelTypes = ["smolvlm"]
  package static let architectures = ["SmolVLMForConditionalGeneration"]

  package static func isMeant(by fields: ConfigFields) throws(ArchitectureError) -> Bool { true }

  package static func config(_ fields: ConfigFields, _ files: ConfigFiles) throws(ArchitectureError) -> ModelConfig {
    guard let text = try fields.object("text_config") else { throw .configMissing(field: "text_config") }
    var video: VideoSettings?
    var settings: TowerSettings
    if let vision = files.vision {
      settings = try TowerSettings(json: vision)
    } else {
      let read = try VideoSettings(files)
      settings = try tower(fields, files, read)
      video = read
    }
    let scale = try fields.optionalInteger("scale_factor", in: 1...64) ?? 2
    var config = try ModelConfig(decoder: text, defaults: .llama, tower: settings, projector: .pixelShuffle(scale: scale))
    config.towerName = "smolvlm"
    if try fields.optionalBool("tie_word_embeddings") == true { config.tiesWordEmbeddings = true }
    config.sequence = SequenceConfig(
      pooling: nil, newline: .none, picture: .resizedTiles, grid: [], tileLimit: nil, picturesHaveNewlines: false, roundsEdges: false)
    let image = Int32(try fields.integer("image_token_id", in: 0...config.vocabularySize - 1))
    config.placeholders = Placeholders(picture: image, clip: image)
    config.promptTemplate = .smolVLM
    (config.frameCount, config.frameRate) = (video?.frames, video?.rate)
    return config
  }

  private static func tower(
    _ fields: ConfigFields, _ files: ConfigFiles, _ video: VideoSettings
  ) throws(ArchitectureError) -> TowerSettings {
    guard let vision = try fields.object("vision_config") else { throw .configMissing(field: "vision_config") }
    if let type = try vision.optionalString("model_type"), type != SmolVLMTower.defaults.modelType {
      throw .configValue(field: "vision_config.model_type", found: type, expected: SmolVLMTower.defaults.modelType)
    }
    var settings = try TowerSettings(SmolVLMTower.defaults, vision, preprocessor: files.preprocessor, selectLayer: -1, field: "")
    guard video.tile == settings.pixels.size else {
      throw .configValue(
        file: VideoSettings.file, field: "max_image_size", found: "\(video.tile)",
        expected: "\(settings.pixels.size), which the tower's image_size is")
    }
    (settings.pixels.longestSide, settings.pixels.pictureSide) = (video.frameSide, video.pictureSide)
    return settings
  }
}

/// What `preprocessor_config.json` says of tiles and of clips.
private struct VideoSettings {
  static let file = "preprocessor_config.json"

  /// Side of a tile.
  let tile: Int
  /// Longer side of a picture that is cut into tiles, and of a frame before it becomes a square.
  let pictureSide: Int
  let frameSide: Int
  let frames: Int
  let rate: Double

  init(_ files: ConfigFiles) throws(ArchitectureError) {
    guard let json = files.preprocessor else { throw .configMissing(file: Self.file, field: "max_image_size") }
    let whole = try ConfigFields(json: json, file: Self.file)
    let pictures = try whole.object("image_processor") ?? whole
    func longest(_ fields: ConfigFields?, _ field: String) throws(ArchitectureError) -> Int {
      guard let object = try fields?.object(field) else { throw .configMissing(file: Self.file, field: fields?.name(field) ?? field) }
      return try object.integer("longest_edge", in: 1...4096)
    }
    tile = try longest(pictures, "max_image_size")
    pictureSide = try longest(pictures, "size")
    if try pictures.optionalBool("do_image_splitting") == false {
      throw .configValue(file: Self.file, field: "do_image_splitting", found: "false", expected: "true")
    }
    // As transformers 5 writes it, and as the published files have it.
    if let video = try whole.object("video_processor") {
      (frameSide, frames, rate) = try (longest(video, "size"), Self.frames(video, "num_frames"), Self.rate(video))
    } else {
      guard let video = try pictures.object("video_sampling") else { throw .configMissing(file: Self.file, field: "video_sampling") }
      (frameSide, frames, rate) = try (longest(video, "video_size"), Self.frames(video, "max_frames"), Self.rate(video))
    }
  }

  private static func frames(_ fields: ConfigFields, _ field: String) throws(ArchitectureError) -> Int {
    try fields.integer(field, in: 1...Limits.frames)
  }

  private static func rate(_ fields: ConfigFields) throws(ArchitectureError) -> Double { try fields.number("fps", in: 1e-3...1e3) }
}

extension SmolVLMFamily {
  package static func canonical(_ name: String) -> String {
    let renamed = [
      ("model.vision_model.", SmolVLMTower.prefix), ("model.text_model.", "model."),
      ("model.connector.modality_projection.proj.", "model.mm_projector."),
    ]
    for (from, to) in renamed where name.hasPrefix(from) { return to + name.dropFirst(from.count) }
    return name
  }
}
