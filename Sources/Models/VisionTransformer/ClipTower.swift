import Support

/// OpenAI's CLIP.
package struct ClipTower: VisionTransformerTower {
  package static let style = VisionTransformer.Style(hasClassToken: true, preNorm: "pre_layrnorm", patchesHaveBias: false)
  package static let example = "a CLIP tower such as openai/clip-vit-large-patch14-336"
  package let transformer: VisionTransformer

  package init(_ transformer: VisionTransformer) { self.transformer = transformer }

  package static func isNamed(_ name: String) -> Bool { name.hasPrefix("openai") && name.contains("clip") }

  package static func vision(_ fields: ConfigFields, _ files: ConfigFiles, selectLayer: Int?) throws(ArchitectureError) -> VisionConfig? {
    if let vision = files.vision { return try VisionConfig(json: vision) }
    let feature = try fields.optionalString("mm_vision_select_feature") ?? "patch"
    guard feature == "patch" else {
      throw .configValue(
        field: "mm_vision_select_feature", found: feature, expected: "patch: with a class token the map of features would be no square")
    }
    guard let selectLayer else { throw .configMissing(field: "mm_vision_select_layer") }
    return try VisionConfig(defaults, name: try fields.string("mm_vision_tower"), files: files, selectLayer: selectLayer)
  }

  static let defaults = VisionDefaults(
    modelType: "clip", epsilon: 1e-5, activation: .quickGelu, fit: .crop, mean: PixelConfig.clipMean, std: PixelConfig.clipStd,
    sizes: [("large", 16, 24), ("base", 12, 12)])
}
