import Support

/// Google's SigLIP.
package struct SiglipTower: VisionTransformerTower {
  package static let style = VisionTransformer.Style(hasClassToken: false, preNorm: nil, patchesHaveBias: true)
  package static let example = "a SigLIP tower such as google/siglip-so400m-patch14-384"
  package let transformer: VisionTransformer

  package init(_ transformer: VisionTransformer) { self.transformer = transformer }

  package static func isNamed(_ name: String) -> Bool { name.lowercased().contains("siglip") }

  package static func vision(_ fields: ConfigFields, _ files: ConfigFiles, selectLayer: Int?) throws(ArchitectureError) -> VisionConfig? {
    if let vision = files.vision { return try VisionConfig(json: vision) }
    let feature = try fields.optionalString("mm_vision_select_feature") ?? "patch"
    guard feature == "patch" else {
      throw .configValue(field: "mm_vision_select_feature", found: feature, expected: "patch, as the tower has no class token")
    }
    guard let selectLayer else { throw .configMissing(field: "mm_vision_select_layer") }
    return try VisionConfig(defaults, name: try fields.string("mm_vision_tower"), files: files, selectLayer: selectLayer)
  }

  static let defaults = VisionDefaults(
    modelType: "siglip", epsilon: 1e-6, activation: .geluTanh, fit: .stretch, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5],
    sizes: [("so400m", 16, 27), ("large", 16, 24), ("base", 12, 12)])
}
