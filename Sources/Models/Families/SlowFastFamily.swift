import Support
import Tokenizer

/// LLaVA with slow and fast tokens (arXiv 2504.01328), and plain LLaVA of the same code.
package enum SlowFastFamily: ModelFamily {
  package static let name = "slow-fast LLaVA"
  package static let modelTypes = ["llava_qwen_slow_fast", "llava_qwen", "llava_qwen2", "qwen2"]
  package static let architectures = [
    "LlavaQwenSlowFastForCausalLM", "LlavaQwenForCausalLM", "LlavaQwen2ForCausalLM", "Qwen2ForCausalLM",
  ]

  package static func isMeant(by fields: ConfigFields) throws(ArchitectureError) -> Bool { true }

  package static func config(_ fields: ConfigFields, _ files: ConfigFiles) throws(ArchitectureError) -> ModelConfig {
    if try fields.optionalBool("tile_image_input") == true {
      throw .configValue(field: "tile_image_input", found: "true", expected: "false")
    }
    let towerName = try fields.optionalString("mm_vision_tower")
    let tower = try ModelRegistry.tower(named: towerName)
    let select = try fields.optionalInteger("mm_vision_select_layer", in: -1024...1024)
    var config = try ModelConfig(
      decoder: fields, defaults: nil, tower: tower.settings(fields, files, selectLayer: select),
      projector: ProjectorType(name: fields.string("mm_projector_type")))
    config.towerName = towerName
    config.hybrid = try HybridConfig(fields: fields, layerCount: config.layerCount)
    // A plain LLaVA pools nothing and has no such fields.
    let isPlain = config.hybrid == nil
    func stride(_ field: String, upTo limit: Int) throws(ArchitectureError) -> Int {
      isPlain ? try fields.optionalInteger(field, in: 1...limit) ?? 1 : try fields.integer(field, in: 1...limit)
    }
    config.poolingStride = try stride("mm_video_pooling_stride", upTo: 64)
    config.fastTokens = FastTokenConfig(
      samplingStride: try stride("fast_token_temporal_sampling_stride", upTo: 4096),
      temporalStride: try stride("fast_token_temporal_stride", upTo: 4096),
      spatialStride: try stride("fast_token_spatial_stride", upTo: 64),
      minimumFrames: try stride("min_fast_frames", upTo: 4096))
    if !fields.isNull("slow_attention") { config.slowAttention = try fields.choice("slow_attention") }
    config.promptTemplate = .chatML(marksImages: try fields.optionalBool("mm_use_im_start_end") ?? false)
    config.frameCount = try fields.optionalInteger("video_frames", in: 1...Limits.frames)
    return config
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
