import Support

/// SmolVLM's SigLIP: with the norm after the last layer.
package struct SmolVLMTower: VisionTransformerTower {
  package static let style = VisionTransformer.Style(
    hasClassToken: false, preNorm: nil, postNorm: "post_layernorm", patchesHaveBias: true)
  package static let example: String? = nil
  package let transformer: VisionTransformer

  package init(_ transformer: VisionTransformer) { self.transformer = transformer }

  package static func isNamed(_ name: String) -> Bool { name == "smolvlm" }

  package static let whyPatches = "the tower has no class token"

  package static let defaults = VisionDefaults(
    modelType: "smolvlm_vision", headCount: 16, epsilon: 1e-6, activation: .geluTanh, fit: .longest, mean: [0.5, 0.5, 0.5],
    std: [0.5, 0.5, 0.5], sizes: [])
}
