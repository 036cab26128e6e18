import Support

/// Which code computes which model: the only list of families.
package enum ModelRegistry {
  package static let towers: [any VisionTower.Type] = [ConvNeXtTower.self]
  package static let projectors: [any Projector.Type] = [PerceptronProjector.self]
  package static let decoders: [any Decoder.Type] = [Qwen2Decoder.self]

  // MARK: What a config names

  /// The tower that a config names; the first where it names none.
  static func tower(named name: String?) throws(ArchitectureError) -> any VisionTower.Type {
    guard let name else { return towers[0] }
    if let tower = towers.first(where: { $0.isNamed(name) }) { return tower }
    throw .configValue(
      field: "mm_vision_tower", found: name,
      expected: "\(towers.map { $0.example }.joined(separator: ", ")): no other kind of tower is supported")
  }

  static func decoder(modelType: String, architectures: [String]) throws(ArchitectureError) -> any Decoder.Type {
    func unsupported(_ field: String, _ found: String, _ known: [String]) -> ArchitectureError {
      .configValue(field: field, found: found, expected: "\(known.joined(separator: ", ")): no other family is supported")
    }
    guard let decoder = decoders.first(where: { $0.modelTypes.contains(modelType) }) else {
      throw unsupported("model_type", modelType, decoders.flatMap { $0.modelTypes })
    }
    if let other = architectures.first(where: { !decoder.architectures.contains($0) }) {
      throw unsupported("architectures", other, decoder.architectures)
    }
    return decoder
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
    let type = try decoder(modelType: config.modelType, architectures: [])
    return declared { () throws(SlowFastError) in try type.init(config, ownsHead: ownsHead, builder) }
  }

  /// Nothing is loaded, so nothing can fail.
  private static func declared<T>(_ body: () throws(SlowFastError) -> T) -> T {
    do { return try body() } catch { preconditionFailure("\(error)") }
  }
}
