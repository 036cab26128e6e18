/// A checkpoint's tensors under the names that they have in the published checkpoints.
package struct CanonicalNames<Record: Sendable>: Sendable {
  /// By canonical name. Where two tensors get the same one, that which needed no renaming, else the first by name.
  package let tensors: [String: Record]
  /// Names of the checkpoint that are the same tensor: canonical name, the one taken, the one left.
  package let collisions: [(name: String, taken: String, left: String)]
  /// A tensor that belongs to an adapter that was not merged.
  package let adapter: String?

  /// `records` by the names that they have in the checkpoint.
  package init(_ records: [String: Record]) {
    var tensors: [String: Record] = [:]
    var taken: [String: String] = [:]
    var collisions: [(String, String, String)] = []
    let renamed = records.keys.map { (name: $0, canonical: CanonicalName.canonical($0)) }
    for (name, canonical) in renamed.sorted(by: { ($0.name != $0.canonical ? 1 : 0, $0.name) < ($1.name != $1.canonical ? 1 : 0, $1.name) })
    {
      if let first = taken[canonical] {
        collisions.append((canonical, first, name))
      } else {
        tensors[canonical] = records[name]
        taken[canonical] = name
      }
    }
    self.tensors = tensors
    self.collisions = collisions
    adapter = records.keys.filter(CanonicalName.isAdapter).min()
  }
}

/// A tensor's name as the published checkpoints have it, made from the names that other tools write.
package enum CanonicalName {
  /// What training tools put before, and some between, the parts of a name.
  private static let wrappers = ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."]
  private static let prefixes = ["module.", "base_model.model."]
  /// Marks of an adapter that was not merged into the weights.
  private static let adapterMarks = [
    ".lora_A.", ".lora_B.", ".lora_embedding_A.", ".lora_embedding_B.", ".lora_magnitude_vector.", ".base_layer.", ".modules_to_save.",
  ]

  /// Of a tower, by its published name.
  package static func isTower(_ name: String) -> Bool { tower(of: name) != nil }

  /// The family of towers that has tensors of that name: that of the longest prefix, where one's begins another's.
  private static func tower(of name: String) -> (any VisionTower.Type)? {
    ModelRegistry.towers.filter { name.hasPrefix($0.prefix) }.max { $0.prefix.utf8.count < $1.prefix.utf8.count }
  }

  package static func isAdapter(_ name: String) -> Bool { adapterMarks.contains { ("." + name + ".").contains($0) } }

  package static func canonical(_ name: String) -> String {
    var name = name
    for wrapper in wrappers { name = name.replacing(wrapper, with: "") }
    while let prefix = prefixes.first(where: { name.hasPrefix($0) }) { name.removeFirst(prefix.count) }
    if let known = ModelRegistry.families.lazy.map({ $0.canonical(name) }).first(where: { $0 != name }) { name = known }
    // In a directory of its own, or a whole CLIP's or SigLIP's.
    if name.hasPrefix("vision_model.") { name = "model.vision_tower.vision_tower." + name }
    return tower(of: name)?.canonical(name) ?? name
  }

  /// Why the model does not use a tensor of that (canonical) name; nil if nothing of the kind is known.
  package static func reasonUnused(_ name: String) -> String? {
    if let reason = tower(of: name)?.reasonUnused(name) { return reason }
    if name.hasSuffix(".rotary_emb.inv_freq") { return "computed from rope_theta" }
    if name.hasSuffix(".position_ids") { return "computed" }
    if name.hasSuffix(".num_batches_tracked") { return "a counter of training" }
    if name == PerceptronProjector.newlineName { return "ends lines of visual tokens, which this model does not mark" }
    return nil
  }
}
