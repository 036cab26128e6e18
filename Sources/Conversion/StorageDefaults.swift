import Architecture
import Checkpoint
import ModelFile

/// What each part of a model is stored as, unless the user says otherwise.
enum StorageDefaults {
  /// Bits of a matrix when few bits are asked for, by its role: the larger of this and what was asked for counts.
  ///
  /// Four bits go to the decoder's own matrices, which are three quarters of all weights and what every generated token reads.
  static let leastBits: [TensorRole: Int] = [
    .attention: 4,
    .mlp: 4,
    // One row a token is read: more bits cost nothing but room in the file.
    .embedding: 8,
    // The last product: its error goes into the choice of the token unsoftened.
    .head: 8,
    // Small, and all that the decoder sees of the slow tokens goes through them.
    .crossAttention: 8,
    .projector: 8,
    // Read once a clip and given back before the decoder comes: more bits cost no time and no peak memory, and everything the model
    // sees passes through here, 40 blocks deep.
    .towerLinear: 8,
    .towerDownsample: 8,
  ]

  /// Groups to choose from, the preferred first: long groups multiply faster and cost fewer bits.
  static let groups = [128, 64, 32]

  /// The group that pads the columns least; of those, the longest.
  static func group(columns: Int) -> Int {
    func padded(_ group: Int) -> Int { (columns + group - 1) / group * group }
    return groups.min { padded($0) < padded($1) } ?? 32
  }

  /// The encoding of a tensor. Whatever is no matrix is float32: together less than a thousandth of the weights.
  static func encoding(
    _ requirement: TensorRequirement, type: TensorType, options: ConversionOptions
  ) -> TensorEncoding {
    guard requirement.role.isMatrix else { return .float32 }
    let rule = options.keep.first { $0.matches(name: requirement.name, part: requirement.role.part) }
    let bits = rule?.bits ?? max(options.bits, leastBits[requirement.role] ?? options.bits)
    switch bits {
    case 4, 8:
      let columns = requirement.storedShape.dropFirst().reduce(1, *)
      return .quantized(bits: bits, group: options.group ?? group(columns: columns), symmetric: !options.isAsymmetric)
    case 16: return type == .float16 ? .float16 : .bfloat16
    default: return .float32
    }
  }
}
