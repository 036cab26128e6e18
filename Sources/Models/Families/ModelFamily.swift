/// A family of checkpoints: what its configuration says and how it names its tensors. Each is a file, and a line in `ModelRegistry`.
package protocol ModelFamily: Sendable {
  /// For people: `slow-fast LLaVA`.
  static var name: String { get }
  /// `model_type` and `architectures` that may mean this family.
  static var modelTypes: [String] { get }
  static var architectures: [String] { get }
  /// Whether a configuration of these is this family's.
  static func isMeant(by fields: ConfigFields) throws(ArchitectureError) -> Bool
  static func config(_ fields: ConfigFields, _ files: ConfigFiles) throws(ArchitectureError) -> ModelConfig
  /// The name that a tensor has in the published slow-fast checkpoints; as it is where the family names it the same.
  static func canonical(_ name: String) -> String
}

extension ModelFamily {
  package static func canonical(_ name: String) -> String { name }
}
