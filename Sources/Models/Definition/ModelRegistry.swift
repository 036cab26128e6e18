import Support

/// Which code computes which model: the only list of families.
package enum ModelRegistry {
  package static let towers: [any VisionTower.Type] = [ConvNeXtTower.self, SiglipTower.self, ClipTower.self, SmolVLMTower.self]
  package static let projectors: [any Projector.Type] = [PerceptronProjector.self, PixelShuffleProjector.self]
  package static let decoders: [any Decoder.Type] = [Qwen2Decoder.self]

  /// The first that is meant by a config.
  package static let families: [any ModelFamily.Type] = [
    LlavaNextFamily.self, SlowFastFamily.self, LlavaOnevisionFamily.self, SmolVLMFamily.self,
  ]

  // MARK: What a config names

  static func family(_ fields: ConfigFields) throws(ArchitectureError) -> any ModelFamily.Type {
    func unsupported(_ field: String, _ found: String, _ known: [String]) -> ArchitectureError {
      var names: [String] = []
      for name in known where !names.contains(name) { names.append(name) }
      return .configValue(field: field, found: found, expected: "\(names.joined(separator: ", ")): no other family is supported")
    }
    let modelType = try fields.string("model_type")
    let architectures = try fields.optionalStrings("architectures") ?? []
    let ofType = families.filter { $0.modelTypes.contains(modelType) }
    guard !ofType.isEmpty else { throw unsupported("model_type", modelType, families.flatMap { $0.modelTypes }) }
    let candidates = ofType.filter { Set(architectures).isSubset(of: $0.architectures) }
    guard !candidates.isEmpty else {
      let known = ofType.flatMap { $0.architectures }
      throw unsupported("architectures", architectures.first { !known.contains($0) } ?? architectures.joined(separator: ", "), known)
    }
    for family in candidates where try family.isMeant(by: fields) { return family }
    return candidates[0]
  }

  /// The tower that a config names; the first where it names none.
  static func tower(named name: String?) throws(ArchitectureError) -> any VisionTower.Type {
    guard let name else { return towers[0] }
    if let tower = towers.first(where: { $0.isNamed(name) }) { return tower }
    throw .configValue(
      field: "mm_vision_tower", found: name,
      expected: "\(towers.compactMap { $0.example }.joined(separator: ", ")): no other kind of tower is supported")
  }

  static func decoder(named modelType: String) throws(ArchitectureError) -> any Decoder.Type {
    if let decoder = decoders.first(where: { $0.modelTypes.contains(modelType) }) { return decoder }
    throw .configValue(
      field: "model_type", found: modelType,
      expected: "\(decoders.flatMap { $0.modelTypes }.joined(separator: ", ")): no other decoder is supported")
  }

  // MARK: Components without weights

  static func tower(_ config: ModelConfig, _ shapes: TensorShapes, _ builder: LayerBuilder) throws(ArchitectureError) -> any VisionTower {
    func make<Tower: VisionTower>(_ type: Tower.Type) throws(ArchitectureError) -> any VisionTower {
      let measures = try Tower.measures(config, shapes)
      return declared { () throws(SlowFastError) in try Tower(measures, builder) }
    }
    return try make(try tower(named: config.towerName))
  }

  static func projector(_ config: ModelConfig, width: Int, _ builder: LayerBuilder) throws(ArchitectureError) -> any Projector {
    guard let type = projectors.first(where: { $0.computes(config.projector) }) else {
      throw .configValue(field: "mm_projector_type", found: "\(config.projector)", expected: "one that is supported")
    }
    return declared { () throws(SlowFastError) in try type.init(config, width: width, builder) }
  }

  static func decoder(_ config: ModelConfig, ownsHead: Bool, _ builder: LayerBuilder) throws(ArchitectureError) -> any Decoder {
    let type = try decoder(named: config.modelType)
    return declared { () throws(SlowFastError) in try type.init(config, ownsHead: ownsHead, builder) }
  }

  /// Nothing is loaded, so nothing can fail.
  private static func declared<T>(_ body: () throws(SlowFastError) -> T) -> T {
    do { return try body() } catch { preconditionFailure("\(error)") }
  }
}
