import Support

extension ModelConfig {
  /// The fields of a Qwen2 decoder; the rest as of a model that shows one picture and pools nothing. `defaults`: what the class takes for
  /// fields that are absent, where checkpoints rely on it; nil: nothing stands in for a field that decides numbers.
  init(
    qwen2 fields: ConfigFields, defaults: Qwen2Defaults?, tower: TowerSettings, projector: ProjectorType
  ) throws(ArchitectureError) {
    func integer(_ field: String, in range: ClosedRange<Int>, _ standard: Int?) throws(ArchitectureError) -> Int {
      if let standard { return try fields.optionalInteger(field, in: range) ?? standard }
      return try fields.integer(field, in: range)
    }
    (pixels, vision, self.projector) = (tower.pixels, tower.vision, projector)
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
