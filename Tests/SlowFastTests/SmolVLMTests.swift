import Conversion
import Foundation
import Lab
import Models
import Runtime
import Safetensors
import Support
import TestSupport
import Testing
import Tokenizer
import Video

/// SmolVLM2 beyond its golden files: texts around frames of a real clip, pictures of extreme shapes, and checkpoints that are wrong.
@Suite struct SmolVLMTests {
  private static let name = "smolvlm"

  /// The golden checkpoint with other fields in some of its files; nil takes one away.
  private func checkpoint(_ changes: [String: [String: Any?]], without files: Set<String> = []) throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    for file in try FileManager.default.contentsOfDirectory(atPath: Golden.path(Self.name)) where !file.hasPrefix("golden") {
      let data = try Data(contentsOf: URL(fileURLWithPath: Golden.path(Self.name) + "/" + file))
      guard !files.contains(file) else { continue }
      guard let fields = changes[file] else {
        try data.write(to: URL(fileURLWithPath: directory.file(file)))
        continue
      }
      var json = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
      for (path, value) in fields { set(path.split(separator: ".").map(String.init), value, in: &json) }
      try JSONSerialization.data(withJSONObject: json).write(to: URL(fileURLWithPath: directory.file(file)))
    }
    return directory
  }

  private func set(_ path: [String], _ value: Any?, in object: inout [String: Any]) {
    guard path.count > 1 else {
      object[path[0]] = value
      return
    }
    var inner = object[path[0]] as? [String: Any] ?? [:]
    set(Array(path.dropFirst()), value, in: &inner)
    object[path[0]] = inner
  }

  // MARK: Prompts

  /// 390 frames, 30000 / 1001 a second: one a second, the times that each is at; of fewer frames a second at either end is left out.
  @Test(arguments: [
    (64, "thirteen", [0, 32, 64, 97, 129, 162, 194, 226, 259, 291, 324, 356, 389], Array(0...12)),
    (4, "four", [29, 139, 249, 360], [0, 4, 8, 12]),
  ]) func framesAndTimesOfAClip(_ frames: Int, _ count: String, _ indices: [Int], _ seconds: [Int]) throws {
    let model = try VideoLanguageModel(path: Golden.path(Self.name))
    var sampling = model.defaultSampling
    #expect(sampling.frames == 64 && sampling.rule == .spread(1))
    sampling.frames = frames
    let session = try Session(model)
    let clip = try ClipSource(path: Golden.clip)
    let trace = try session.trace([clip], sampling: sampling, question: "What?")
    #expect(session.samplingReports[0].frames.map(\.index) == indices)
    var text = "<|im_start|>User: You are provided the following series of \(count) frames from a 0:00:13 [H:MM:SS] video.\n"
    for second in seconds {
      text += "\nFrame from 00:\(second < 10 ? "0" : "")\(second):<fake_token_around_image><global-img>"
      text += String(repeating: "<image>", count: 4) + "<fake_token_around_image>"
    }
    text += "\n\nWhat?<end_of_utterance>\nAssistant:"
    #expect(trace.integers["prompt_ids"] == model.tokenizer.encode(text))
    let plan = session.plan([clip], sampling: SamplingRequest(frames: indices.count), question: "What?", maximumTokens: 1)
    #expect(plan.promptTokens == trace.integers["prompt_ids"]?.count)
  }

  /// A turn that begins with a picture has no space; a clip beside it has its own words; the system comes first, further questions last.
  @Test func turns() throws {
    let model = try VideoLanguageModel(path: Golden.path(Self.name))
    var options = SessionOptions()
    options.system = "It's a tree."
    let context = try RunContext(model, options: options)
    let whole = ["<fake_token_around_image><global-img>", "<fake_token_around_image>"]
    func text(_ pieces: (before: [ChatPrompt.Piece], after: [ChatPrompt.Piece])) -> String {
      (pieces.before + pieces.after).map { piece in
        if case .tokens(let ids) = piece { model.tokenizer.decode(ids) } else { "()" }
      }.joined()
    }
    #expect(
      text(
        context.promptPieces("What?", [PromptPlace(isPicture: true, texts: whole), PromptPlace(isPicture: false, texts: ["a", "b", "c"])]))
        == "<|im_start|>System: It's a tree.<end_of_utterance>\nUser:\(whole[0])()\(whole[1])a()b()cWhat?<end_of_utterance>\nAssistant:")
    #expect(text(context.promptPieces("What?", [])).hasSuffix("\nUser: What?<end_of_utterance>\nAssistant:"))
    #expect(
      text(([], context.furtherPrompt("And?").pieces(model.tokenizer))) == "<end_of_utterance>\nUser: And?<end_of_utterance>\nAssistant:")
  }

  // MARK: Pictures

  /// Tiles of 32 pixels, at most 4 in a row: rows and columns as transformers cuts them.
  @Test(arguments: [
    (1, 1, 4, 4), (10000, 1, 1, 4), (1, 10000, 4, 1), (75, 40, 3, 4), (44, 90, 4, 2), (128, 32, 1, 4), (128, 33, 2, 4), (52, 20, 2, 4),
    (3000, 2999, 4, 4), (127, 128, 4, 4),
  ]) func tiles(_ width: Int, _ height: Int, _ rows: Int, _ columns: Int) throws {
    let model = try VideoLanguageModel(path: Golden.path(Self.name))
    let shown = Shown.picture(PictureSize(height: height, width: width), isAlone: true)
    let layout = model.config.layout(shown, towerSide: 8)
    #expect(layout.views == rows * columns + 1 && layout.fastCount == 4 * layout.views)
    let image = try picture(1, width: width, height: height)
    let views = image.views(layout, model.config, try Preprocessing(model.config.pixels))
    #expect(views.count == layout.views && views.allSatisfy { $0.width == 32 && $0.height == 32 })
  }

  /// Where the longer side is a tile's there are none, and the picture is shown as a frame is.
  @Test func oneTile() throws {
    let directory = try checkpoint(["preprocessor_config.json": ["size.longest_edge": 32]])
    let model = try VideoLanguageModel(path: directory.path)
    let image = try picture(1, width: 70, height: 31)
    let preprocessing = try Preprocessing(model.config.pixels)
    let layout = model.config.layout(.picture(PictureSize(height: 31, width: 70), isAlone: false), towerSide: 8)
    #expect(image.views(layout, model.config, preprocessing) == [preprocessing.pixels(image)])
    let trace = try Session(model).trace([.picture(image)], sampling: model.defaultSampling, question: "?")
    let shown = "<fake_token_around_image><global-img><image><image><image><image><fake_token_around_image>"
    #expect(trace.integers["prompt_ids"] == model.tokenizer.encode("<|im_start|>User:\(shown)?<end_of_utterance>\nAssistant:"))
  }

  // MARK: Configurations

  /// As transformers 5 saves it, with fields left out that the classes have defaults for: the same config.
  @Test func otherSpellings() throws {
    let directory = try checkpoint([
      "config.json": [
        "text_config.rope_theta": nil, "text_config.rope_parameters": ["rope_theta": 100_000, "rope_type": "default"],
        "text_config.model_type": nil, "text_config.head_dim": nil, "vision_config.model_type": nil,
      ]
    ])
    let settings = try #require(
      try JSONSerialization.jsonObject(
        with: Data(contentsOf: URL(fileURLWithPath: Golden.path(Self.name) + "/preprocessor_config.json"))) as? [String: Any])
    let video: [String: Any] = ["num_frames": 64, "fps": 1, "size": ["longest_edge": 32], "max_image_size": ["longest_edge": 32]]
    var pictures = settings
    pictures["video_sampling"] = nil
    try FileManager.default.removeItem(atPath: directory.file("preprocessor_config.json"))
    try JSONSerialization.data(withJSONObject: ["image_processor": pictures, "video_processor": video, "image_seq_len": 4])
      .write(to: URL(fileURLWithPath: directory.file("processor_config.json")))
    #expect(try VideoLanguageModel(path: directory.path).config == VideoLanguageModel(path: Golden.path(Self.name)).config)
    let llama = try ModelConfig(
      ConfigFiles(
        config: Array(
          #"{"model_type": "smolvlm", "image_token_id": 7, "text_config": {"num_attention_heads": 8}, "vision_config": {"image_size": 32}}"#
            .utf8), preprocessor: Array(try JSONSerialization.data(withJSONObject: settings))))
    #expect(llama.hiddenSize == 4096 && llama.intermediateSize == 11008 && llama.layerCount == 32 && llama.vocabularySize == 32000)
    #expect(llama.keyValueHeadCount == 8 && llama.rmsNormEpsilon == 1e-6 && llama.ropeTheta == 10000 && llama.maximumPositions == 2048)
    #expect(llama.projector == .pixelShuffle(scale: 2) && llama.vision?.headCount == 16 && !llama.attentionHasBias)
  }

  /// Squares of one position: the map as it is.
  @Test func everyPosition() throws {
    let golden = try VideoLanguageModel(path: Golden.path(Self.name)).config
    var config = golden
    config.projector = .pixelShuffle(scale: 1)
    let shapes: [String: [Int]] = [
      "embeddings.patch_embedding.weight": [48, 3, 4, 4], "embeddings.position_embedding.weight": [64, 48],
      "encoder.layers.0.mlp.fc1.weight": [96, 48],
    ]
    let schema = try TensorSchema(
      needed: config, shapes: TensorShapes(Dictionary(uniqueKeysWithValues: shapes.map { (SmolVLMTower.prefix + $0, $1) })))
    #expect(schema.requirements.first { $0.name == "model.mm_projector.weight" }?.shape == [64, 48])
    #expect(config.layout(.clip(frames: 2), towerSide: 8).fastCount == 128 && golden.layout(.clip(frames: 2), towerSide: 8).fastCount == 8)
  }

  /// What is changed in a file, and what the message says.
  static var wrong: [(file: String, changes: [String: Any?], words: [String])] {
    [
      ("config.json", ["scale_factor": 3], ["\"scale_factor\" is 3", "a divisor of the tower's side, 8"]),
      ("config.json", ["scale_factor": 0], ["\"scale_factor\" is 0", "from 1 to 64"]),
      ("config.json", ["scale_factor": 2], ["proj", "expected [64, 192]"]),
      ("config.json", ["text_config": nil], ["no field \"text_config\""]),
      ("config.json", ["text_config.attention_bias": true], ["\"text_config.attention_bias\" is true", "expected false"]),
      ("config.json", ["text_config.model_type": "qwen2"], ["\"text_config.model_type\" is qwen2", "expected llama"]),
      ("config.json", ["vision_config.image_size": 64], ["\"max_image_size\" is 32", "64, which the tower's image_size is"]),
      ("config.json", ["vision_config.model_type": "siglip_vision_model"], ["vision_config.model_type", "expected smolvlm_vision"]),
      ("config.json", ["vision_config.num_hidden_layers": 3], ["the checkpoint lacks 16 tensors", "encoder.layers.2."]),
      ("config.json", ["image_token_id": 480], ["\"image_token_id\" is 480", "from 0 to 479"]),
      ("config.json", ["image_token_id": nil], ["no field \"image_token_id\""]),
      ("preprocessor_config.json", ["video_sampling": nil], ["preprocessor_config.json: no field \"video_sampling\""]),
      ("preprocessor_config.json", ["video_sampling.fps": 0], ["\"video_sampling.fps\" is 0"]),
      ("preprocessor_config.json", ["max_image_size": nil], ["no field \"max_image_size\""]),
      ("preprocessor_config.json", ["size.longest_edge": 5000], ["\"size.longest_edge\" is 5000", "from 1 to 4096"]),
      ("preprocessor_config.json", ["do_image_splitting": false], ["\"do_image_splitting\" is false"]),
      ("preprocessor_config.json", ["resample": 0], ["\"resample\" is 0", "1 (Lanczos)"]),
    ]
  }

  @Test(arguments: wrong.indices) func wrongCheckpoints(_ index: Int) throws {
    let (file, changes, words) = Self.wrong[index]
    let directory = try checkpoint([file: changes])
    for open in [
      { _ = try VideoLanguageModel(path: directory.path) },
      { _ = try CheckpointConversion(directory.path, options: ConversionOptions(bits: 8)).run(to: directory.file("out.sfq")) },
    ] as [() throws -> Void] {
      let error = failure(open)
      #expect(
        error?.kind == .invalidModel && words.allSatisfy { error?.description.contains($0) == true }, "\(error?.description ?? "none")")
    }
    #expect(!FileManager.default.fileExists(atPath: directory.file("out.sfq")))
  }

  @Test func missingFiles() throws {
    let directory = try checkpoint([:], without: ["preprocessor_config.json", "processor_config.json"])
    #expect(failure { _ = try VideoLanguageModel(path: directory.path) }?.isA(.invalidModel, "preprocessor_config.json") == true)
  }

  /// Tensors of one family beside the configuration of another, both ways.
  @Test(arguments: [("smolvlm", "onevision-hf"), ("onevision-hf", "smolvlm")])
  func otherFamiliesTensors(_ tensors: String, _ config: String) throws {
    let directory = try TemporaryDirectory()
    for file in try FileManager.default.contentsOfDirectory(atPath: Golden.path(config)) where !file.hasPrefix("golden") {
      let source = file == "model.safetensors" ? tensors : config
      try FileManager.default.copyItem(atPath: "\(Golden.path(source))/\(file)", toPath: directory.file(file))
    }
    let error = failure { _ = try VideoLanguageModel(path: directory.path) }
    #expect(error?.kind == .invalidModel && error?.description.contains("tensor") == true, "\(error?.description ?? "none")")
  }

  /// A model file says all that its configuration files said.
  @Test func modelFiles() throws {
    let directory = try TemporaryDirectory()
    let checkpoint = try VideoLanguageModel(path: Golden.path(Self.name))
    let file = try VideoLanguageModel(path: try convert(Self.name, bits: 8, to: directory))
    #expect(file.config == checkpoint.config && file.defaultSampling.rule == .spread(1) && file.defaultFrameCount == 64)
    #expect(file.config.pixels.pictureSide == 128 && file.config.pixels.longestSide == 32 && file.config.pixels.resampling == .lanczos)
  }
}
