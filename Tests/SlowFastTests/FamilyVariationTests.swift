import Foundation
import Models
import Runtime
import Support
import TestSupport
import Testing
import Video

/// Checkpoints of the newer families that are like the golden ones, but for what others write in their files. Numbers of tokens are those
/// of the published code.
@Suite struct FamilyVariationTests {
  /// The config of a golden checkpoint with other fields; nil takes one away.
  private func config(
    _ name: String, _ changes: [String: Any?] = [:], tower: [String: Any]? = nil, preprocessor: [String: Any]? = nil
  ) throws -> ModelConfig {
    try ModelConfig(ConfigFiles(config: json(name, changes), tower: tower.map(bytes), preprocessor: preprocessor.map(bytes)))
  }

  private func json(_ name: String, _ changes: [String: Any?]) throws -> [UInt8] {
    let data = try Data(contentsOf: URL(fileURLWithPath: Golden.path(name) + "/config.json"))
    var fields = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    for (field, value) in changes { fields[field] = value }
    return try bytes(fields)
  }

  private func bytes(_ fields: [String: Any]) throws -> [UInt8] { Array(try JSONSerialization.data(withJSONObject: fields)) }

  private func failure(_ body: () throws -> ModelConfig) -> String? {
    do {
      _ = try body()
      return nil
    } catch { return "\(error)" }
  }

  // MARK: Tokens of pictures

  private static let hub = "onevision-hf"
  private static let original = "llava-next-onevision"

  /// Width, height and tokens: with at most 9 and 2 tiles' worth, in the layout of transformers; without a limit and with 9, in the
  /// original's.
  private static let counts: [(Int, Int, [Int])] = [
    (1920, 1080, [7269, 2185, 10929, 7269]), (1080, 1920, [7317, 2208, 10989, 7317]), (384, 384, [1485, 1485, 1485, 1485]),
    (101, 173, [1161, 1161, 1161, 1161]), (4000, 3000, [7309, 2214, 20452, 7309]), (1, 500, [837, 837, 837, 837]),
    (500, 1, [784, 784, 784, 784]), (1, 1, [1485, 1485, 1485, 1485]), (2304, 2304, [7371, 2211, 27135, 7371]),
    (1000, 333, [2943, 2203, 2943, 2943]), (640, 480, [2929, 2169, 2929, 2929]), (777, 1234, [8289, 2186, 8289, 8289]),
  ]

  /// In the published sizes: 36 of 384 pixels, maps of 27 × 27, as pairs, as a range, as text, or not said.
  @Test func tokensOfPictures() throws {
    let vision = ["model_type": "siglip_vision_model", "num_attention_heads": 16, "image_size": 384, "patch_size": 14] as [String: Any]
    let pairs = (1...6).flatMap { i in (1...6).map { [i * 384, $0 * 384] } }
    let configs = [
      try config(Self.hub, ["vision_config": vision, "image_grid_pinpoints": nil]),
      try config(Self.hub, ["vision_config": vision, "image_grid_pinpoints": pairs, "vision_aspect_ratio": "anyres_max_2"]),
      try config(Self.original, ["image_grid_pinpoints": "(1x1),...,(6x6)", "image_aspect_ratio": "anyres"]),
      try config(Self.original, ["image_grid_pinpoints": "\(pairs)"]),
    ]
    for (width, height, counts) in Self.counts {
      let size = PictureSize(height: height, width: width)
      #expect(configs.map { $0.layout(.picture(size, isAlone: true), towerSide: 27).fastCount } == counts, "\(width) × \(height)")
    }
    #expect(
      configs.map { $0.layout(.picture(PictureSize(height: 9, width: 700), isAlone: false), towerSide: 27).fastCount } == [
        730, 730, 730, 730,
      ])
  }

  /// The two layouts round the edges of some pictures differently.
  @Test(arguments: [(1750, 1125, 7257, 7294), (1809, 1273, 7325, 7295), (714, 1666, 7714, 7604)])
  func roundedEdges(_ width: Int, _ height: Int, _ rounded: Int, _ cut: Int) throws {
    var config = try config(Self.original, ["image_grid_pinpoints": "(1x1),...,(6x6)"])
    let shown = Shown.picture(PictureSize(height: height, width: width), isAlone: true)
    #expect(config.layout(shown, towerSide: 27).fastCount == cut)
    config.sequence?.roundsEdges = true
    #expect(config.layout(shown, towerSide: 27).fastCount == rounded)
  }

  // MARK: What files say

  /// transformers 5 keeps the image processor's fields inside `processor_config.json`.
  @Test func processorOfTransformers5() throws {
    let processor = ["size": ["height": 48, "width": 48], "resample": 2, "image_mean": [0.1, 0.2, 0.3]] as [String: Any]
    let changes = ["image_grid_pinpoints": [[48, 96]]]
    let pixels = try config(Self.hub, changes, preprocessor: ["image_processor": processor, "processor_class": "x"]).pixels
    #expect(pixels.size == 48 && pixels.resampling == .bilinear && pixels.mean == [0.1, 0.2, 0.3])
    let directory = try TemporaryDirectory()
    for file in try FileManager.default.contentsOfDirectory(atPath: Golden.path(Self.hub))
    where !file.hasPrefix("golden") && !file.contains("process") {
      try FileManager.default.copyItem(atPath: "\(Golden.path(Self.hub))/\(file)", toPath: directory.file(file))
    }
    let whole = #"{"image_processor": {"image_mean": [0.25, 0.5, 0.5]}, "video_processor": {}}"#
    try directory.write("processor_config.json", whole)
    #expect(try VideoLanguageModel(path: directory.path).config.pixels.mean == [0.25, 0.5, 0.5])
  }

  /// OpenAI's own file says sizes as numbers; a crop of another size than the resized picture's is none that is computed.
  @Test func clipsPreprocessing() throws {
    let fields = ["mm_vision_tower": "openai/clip-vit-large-patch14-336", "mm_vision_select_layer": -2] as [String: Any]
    let config = { try self.config("slowfast-clip", fields, preprocessor: $0) }
    #expect(try config(["size": 336, "crop_size": 336]).pixels.size == 336)
    #expect(try config(["size": ["shortest_edge": 336], "crop_size": ["height": 336, "width": 336]]).pixels.fit == .crop)
    #expect(failure { try config(["size": 400, "crop_size": 336]) }?.contains("crop_size") == true)
    #expect(failure { try config(["size": ["shortest_edge": 400], "crop_size": ["height": 336]]) }?.contains("crop_size") == true)
    #expect(failure { try config(["size": 336, "do_center_crop": false]) }?.contains("do_center_crop") == true)
  }

  /// In the original's layout the published code knows one SigLIP alone; a tower's own config, where there is one, says what it is.
  @Test func originalsTower() throws {
    let grid = ["image_grid_pinpoints": "(1x1),...,(6x6)"]
    let published = try config(Self.original, grid)
    #expect(published.imageSize == 384 && published.vision?.headCount == 16 && published.vision?.layerCount == nil)
    let own = try config(Self.original, grid, tower: ["image_size": 60, "num_attention_heads": 4, "model_type": "siglip_vision_model"])
    #expect(own.imageSize == 60 && own.vision?.headCount == 4 && own.vision?.layerCount == nil && own.pixels.mean == [0.5, 0.5, 0.5])
    #expect(failure { try config(Self.original, grid, tower: ["model_type": "clip_vision_model"]) }?.contains("siglip") == true)
  }

  @Test func defaultsOfTextConfig() throws {
    let config = try config(Self.hub, ["text_config": ["vocab_size": 512, "hidden_size": 64]])
    #expect(config.headCount == 32 && config.keyValueHeadCount == 32 && config.layerCount == 32 && config.intermediateSize == 22016)
    #expect(config.rmsNormEpsilon == 1e-6 && config.ropeTheta == 10000 && !config.tiesWordEmbeddings)
  }

  @Test(arguments: [
    (hub, "vision_feature_layer", [-2, -1] as any Sendable), (hub, "vision_feature_select_strategy", "default"),
    (hub, "vision_aspect_ratio", "anyres"), (hub, "image_grid_pinpoints", [[60, 90]]), (hub, "image_grid_pinpoints", [[30, 60]]),
    (hub, "image_grid_pinpoints", [[60000, 60000]]), (original, "image_grid_pinpoints", "(1x1),...,(99x99)"),
    (original, "image_grid_pinpoints", "exit"), (original, "image_grid_pinpoints", "[[55, 55], [55]]"),
    (original, "mm_patch_merge_type", "spatial_nobase"), (original, "add_faster_video", true),
  ])
  func refused(_ name: String, _ field: String, _ value: any Sendable) throws {
    let message = failure { try config(name, [field: value]) }
    #expect(message?.contains("\"\(field)\"") == true && message?.contains("\n") == false, "\(message ?? "taken")")
  }

  // MARK: Views

  /// A wave with an edge, so that no two places look the same.
  private func picture(_ width: Int, _ height: Int) throws -> RGBImage {
    let pixels = (0..<height * width * 3).map { UInt8(truncatingIfNeeded: $0 &* 37 ^ $0 >> 3) }
    return try RGBImage(width: width, height: height, pixels: pixels)
  }

  /// A tower that cuts the middle out of frames sees the whole of a picture that is cut into tiles; beside others, pictures are padded.
  @Test(arguments: [(90, 41), (41, 90), (60, 60), (7, 1), (1, 7)])
  func viewsForClip(_ width: Int, _ height: Int) throws {
    let fields =
      [
        "mm_vision_tower": "openai/clip-vit-base-patch32", "mm_vision_select_layer": -2,
        "image_grid_pinpoints": [[224, 224], [448, 224]],
      ]
      as [String: Any]
    let config = try config(Self.original, fields)
    let preprocessing = try Preprocessing(config.pixels)
    let picture = try picture(width, height)
    let size = PictureSize(height: height, width: width)
    let tiles = picture.views(config.layout(.picture(size, isAlone: true), towerSide: 7), config, preprocessing)
    #expect(tiles[0].pixels == picture.resized(width: 224, height: 224, columns: 0..<224, rows: 0..<224).pixels)
    #expect(tiles.count == 2 && tiles.allSatisfy { $0.width == 224 && $0.height == 224 })
    let side = max(width, height)
    let square = picture.placed(
      left: (side - width) / 2, top: (side - height) / 2, onWidth: side, height: side, color: [122, 116, 104])
    let beside = picture.views(config.layout(.picture(size, isAlone: false), towerSide: 7), config, preprocessing)
    #expect(beside.map(\.pixels) == [preprocessing.pixels(square).pixels])
  }

  /// The square around it would have 12 gigabytes.
  @Test(arguments: [(65000, 1), (1, 65000)])
  func longPictures(_ width: Int, _ height: Int) throws {
    let config = try config(Self.hub)
    let preprocessing = try Preprocessing(config.pixels)
    let layout = config.layout(.picture(PictureSize(height: height, width: width), isAlone: false), towerSide: 7)
    let views = try picture(width, height).views(layout, config, preprocessing)
    #expect(views.count == 1 && views[0].pixels.count == 60 * 60 * 3 && views[0].pixels.allSatisfy { (126...128).contains($0) })
  }

  // MARK: Times

  private func sentence(_ indices: [Int], of count: Int, rate: Double?, _ rule: SequenceConfig.Times) -> String? {
    let frames = indices.map { SamplingReport.Frame(index: $0, seconds: 0, width: 8, height: 8) }
    return SamplingReport(decodedFrames: count, rotation: 0, frames: frames, warnings: []).sentence(rule, framesPerSecond: rate)
  }

  /// As the published demonstration writes it, with its missing space. One frame a second is counted with the rounded rate.
  @Test func sentenceOfTimes() {
    let rate = 30000.0 / 1001
    let expected = { (times: String) in
      "The video lasts for 3.00 seconds, and 3 frames are uniformly sampled from it. These frames are located at \(times)."
        + "Please answer the following questions related to this video."
    }
    #expect(sentence([0, 44, 89], of: 90, rate: rate, .spread) == expected("0.00s,1.47s,2.97s"))
    #expect(sentence([0, 44, 89], of: 90, rate: rate, .asSampled) == expected("0.00s,1.47s,2.97s"))
    #expect(sentence([0, 30, 60], of: 90, rate: rate, .asSampled) == expected("0.00s,1.00s,2.00s"))
    #expect(sentence([0, 30, 60], of: 90, rate: rate, .spread) == expected("0.00s,1.00s,2.00s"))
    #expect(sentence([0, 30, 600], of: 90, rate: nil, .spread) == nil)
    // 600 frames on, the rates tell.
    #expect(sentence([0, 600], of: 601, rate: rate, .spread)?.contains("0.00s,20.02s.") == true)
  }

  /// Between a clip and the question, where the configuration says so; frames without a rate have no times.
  @Test func timesInThePrompt() throws {
    let directory = try TemporaryDirectory()
    for file in try FileManager.default.contentsOfDirectory(atPath: Golden.path(Self.original))
    where !file.hasPrefix("golden") && file != "config.json" {
      try FileManager.default.copyItem(atPath: "\(Golden.path(Self.original))/\(file)", toPath: directory.file(file))
    }
    let json = try json(Self.original, ["add_time_instruction": true, "force_sample": true])
    try directory.write("config.json", String(decoding: json, as: UTF8.self))
    let model = try VideoLanguageModel(path: directory.path)
    #expect(model.defaultFrameCount == 64)
    let session = try Session(model)
    let trace = try session.trace(
      [try ClipSource(path: Golden.clip)], sampling: SamplingRequest(frames: 2), question: "What?")
    // 390 frames, 30000 / 1001 a second.
    let sentence =
      "The video lasts for 13.01 seconds, and 2 frames are uniformly sampled from it. These frames are located at 0.00s,12.98s."
      + "Please answer the following questions related to this video."
    let expected = session.context.promptPieces(sentence + "\nWhat?", [PromptPlace(isPicture: false)])
    #expect(trace.integers["prompt_ids"] == (expected.before + expected.after).ids)
    let still = try Session(model).trace(
      [try ClipSource(framesFile: Golden.path(Self.original) + "/golden.safetensors")], sampling: SamplingRequest(frames: 1),
      question: "What?")
    let plain = session.context.promptPieces("What?", [PromptPlace(isPicture: false)])
    #expect(still.integers["prompt_ids"] == (plain.before + plain.after).ids)
  }
}
