import Foundation
import Models
import Testing
import Tokenizer

/// What a config says, read.
@Suite struct ModelConfigTests {
  private func strides(_ config: ModelConfig) -> [Int] {
    let fast = config.fastTokens
    return [fast.samplingStride, fast.temporalStride, fast.spatialStride, fast.minimumFrames]
  }

  @Test func thePublishedConfig() throws {
    let config = try config()
    #expect(config.hiddenSize == 3584 && config.intermediateSize == 18944 && config.layerCount == 28)
    #expect(config.headCount == 28 && config.keyValueHeadCount == 4 && config.headDimension == 128)
    #expect(config.vocabularySize == 152064 && config.rmsNormEpsilon == 1e-6 && config.ropeTheta == 1e6)
    #expect(!config.tiesWordEmbeddings)
    let hybrid = try #require(config.hybrid)
    #expect(hybrid.layers == [0, 8, 16, 24] && hybrid.isTextOnly && !hybrid.masksSystem && hybrid.gateHasTanh && hybrid.gateHasWarmUp)
    #expect(config.imageSize == 576 && config.projector == .mlp(depth: 2) && config.poolingStride == 2)
    #expect(strides(config) == [1, 4, 1, 16])
    #expect(config.contextLength == 32768 && config.maximumPositions == 32768 && config.promptTemplate == .chatML(marksImages: false))
  }

  /// s1t4, s1t6 and s2t4.
  @Test(arguments: [(1, 4, 64), (1, 6, 96), (2, 4, 128)])
  func publishedFrameCounts(sampling: Int, temporal: Int, frames: Int) throws {
    let config = try config(["fast_token_temporal_sampling_stride": sampling, "fast_token_temporal_stride": temporal])
    #expect(config.defaultFrameCount == frames)
  }

  @Test func theConfigsOwnFrameCount() throws {
    #expect(try config(["video_frames": 20]).defaultFrameCount == 20)
    // A product of the largest strides is cut to what a request may ask for.
    let strides: [String: Any?] = [
      "fast_token_temporal_sampling_stride": 4096, "fast_token_temporal_stride": 4096, "min_fast_frames": 4096,
    ]
    #expect(try config(strides).defaultFrameCount == 65536)
  }

  /// A plain LLaVA: nothing is pooled, and no layer reads slow tokens.
  @Test func defaults() throws {
    let config = try config([
      "torch_dtype": nil, "mm_video_pooling_stride": nil, "fast_token_temporal_sampling_stride": nil,
      "fast_token_temporal_stride": nil, "fast_token_spatial_stride": nil, "min_fast_frames": nil,
      "max_position_embeddings": nil, "cross_attn_every_n_layers": nil, "cross_attn_implementation": nil, "cross_attn_gating_type": nil,
    ])
    #expect(config.poolingStride == 1)
    #expect(strides(config) == [1, 1, 1, 1])
    #expect(config.hybrid == nil && config.maximumPositions == 32768 && config.slowAttention == .prompt && config.endTokens == [])
  }

  /// The rotary base as transformers 4 and 5 write it; `dtype` and `torch_dtype` decide nothing.
  @Test func rotaryBases() throws {
    let five: [String: Any?] = [
      "rope_theta": nil, "rope_parameters": ["rope_theta": 1_000_000.0, "rope_type": "default"], "torch_dtype": nil, "dtype": "bfloat16",
      "layer_types": [String](repeating: "full_attention", count: 28),
    ]
    #expect(try config(five) == config())
    #expect(try config(["rope_theta": 500_000]).ropeTheta == 500_000)
    for scaling: Any in [
      NSNull(), ["type": "default"], ["rope_type": "default"],
      ["rope_type": "default", "type": "default", "rope_theta": 1_000_000, "factor": 1.0],
    ] { #expect(try config(["rope_scaling": scaling]) == config()) }
    // Both, saying the same.
    #expect(try config(["rope_parameters": ["rope_theta": 1e6, "partial_rotary_factor": 1.0]]) == config())
  }

  @Test func endTokensAndSlowAttention() throws {
    #expect(try config(["eos_token_id": 7]).endTokens == [7])
    #expect(try config(["eos_token_id": [7, 9]]).endTokens == [7, 9])
    #expect(try config(["slow_attention": "all"]).slowAttention == .all)
    #expect(try config(["cross_attn_max_layer_depth": 0]).hybrid?.layers == [0, 8, 16, 24])
  }

  /// Every n-th layer between the depths.
  @Test func hybridLayers() throws {
    #expect(try config(["cross_attn_every_n_layers": 10]).hybrid?.layers == [0, 10, 20])
    #expect(try config(["cross_attn_min_layer_depth": 4, "cross_attn_max_layer_depth": 20]).hybrid?.layers == [4, 12])
    #expect(try config(["cross_attn_min_layer_depth": 20, "cross_attn_max_layer_depth": 4]).hybrid?.layers == [])
  }

  @Test(arguments: [
    ("vanilla", false, false), ("text-only-vanilla", true, false), ("text-only-vanilla-masksystem", true, true),
    ("text-only-vanilla-masksystem-flashattn", true, true), ("text-only-masksystem-vanilla-sdpa", true, true),
    ("vanilla-eager", false, false),
  ])
  func implementations(name: String, isTextOnly: Bool, masksSystem: Bool) throws {
    let hybrid = try #require(try config(["cross_attn_implementation": name]).hybrid)
    #expect(hybrid.isTextOnly == isTextOnly && hybrid.masksSystem == masksSystem)
  }

  @Test(arguments: [
    ("whole-dynamic", false, false), ("whole-dynamic-tanh", true, false), ("whole-dynamic-warmup", false, true),
    ("whole-dynamic-tanh-warmup", true, true),
  ])
  func gatings(name: String, hasTanh: Bool, hasWarmUp: Bool) throws {
    let hybrid = try #require(try config(["cross_attn_gating_type": name]).hybrid)
    #expect(hybrid.gateHasTanh == hasTanh && hybrid.gateHasWarmUp == hasWarmUp)
  }

  @Test(arguments: [
    ("linear", ProjectorType.linear), ("identity", .identity), ("mlp1x_gelu", .mlp(depth: 1)), ("mlp3x_gelu", .mlp(depth: 3)),
    ("mlp16x_gelu", .mlp(depth: 16)),
  ])
  func projectors(name: String, type: ProjectorType) throws {
    #expect(try config(["mm_projector_type": name]).projector == type)
  }

  @Test func contextAndImage() throws {
    let config = try config(["tokenizer_model_max_length": 4096, "input_image_size": 192, "mm_use_im_start_end": true, "head_dim": 64])
    #expect(config.contextLength == 4096 && config.maximumPositions == 32768 && config.imageSize == 192)
    #expect(config.promptTemplate == .chatML(marksImages: true) && config.headDimension == 64)
    // A tokenizer may claim more than the decoder has positions.
    #expect(try ModelsTests.config(["tokenizer_model_max_length": 65536]).contextLength == 32768)
    // HuggingFace's "none": int(1e30).
    for none: Any in [1e30, NSDecimalNumber(string: "1000000000000000019884624838656")] {
      #expect(try ModelsTests.config(["tokenizer_model_max_length": none]).contextLength == 32768)
    }
  }
}
