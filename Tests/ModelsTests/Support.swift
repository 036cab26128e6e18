import Foundation
import Models

/// A config of the published kind whose fields a test may change; nil takes one away.
func config(_ changes: [String: Any?] = [:]) throws -> ModelConfig { try ModelConfig(json: json(changes)) }

func json(_ changes: [String: Any?] = [:]) throws -> [UInt8] {
  var fields: [String: Any] = [
    "model_type": "llava_qwen_slow_fast", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "rms_norm_eps": 1e-6, "rope_theta": 1_000_000.0,
    "torch_dtype": "bfloat16", "tie_word_embeddings": false, "hidden_act": "silu", "max_position_embeddings": 32768,
    "mm_vision_tower": "convnext-576", "mm_projector_type": "mlp2x_gelu", "mm_video_pooling_stride": 2,
    "fast_token_temporal_sampling_stride": 1, "fast_token_temporal_stride": 4, "fast_token_spatial_stride": 1, "min_fast_frames": 16,
    "cross_attn_every_n_layers": 8, "cross_attn_implementation": "text-only-vanilla-flashattn",
    "cross_attn_gating_type": "whole-dynamic-tanh-warmup",
  ]
  for (name, value) in changes { fields[name] = value }
  return Array(try JSONSerialization.data(withJSONObject: fields))
}

/// The error of a step that must fail; nil if it does not.
func failure(_ body: () throws -> Void) -> ArchitectureError? {
  do {
    try body()
    return nil
  } catch { return error as? ArchitectureError }
}
