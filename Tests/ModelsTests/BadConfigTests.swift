import Foundation
import Models
import Testing

/// Configs that are refused, each for one reason that the message names.
@Suite struct BadConfigTests {
  private func expectValue(_ field: String, _ changes: [String: Any?], _ location: SourceLocation = #_sourceLocation) {
    let error = failure { _ = try config(changes) }
    guard case .configValue(_, field, _, _) = error else {
      Issue.record("\(changes): \(String(describing: error))", sourceLocation: location)
      return
    }
    #expect(error.map { "\($0)".contains("\"\(field)\"") } == true, sourceLocation: location)
  }

  @Test func unknownWords() {
    expectValue("model_type", ["model_type": "llama"])
    expectValue("hidden_act", ["hidden_act": "gelu"])
    expectValue("mm_vision_tower", ["mm_vision_tower": "resnet-576"])
    expectValue("mm_vision_tower", ["mm_vision_tower": "convnext"])
    expectValue("mm_vision_tower", ["mm_vision_tower": "convnext-99999999999999999999"])
    for name in ["mlp_gelu", "mlp0x_gelu", "mlp17x_gelu", "mlp-2x_gelu", "mlp99999999999999999999x_gelu", "mlp2x_relu", "mlpx_gelu", ""] {
      expectValue("mm_projector_type", ["mm_projector_type": name])
    }
    for name in ["", "whole", "channel-dynamic-tanh", "whole-dynamic-sigmoid", "whole-dynamictanh-", "whole-dynamic-tanh-warmup-more"] {
      expectValue("cross_attn_gating_type", ["cross_attn_gating_type": name])
    }
    for name in ["", "text-only", "flashattn", "vanilla-paged", "text-only-vanilla-flashattn3"] {
      expectValue("cross_attn_implementation", ["cross_attn_implementation": name])
    }
  }

  @Test func featuresThatAreNotComputed() {
    expectValue("layer_types", ["layer_types": ["full_attention", "sliding_attention"]])
    expectValue("quantization_config", ["quantization_config": ["quant_method": "awq", "bits": 4]])
    expectValue("use_sliding_window", ["use_sliding_window": true])
    expectValue("tile_image_input", ["tile_image_input": true])
  }

  /// Scaled rotary positions by name, in every spelling, and two spellings that do not agree.
  @Test func scaledRotaryPositions() {
    for type in ["yarn", "linear", "dynamic", "longrope", "llama3", "mrope"] {
      for field in ["rope_scaling", "rope_parameters"] {
        for key in ["type", "rope_type"] {
          expectValue(field, [field: [key: type, "factor": 4]])
          expectValue(field, ["rope_theta": nil, field: ["rope_theta": 1e6, key: type]])
        }
        expectValue(field, [field: ["type": "default", "rope_type": type]])
        expectValue(field, [field: type])
      }
    }
    expectValue("rope_parameters.rope_theta", ["rope_parameters": ["rope_theta": 10000.0, "rope_type": "default"]])
    expectValue("rope_scaling.rope_theta", ["rope_scaling": ["rope_theta": 10000.0, "type": "default"]])
    expectValue("rope_scaling.factor", ["rope_scaling": ["type": "default", "factor": 4]])
    expectValue("rope_scaling.mrope_section", ["rope_scaling": ["type": "default", "mrope_section": [16, 24, 24]]])
    expectValue("rope_parameters.partial_rotary_factor", ["rope_parameters": ["rope_theta": 1e6, "partial_rotary_factor": 0.5]])
    // One for each type of layer, as transformers 5 writes models that mix them.
    let one = ["rope_theta": 1e6, "rope_type": "default"] as [String: Any]
    expectValue("rope_parameters", ["rope_theta": nil, "rope_parameters": ["full_attention": one, "sliding_attention": one]])
  }

  /// What another family's config says names those that are supported.
  @Test func otherFamilies() {
    for (field, value) in [
      ("model_type", "llava_next" as Any), ("architectures", ["LlavaNextForConditionalGeneration"]),
      ("mm_vision_tower", "google/vit-384"),
    ] {
      let text = failure { _ = try config([field: value, "input_image_size": 384]) }.map { "\($0)" } ?? ""
      #expect(text.contains("supported") && text.lowercased().contains(field == "mm_vision_tower" ? "convnext" : "qwen"), "\(text)")
    }
  }

  @Test func headsThatDoNotDivide() {
    expectValue("num_key_value_heads", ["num_key_value_heads": 5])
    expectValue("hidden_size", ["hidden_size": 3585])
    expectValue("hidden_size", ["hidden_size": 28 * 127])
    expectValue("head_dim", ["head_dim": 1])
  }

  static let counts = [
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size",
    "mm_video_pooling_stride", "fast_token_temporal_sampling_stride", "fast_token_temporal_stride", "fast_token_spatial_stride",
    "min_fast_frames", "max_position_embeddings", "cross_attn_every_n_layers", "input_image_size", "head_dim",
    "video_frames",
  ]

  @Test(arguments: counts)
  func numbersOutOfRange(field: String) {
    expectValue(field, [field: 0])
    expectValue(field, [field: -1])
    expectValue(field, [field: 1 << 40])
    expectValue(field, [field: 1e300])
    expectValue(field, [field: 4.5])
    expectValue(field, [field: "4"])
    expectValue(field, [field: [4]])
    expectValue(field, [field: ["a": 1]])
  }

  @Test func otherNumbers() {
    for field in ["cross_attn_min_layer_depth", "cross_attn_max_layer_depth"] {
      expectValue(field, [field: -1])
      expectValue(field, [field: 1.5])
    }
    expectValue("cross_attn_max_layer_depth", ["cross_attn_max_layer_depth": 29])
    expectValue("rms_norm_eps", ["rms_norm_eps": -1])
    expectValue("rms_norm_eps", ["rms_norm_eps": "small"])
    expectValue("rope_theta", ["rope_theta": 0])
    expectValue("rope_theta", ["rope_theta": 1e300])
    expectValue("rope_theta", ["rope_theta": true])
    for limit: Any in [0, -1, 4.5, "4", [4]] { expectValue("tokenizer_model_max_length", ["tokenizer_model_max_length": limit]) }
    for ids: Any in ["7", 1.5, [1, "2"], 1e300] { expectValue("eos_token_id", ["eos_token_id": ids]) }
    expectValue("slow_attention", ["slow_attention": "some"])
    expectValue("tie_word_embeddings", ["tie_word_embeddings": "no"])
    expectValue("model_type", ["model_type": 7])
  }

  /// What decides numbers has no default.
  @Test(arguments: [
    "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size",
    "mm_vision_tower", "hidden_act", "rms_norm_eps", "rope_theta", "tie_word_embeddings", "mm_projector_type", "mm_video_pooling_stride",
    "fast_token_temporal_sampling_stride", "fast_token_temporal_stride", "fast_token_spatial_stride", "min_fast_frames",
    "cross_attn_implementation", "cross_attn_gating_type",
  ])
  func missingFields(field: String) {
    #expect(failure { _ = try config([field: nil]) } == .configMissing(field: field))
    // null is absent.
    #expect(failure { _ = try config([field: NSNull()]) } == .configMissing(field: field))
  }

  @Test(arguments: ["", " ", "{", "[]", "null", "7", "\"text\"", "{\"model_type\":NaN}", "{\"a\":1}}", "\u{0}", "<html>"])
  func notAnObject(text: String) {
    guard case .configUnreadable = failure({ _ = try ModelConfig(json: Array(text.utf8)) }) else {
      Issue.record("\(text)")
      return
    }
  }

  /// Numbers that JSON writes but no integer holds: an error, whichever one.
  @Test(arguments: ["NaN", "Infinity", "1e999", "-0", "99999999999999999999999999", "true", "\"\""])
  func numbersNoIntegerHolds(text: String) throws {
    let whole = String(decoding: try json(), as: UTF8.self).replacingOccurrences(
      of: "\"hidden_size\":3584", with: "\"hidden_size\":\(text)")
    #expect(whole.contains("\"hidden_size\":\(text)"))
    #expect(failure { _ = try ModelConfig(json: Array(whole.utf8)) } != nil)
  }

  /// Bytes that are no UTF-8, nesting without end, every prefix of a good config.
  @Test func hostileBytes() throws {
    #expect(failure { _ = try ModelConfig(json: [0xFF, 0xFE, 0x80]) } != nil)
    #expect(failure { _ = try ModelConfig(json: [UInt8](repeating: UInt8(ascii: "["), count: 100_000)) } != nil)
    let good = try json()
    for length in stride(from: 0, to: good.count, by: 7) {
      #expect(failure { _ = try ModelConfig(json: Array(good.prefix(length))) } != nil)
    }
  }

  /// A field's text is printed without what could move a terminal's cursor.
  @Test func controlCharactersAreEscaped() {
    let error = failure { _ = try config(["model_type": "a\u{1B}[2Jb\nc"]) }
    let text = error.map { "\($0)" } ?? ""
    #expect(text.contains("a\\u{1b}[2Jb\\nc") && !text.contains("\u{1B}") && !text.contains("\n"))
  }
}
