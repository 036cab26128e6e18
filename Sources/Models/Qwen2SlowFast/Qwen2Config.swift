import Support

extension ModelConfig {
  /// The fields of a Qwen2 or Llama decoder; the rest as of a model that shows one picture and pools nothing. `defaults`: what the class
  /// takes for fields that are absent, where checkpoints rely on it; nil: Qwen2's, and nothing stands in for a field that decides numbers.
  init(
    decoder fields: ConfigFields, defaults: DecoderDefaults?, tower: TowerSettings, projector: ProjectorType
  ) throws(ArchitectureError) {
    func integer(_ field: String, in range: ClosedRange<Int>, _ standard: Int?) throws(ArchitectureError) -> Int {
      if let standard { return try fields.optionalInteger(field, in: range) ?? standard }
      return try fields.integer(field, in: range)
    }
    (pixels, vision, self.projector) = (tower.pixels, tower.vision, projector)
    family = ""
    modelType = defaults == nil ? try fields.string("model_type") : try fields.optionalString("model_type") ?? defaults?.modelType ?? ""
    if let defaults, modelType != defaults.modelType {
      throw .configValue(field: fields.name("model_type"), found: modelType, expected: defaults.modelType)
    }
    attentionHasBias = defaults?.attentionHasBias ?? true
    // Llama's, which Qwen2 does not have.
    for field in ["attention_bias", "mlp_bias"] where !attentionHasBias {
      if try fields.optionalBool(field) == true {
        throw .configValue(field: fields.name(field), found: "true", expected: "false")
      }
    }
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
    let heads = headCount
    keyValueHeadCount = try integer("num_key_value_heads", in: 1...1024, defaults.map { $0.keyValueHeadCount ?? heads })
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

    // The class's own default, always. It decides no numbers, only how long a conversation may become.
    let positions = defaults?.maximumPositions ?? DecoderDefaults.qwen2.maximumPositions
    maximumPositions = try fields.optionalInteger("max_position_embeddings", in: 1...(1 << 24)) ?? positions
    contextLength = min(maximumPositions, try fields.optionalLimit("tokenizer_model_max_length", upTo: 1 << 24) ?? maximumPositions)
    endTokens = try fields.ids("eos_token_id")
    promptTemplate = .chatML(marksImages: false)
    frameCount = nil
    frameRate = nil
  }
}

/// What a class of transformers' configurations takes for what a config leaves out.
struct DecoderDefaults {
  var modelType: String
  /// Of queries, keys and values.
  var attentionHasBias: Bool
  var hiddenSize = 4096
  var intermediateSize: Int
  var layerCount = 32
  var headCount = 32
  /// nil: as many as of queries.
  var keyValueHeadCount: Int?
  var vocabularySize: Int
  var rmsNormEpsilon = 1e-6
  var ropeTheta = 10000.0
  var maximumPositions: Int

  static let qwen2 = DecoderDefaults(
    modelType: "qwen2", attentionHasBias: true, intermediateSize: 22016, keyValueHeadCount: 32, vocabularySize: 151936,
    maximumPositions: 32768)
  static let llama = DecoderDefaults(
    modelType: "llama", attentionHasBias: false, intermediateSize: 11008, vocabularySize: 32000, maximumPositions: 2048)
}
