import Support

extension ModelConfig {
  package init(json: [UInt8]) throws(ArchitectureError) { try self.init(ConfigFiles(config: json)) }

  /// Reads `config.json` and what a tower needs beside it. Every number is checked against what the runtime can address, so that products
  /// of two fields cannot overflow.
  package init(_ files: ConfigFiles) throws(ArchitectureError) {
    let fields = try ConfigFields(json: files.config)
    let family = try ModelRegistry.family(fields)
    self = try family.config(fields, files)
    self.family = family.name
    guard fields.isNull("quantization_config") else {
      throw .configValue(
        field: "quantization_config", found: fields.text("quantization_config"), expected: "none: a checkpoint whose weights are floats")
    }
  }

  /// Frames that a clip gets unless the user says otherwise: the config's own number, or as many as fill the fast tokens exactly
  /// (64 for s1t4, 96 for s1t6, 128 for s2t4 with 16 fast frames).
  public var defaultFrameCount: Int {
    frameCount ?? min(Limits.frames, fastTokens.minimumFrames * fastTokens.temporalStride * fastTokens.samplingStride)
  }
}

extension ProjectorType {
  /// `linear`, `identity` or `mlpNx_gelu`.
  package init(name: String) throws(ArchitectureError) {
    switch name {
    case "linear": self = .linear
    case "identity": self = .identity
    default:
      guard name.hasPrefix("mlp"), name.hasSuffix("x_gelu"), let depth = Int(name.dropFirst(3).dropLast(6)), (1...16).contains(depth)
      else { throw .configValue(field: "mm_projector_type", found: name, expected: "linear, identity or mlpNx_gelu") }
      self = .mlp(depth: depth)
    }
  }
}

/// The base of the rotary positions, as transformers 4 writes it (`rope_theta`, `rope_scaling`) and as transformers 5 does
/// (`rope_parameters`).
package enum RotaryBase {
  private static let range = 1...1e12

  /// There is no default: Qwen2's published bases differ from its class's by a factor of a hundred. Where a config says it twice, it must
  /// say the same.
  ///
  /// `standard`: what a class takes that checkpoints rely on.
  package static func read(_ fields: ConfigFields, default standard: Double? = nil) throws(ArchitectureError) -> Float {
    var found: (field: String, theta: Double)?
    func take(_ fields: ConfigFields) throws(ArchitectureError) {
      guard let theta = try fields.optionalNumber("rope_theta", in: range) else { return }
      let field = fields.name("rope_theta")
      if let found, found.theta != theta {
        throw .configValue(field: field, found: "\(theta)", expected: "\(found.theta), which \"\(found.field)\" is")
      }
      found = (field, theta)
    }
    try take(fields)
    for name in ["rope_scaling", "rope_parameters"] {
      guard let settings = try fields.object(name) else { continue }
      try checkUnscaled(settings, name)
      try take(settings)
    }
    guard let theta = found?.theta ?? standard else { throw .configMissing(field: fields.name("rope_theta")) }
    return Float(theta)
  }

  private static func checkUnscaled(_ settings: ConfigFields, _ name: String) throws(ArchitectureError) {
    let unscaled = "null or of the type \"default\""
    for field in ["rope_type", "type"] {
      if let type = try settings.optionalString(field), type != "default" {
        throw .configValue(field: name, found: type, expected: unscaled)
      }
    }
    for field in settings.names where !["rope_type", "type", "rope_theta"].contains(field) {
      if settings.isObject(field) {
        throw .configValue(field: name, found: "one for each of \(settings.names)", expected: "one for all layers")
      }
      // Factors of 1 change nothing.
      if ["factor", "partial_rotary_factor"].contains(field), try settings.optionalNumber(field, in: 1...1) != nil { continue }
      if !settings.isNull(field) {
        throw .configValue(field: settings.name(field), found: settings.text(field), expected: "none, as \"\(name)\" must be \(unscaled)")
      }
    }
  }
}
