import Support

extension ModelConfig {
  /// Reads `config.json`. Every number is checked against what the runtime can address, so that products of two fields cannot overflow.
  package init(json: [UInt8]) throws(ArchitectureError) {
    let fields = try ConfigFields(json: json)
    modelType = try fields.string("model_type")
    _ = try ModelRegistry.decoder(modelType: modelType, architectures: try fields.optionalStrings("architectures") ?? [])
    towerName = try fields.optionalString("mm_vision_tower")
    _ = try ModelRegistry.tower(named: towerName)
    let act = try fields.string("hidden_act")
    guard act == "silu" else { throw .configValue(field: "hidden_act", found: act, expected: "silu") }
    if let other = try fields.optionalStrings("layer_types")?.first(where: { $0 != "full_attention" }) {
      throw .configValue(field: "layer_types", found: other, expected: "full_attention in every layer")
    }
    guard fields.isNull("quantization_config") else {
      throw .configValue(
        field: "quantization_config", found: fields.text("quantization_config"), expected: "none: a checkpoint whose weights are floats")
    }
    if try fields.optionalBool("use_sliding_window") == true {
      throw .configValue(field: "use_sliding_window", found: "true", expected: "false")
    }
    if try fields.optionalBool("tile_image_input") == true {
      throw .configValue(field: "tile_image_input", found: "true", expected: "false")
    }

    hiddenSize = try fields.integer("hidden_size", in: 1...(1 << 17))
    intermediateSize = try fields.integer("intermediate_size", in: 1...(1 << 20))
    layerCount = try fields.integer("num_hidden_layers", in: 1...1024)
    headCount = try fields.integer("num_attention_heads", in: 1...1024)
    keyValueHeadCount = try fields.integer("num_key_value_heads", in: 1...1024)
    guard headCount % keyValueHeadCount == 0 else {
      throw .configValue(
        field: "num_key_value_heads", found: "\(keyValueHeadCount)", expected: "a divisor of num_attention_heads, \(headCount)")
    }
    if let explicit = try fields.optionalInteger("head_dim", in: 2...1024) {
      headDimension = explicit
    } else {
      guard hiddenSize % headCount == 0 else {
        throw .configValue(field: "hidden_size", found: "\(hiddenSize)", expected: "a multiple of num_attention_heads, \(headCount)")
      }
      headDimension = hiddenSize / headCount
    }
    guard headDimension % 2 == 0 else {
      throw .configValue(field: "hidden_size", found: "\(hiddenSize)", expected: "an even head size, found \(headDimension)")
    }
    vocabularySize = try fields.integer("vocab_size", in: 1...(1 << 24))
    rmsNormEpsilon = Float(try fields.number("rms_norm_eps", in: 0...1))
    ropeTheta = try RotaryBase.read(fields)
    tiesWordEmbeddings = try fields.bool("tie_word_embeddings")

    hybrid = try HybridConfig(fields: fields, layerCount: layerCount)
    imageSize = try ModelConfig.imageSize(fields)
    projector = try ProjectorType(name: fields.string("mm_projector_type"))
    // A plain LLaVA pools nothing and has no such fields.
    let isPlain = hybrid == nil
    func stride(_ field: String, upTo limit: Int) throws(ArchitectureError) -> Int {
      isPlain ? try fields.optionalInteger(field, in: 1...limit) ?? 1 : try fields.integer(field, in: 1...limit)
    }
    poolingStride = try stride("mm_video_pooling_stride", upTo: 64)
    fastTokens = FastTokenConfig(
      samplingStride: try stride("fast_token_temporal_sampling_stride", upTo: 4096),
      temporalStride: try stride("fast_token_temporal_stride", upTo: 4096),
      spatialStride: try stride("fast_token_spatial_stride", upTo: 64),
      minimumFrames: try stride("min_fast_frames", upTo: 4096))
    let attention = try fields.optionalString("slow_attention") ?? SlowAttention.prompt.rawValue
    guard let slowAttention = SlowAttention(rawValue: attention) else {
      throw .configValue(field: "slow_attention", found: attention, expected: "prompt or all")
    }
    self.slowAttention = slowAttention

    // Qwen2's own default. It decides no numbers, only how long a conversation may become.
    maximumPositions = try fields.optionalInteger("max_position_embeddings", in: 1...(1 << 24)) ?? 32768
    contextLength = min(maximumPositions, try fields.optionalLimit("tokenizer_model_max_length", upTo: 1 << 24) ?? maximumPositions)
    endTokens = try fields.ids("eos_token_id")
    usesImageStartEnd = try fields.optionalBool("mm_use_im_start_end") ?? false
    frameCount = try fields.optionalInteger("video_frames", in: 1...Limits.frames)
  }

  /// `input_image_size`, or the number that the tower's name ends with (`convnext-576`).
  private static func imageSize(_ fields: ConfigFields) throws(ArchitectureError) -> Int {
    if let size = try fields.optionalInteger("input_image_size", in: 32...4096) { return size }
    let tower = try fields.string("mm_vision_tower")
    let digits = tower.reversed().prefix { $0.isASCII && $0.isNumber }
    guard let size = Int(String(digits.reversed())), (32...4096).contains(size) else {
      throw .configValue(field: "mm_vision_tower", found: tower, expected: "a name that ends with the input size, or input_image_size")
    }
    return size
  }

  /// Frames that a clip gets unless the user says otherwise: the config's own number, or as many as fill the fast tokens exactly
  /// (64 for s1t4, 96 for s1t6, 128 for s2t4 with 16 fast frames).
  public var defaultFrameCount: Int {
    frameCount ?? min(Limits.frames, fastTokens.minimumFrames * fastTokens.temporalStride * fastTokens.samplingStride)
  }
}

extension HybridConfig {
  fileprivate init?(fields: ConfigFields, layerCount: Int) throws(ArchitectureError) {
    guard let step = try fields.optionalInteger("cross_attn_every_n_layers", in: 1...1024) else { return nil }
    let first = try fields.optionalInteger("cross_attn_min_layer_depth", in: 0...1024) ?? 0
    // 0 and null both mean all layers, as the published code has it.
    let depth = try fields.optionalInteger("cross_attn_max_layer_depth", in: 0...1024) ?? 0
    let end = depth == 0 ? layerCount : depth
    guard end <= layerCount else {
      throw .configValue(field: "cross_attn_max_layer_depth", found: "\(end)", expected: "at most num_hidden_layers, \(layerCount)")
    }
    layers = Array(stride(from: first, to: end, by: step))

    // "text-only-vanilla-flashattn": words in any order; the way it is computed (flashattn, sdpa, eager) changes nothing.
    let implementation = try fields.string("cross_attn_implementation")
    var words = Set(implementation.replacingOccurrences(of: "text-only", with: "textonly").split(separator: "-").map(String.init))
    isTextOnly = words.remove("textonly") != nil
    masksSystem = words.remove("masksystem") != nil
    guard words.remove("vanilla") != nil, words.isSubset(of: ["flashattn", "sdpa", "eager"]) else {
      throw .configValue(
        field: "cross_attn_implementation", found: implementation, expected: "[text-only-]vanilla[-masksystem][-flashattn]")
    }

    let gating = try fields.string("cross_attn_gating_type")
    let gatingWords = gating.split(separator: "-").map(String.init)
    var parts = Set(gatingWords.dropFirst(2))
    gateHasTanh = parts.remove("tanh") != nil
    gateHasWarmUp = parts.remove("warmup") != nil
    guard gatingWords.starts(with: ["whole", "dynamic"]), parts.isEmpty else {
      throw .configValue(field: "cross_attn_gating_type", found: gating, expected: "whole-dynamic[-tanh][-warmup]")
    }
  }
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
