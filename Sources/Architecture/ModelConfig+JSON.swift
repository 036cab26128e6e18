import Foundation

extension ModelConfig {
  /// Reads `config.json`. Every number is checked against what the runtime can address, so that products of two fields cannot overflow.
  public init(json: [UInt8]) throws(ArchitectureError) {
    let fields = try ConfigFields(json: json)
    let modelType = try fields.string("model_type")
    guard ["llava_qwen_slow_fast", "llava_qwen", "llava_qwen2", "qwen2"].contains(modelType) else {
      throw .configValue(field: "model_type", found: modelType, expected: "llava_qwen_slow_fast")
    }
    if let act = try fields.optionalString("hidden_act"), act != "silu" {
      throw .configValue(field: "hidden_act", found: act, expected: "silu")
    }
    guard fields.isNull("rope_scaling") else {
      throw .configValue(field: "rope_scaling", found: fields.text("rope_scaling"), expected: "null")
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
    keyValueHeadCount = try fields.integer("num_key_value_heads", in: 1...1024, default: headCount)
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
    rmsNormEpsilon = Float(try fields.number("rms_norm_eps", in: 0...1, default: 1e-6))
    ropeTheta = Float(try fields.number("rope_theta", in: 1...1e12, default: 10000))
    tiesWordEmbeddings = try fields.optionalBool("tie_word_embeddings") ?? false

    hybrid = try HybridConfig(fields: fields, layerCount: layerCount)
    imageSize = try ModelConfig.imageSize(fields)
    projector = try ProjectorType(name: fields.optionalString("mm_projector_type") ?? "linear")
    poolingStride = try fields.integer("mm_video_pooling_stride", in: 1...64, default: 1)
    fastTokens = FastTokenConfig(
      samplingStride: try fields.integer("fast_token_temporal_sampling_stride", in: 1...4096, default: 1),
      temporalStride: try fields.integer("fast_token_temporal_stride", in: 1...4096, default: 1),
      spatialStride: try fields.integer("fast_token_spatial_stride", in: 1...64, default: 1),
      minimumFrames: try fields.integer("min_fast_frames", in: 1...4096, default: 1))

    maximumPositions = try fields.integer("max_position_embeddings", in: 1...(1 << 24), default: 32768)
    contextLength = min(maximumPositions, try fields.optionalInteger("tokenizer_model_max_length", in: 1...(1 << 24)) ?? maximumPositions)
    usesImageStartEnd = try fields.optionalBool("mm_use_im_start_end") ?? false
    frameCount = try fields.optionalInteger("video_frames", in: 1...65536)
  }

  /// `input_image_size`, or the number that the tower's name ends with (`convnext-576`).
  private static func imageSize(_ fields: ConfigFields) throws(ArchitectureError) -> Int {
    if let size = try fields.optionalInteger("input_image_size", in: 32...4096) { return size }
    let tower = try fields.string("mm_vision_tower")
    guard tower.lowercased().contains("convnext") else {
      throw .configValue(field: "mm_vision_tower", found: tower, expected: "a ConvNeXt tower such as convnext-576")
    }
    let digits = tower.reversed().prefix { $0.isASCII && $0.isNumber }
    guard let size = Int(String(digits.reversed())), (32...4096).contains(size) else {
      throw .configValue(field: "mm_vision_tower", found: tower, expected: "a name that ends with the input size, or input_image_size")
    }
    return size
  }

  /// Frames that a clip gets unless the user says otherwise: the config's own number, or as many as fill the fast tokens exactly
  /// (64 for s1t4, 96 for s1t6, 128 for s2t4 with 16 fast frames).
  public var defaultFrameCount: Int {
    frameCount ?? min(65536, fastTokens.minimumFrames * fastTokens.temporalStride * fastTokens.samplingStride)
  }
}

extension HybridConfig {
  fileprivate init?(fields: ConfigFields, layerCount: Int) throws(ArchitectureError) {
    guard let step = try fields.optionalInteger("cross_attn_every_n_layers", in: 1...1024) else { return nil }
    let first = try fields.optionalInteger("cross_attn_min_layer_depth", in: 0...1024) ?? 0
    let end = try fields.optionalInteger("cross_attn_max_layer_depth", in: 0...1024) ?? layerCount
    guard end <= layerCount else {
      throw .configValue(field: "cross_attn_max_layer_depth", found: "\(end)", expected: "at most num_hidden_layers, \(layerCount)")
    }
    layers = Array(stride(from: first, to: end, by: step))

    // "text-only-vanilla-flashattn": words in any order; the way it is computed (flashattn, sdpa, eager) changes nothing.
    let implementation = try fields.optionalString("cross_attn_implementation") ?? "vanilla"
    var words = Set(implementation.replacingOccurrences(of: "text-only", with: "textonly").split(separator: "-").map(String.init))
    isTextOnly = words.remove("textonly") != nil
    masksSystem = words.remove("masksystem") != nil
    guard words.remove("vanilla") != nil, words.isSubset(of: ["flashattn", "sdpa", "eager"]) else {
      throw .configValue(
        field: "cross_attn_implementation", found: implementation, expected: "[text-only-]vanilla[-masksystem][-flashattn]")
    }

    let gating = try fields.optionalString("cross_attn_gating_type") ?? "whole-dynamic"
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
  init(name: String) throws(ArchitectureError) {
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
