import Support

/// OpenAI's CLIP.
package struct ClipTower: VisionTransformerTower {
  package static let style = VisionTransformer.Style(hasClassToken: true, preNorm: "pre_layrnorm", patchesHaveBias: false)
  package static let example: String? = "a CLIP tower such as openai/clip-vit-large-patch14-336"
  package let transformer: VisionTransformer

  package init(_ transformer: VisionTransformer) { self.transformer = transformer }

  package static func isNamed(_ name: String) -> Bool { name.hasPrefix("openai") && name.contains("clip") }

  package static let whyPatches = "with a class token the map of features would be no square"

  package static let defaults = VisionDefaults(
    modelType: "clip", epsilon: 1e-5, activation: .quickGelu, fit: .crop, mean: PixelConfig.clipMean, std: PixelConfig.clipStd,
    sizes: [("large", 16, 24), ("base", 12, 12)])
}
