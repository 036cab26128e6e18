import Support

/// Google's SigLIP.
package struct SiglipTower: VisionTransformerTower {
  package static let style = VisionTransformer.Style(hasClassToken: false, preNorm: nil, patchesHaveBias: true)
  package static let example: String? = "a SigLIP tower such as google/siglip-so400m-patch14-384"
  package let transformer: VisionTransformer

  package init(_ transformer: VisionTransformer) { self.transformer = transformer }

  package static func isNamed(_ name: String) -> Bool { name.lowercased().contains("siglip") }

  package static let whyPatches = "the tower has no class token"

  package static let defaults = VisionDefaults(
    modelType: "siglip", epsilon: 1e-6, activation: .geluTanh, fit: .stretch, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5],
    sizes: [("so400m", 16, 27), ("large", 16, 24), ("base", 12, 12)])
}
