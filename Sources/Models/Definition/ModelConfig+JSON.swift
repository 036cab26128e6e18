import Support

extension ModelConfig {
  package init(json: [UInt8]) throws(ArchitectureError) { try self.init(ConfigFiles(config: json)) }

  /// Reads `config.json` and what a tower needs beside it. Every number is checked against what the runtime can address, so that products
  /// of two fields cannot overflow.
  package init(_ files: ConfigFiles) throws(ArchitectureError) {
    let fields = try ConfigFields(json: files.config)
    let family = try ModelRegistry.family(fields)
    self = try family.config(fields, files)
    self.family = family.name
    guard fields.isNull("quantization_config") else {
      throw .configValue(
        field: "quantization_config", found: fields.text("quantization_config"), expected: "none: a checkpoint whose weights are floats")
    }
  }

  /// The fields of a Qwen2 decoder; the rest as of a model that shows one picture and pools nothing. `defaults`: what the class takes for
  /// fields that are absent, where checkpoints rely on it; nil: nothing stands in for a field that decides numbers.
  init(
    qwen2 fields: ConfigFields, defaults: Qwen2Defaults?, pixels: PixelConfig, vision: VisionConfig?, projector: ProjectorType
  ) throws(ArchitectureError) {
    func integer(_ field: String, in range: ClosedRange<Int>, _ standard: Int?) throws(ArchitectureError) -> Int {
      if let standard { return try fields.optionalInteger(field, in: range) ?? standard }
      return try fields.integer(field, in: range)
    }
    (self.pixels, self.vision, self.projector) = (pixels, vision, projector)
    family = ""
    modelType = defaults == nil ? try fields.string("model_type") : try fields.optionalString("model_type") ?? "qwen2"
    let act = defaults == nil ? try fields.string("hidden_act") : try fields.optionalString("hidden_act") ?? "silu"
    guard act == "silu" else { throw .configValue(field: fields.name("hidden_act"), found: act, expected: "silu") }
    if let other = try fields.optionalStrings("layer_types")?.first(where: { $0 != "full_attention" }) {
      throw .configValue(field: fields.name("layer_types"), found: other, expected: "full_attention in every layer")
    }
    if try fields.optionalBool("use_sliding_window") == true {
      throw .configValue(field: fields.name("use_sliding_window"), found: "true", expected: "false")
    }
    hiddenSize = try integer("hidden_size", in: 1...(1 << 17), defaults?.hiddenSize)
    intermediateSize = try integer("intermediate_size", in: 1...(1 << 20), defaults?.intermediateSize)
    layerCount = try integer("num_hidden_layers", in: 1...1024, defaults?.layerCount)
    headCount = try integer("num_attention_heads", in: 1...1024, defaults?.headCount)
    keyValueHeadCount = try integer("num_key_value_heads", in: 1...1024, defaults?.headCount)
    guard headCount % keyValueHeadCount == 0 else {
      throw .configValue(
        field: fields.name("num_key_value_heads"), found: "\(keyValueHeadCount)", expected: "a divisor of num_attention_heads, \(headCount)"
      )
    }
    if let explicit = try fields.optionalInteger("head_dim", in: 2...1024) {
      headDimension = explicit
    } else {
      guard hiddenSize % headCount == 0 else {
        throw .configValue(
          field: fields.name("hidden_size"), found: "\(hiddenSize)", expected: "a multiple of num_attention_heads, \(headCount)")
      }
      headDimension = hiddenSize / headCount
    }
    guard headDimension % 2 == 0 else {
      throw .configValue(field: fields.name("hidden_size"), found: "\(hiddenSize)", expected: "an even head size, found \(headDimension)")
    }
    vocabularySize = try integer("vocab_size", in: 1...(1 << 24), defaults?.vocabularySize)
    let epsilon = try fields.optionalNumber("rms_norm_eps", in: 0...1) ?? defaults?.rmsNormEpsilon
    guard let epsilon else { throw .configMissing(field: fields.name("rms_norm_eps")) }
    rmsNormEpsilon = Float(epsilon)
    ropeTheta = try RotaryBase.read(fields, default: defaults?.ropeTheta)
    tiesWordEmbeddings = defaults == nil ? try fields.bool("tie_word_embeddings") : try fields.optionalBool("tie_word_embeddings") ?? false
    hybrid = nil
    sequence = nil
    poolingStride = 1
    fastTokens = FastTokenConfig(samplingStride: 1, temporalStride: 1, spatialStride: 1, minimumFrames: 1)
    slowAttention = .prompt

    // Qwen2's own default. It decides no numbers, only how long a conversation may become.
    maximumPositions = try fields.optionalInteger("max_position_embeddings", in: 1...(1 << 24)) ?? 32768
    contextLength = min(maximumPositions, try fields.optionalLimit("tokenizer_model_max_length", upTo: 1 << 24) ?? maximumPositions)
    endTokens = try fields.ids("eos_token_id")
    promptTemplate = .chatML(marksImages: false)
    frameCount = nil
  }

  /// Frames that a clip gets unless the user says otherwise: the config's own number, or as many as fill the fast tokens exactly
  /// (64 for s1t4, 96 for s1t6, 128 for s2t4 with 16 fast frames).
  public var defaultFrameCount: Int {
    frameCount ?? min(Limits.frames, fastTokens.minimumFrames * fastTokens.temporalStride * fastTokens.samplingStride)
  }
}

/// What `Qwen2Config` takes for what a config leaves out.
struct Qwen2Defaults {
  var hiddenSize = 4096
  var intermediateSize = 22016
  var layerCount = 32
  var headCount = 32
  var vocabularySize = 151936
  var rmsNormEpsilon = 1e-6
  var ropeTheta = 10000.0
}

extension ProjectorType {
  /// `linear`, `identity` or `mlpNx_gelu`.
  package init(name: String) throws(ArchitectureError) {
    switch name {
    case "linear": self = .linear
    case "identity": self = .identity
    default:
      guard name.hasPrefix("mlp"), name.hasSuffix("x_gelu"), let depth = Int(name.dropFirst(3).dropLast(6)), (1...16).contains(depth)
      else { throw .configValue(field: "mm_projector_type", found: name, expected: "linear, identity or mlpNx_gelu") }
      self = .mlp(depth: depth)
    }
  }
}

/// The base of the rotary positions, as transformers 4 writes it (`rope_theta`, `rope_scaling`) and as transformers 5 does
/// (`rope_parameters`).
package enum RotaryBase {
  private static let range = 1...1e12

  /// There is no default: Qwen2's published bases differ from its class's by a factor of a hundred. Where a config says it twice, it must
  /// say the same.
  ///
  /// `standard`: what a class takes that checkpoints rely on.
  package static func read(_ fields: ConfigFields, default standard: Double? = nil) throws(ArchitectureError) -> Float {
    var found: (field: String, theta: Double)?
    func take(_ fields: ConfigFields) throws(ArchitectureError) {
      guard let theta = try fields.optionalNumber("rope_theta", in: range) else { return }
      let field = fields.name("rope_theta")
      if let found, found.theta != theta {
        throw .configValue(field: field, found: "\(theta)", expected: "\(found.theta), which \"\(found.field)\" is")
      }
      found = (field, theta)
    }
    try take(fields)
    for name in ["rope_scaling", "rope_parameters"] {
      guard let settings = try fields.object(name) else { continue }
      try checkUnscaled(settings, name)
      try take(settings)
    }
    guard let theta = found?.theta ?? standard else { throw .configMissing(field: fields.name("rope_theta")) }
    return Float(theta)
  }

  private static func checkUnscaled(_ settings: ConfigFields, _ name: String) throws(ArchitectureError) {
    let unscaled = "null or of the type \"default\""
    for field in ["rope_type", "type"] {
      if let type = try settings.optionalString(field), type != "default" {
        throw .configValue(field: name, found: type, expected: unscaled)
      }
    }
    for field in settings.names where !["rope_type", "type", "rope_theta"].contains(field) {
      if settings.isObject(field) {
        throw .configValue(field: name, found: "one for each of \(settings.names)", expected: "one for all layers")
      }
      // Factors of 1 change nothing.
      if ["factor", "partial_rotary_factor"].contains(field), try settings.optionalNumber(field, in: 1...1) != nil { continue }
      if !settings.isNull(field) {
        throw .configValue(field: settings.name(field), found: settings.text(field), expected: "none, as \"\(name)\" must be \(unscaled)")
      }
    }
  }
}
