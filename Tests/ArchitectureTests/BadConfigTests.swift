import Architecture
import Foundation
import Testing

/// Configs that are refused, each for one reason that the message names.
@Suite struct BadConfigTests {
  private func expectValue(_ field: String, _ changes: [String: Any?], _ location: SourceLocation = #_sourceLocation) {
    let error = failure { _ = try config(changes) }
    guard case .configValue(field, _, _) = error else {
      Issue.record("\(changes): \(String(describing: error))", sourceLocation: location)
      return
    }
    #expect(error.map { "\($0)".contains("\"\(field)\"") } == true, sourceLocation: location)
  }

  @Test func unknownWords() {
    expectValue("model_type", ["model_type": "llama"])
    expectValue("hidden_act", ["hidden_act": "gelu"])
    expectValue("mm_vision_tower", ["mm_vision_tower": "siglip-576"])
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
    expectValue("rope_scaling", ["rope_scaling": ["type": "yarn", "factor": 4]])
    expectValue("use_sliding_window", ["use_sliding_window": true])
    expectValue("tile_image_input", ["tile_image_input": true])
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
    "min_fast_frames", "max_position_embeddings", "tokenizer_model_max_length", "cross_attn_every_n_layers", "input_image_size", "head_dim",
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
    expectValue("tie_word_embeddings", ["tie_word_embeddings": "no"])
    expectValue("model_type", ["model_type": 7])
  }

  @Test(arguments: ["model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "mm_vision_tower"])
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
    let whole = String(decoding: try json(), as: UTF8.self).replacingOccurrences(of: "\"hidden_size\":3584", with: "\"hidden_size\":\(text)")
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
