import ModelFile
import Models
import Safetensors
import Tensors

/// What each part of a model is stored as, unless the user says otherwise.
enum StorageDefaults {
  /// Groups to choose from, the preferred first: long groups multiply faster and cost fewer bits.
  static let groups: [Int] = QuantizedScheme.groupChoices.reversed()

  /// The group that pads the columns least; of those, the longest.
  static func group(columns: Int, longest: Int) -> Int {
    func padded(_ group: Int) -> Int { (columns + group - 1) / group * group }
    return groups.filter { $0 <= longest }.min { padded($0) < padded($1) } ?? 32
  }

  /// The encoding of a tensor. Whatever is no matrix is float32: together less than a thousandth of the weights.
  static func encoding(
    _ requirement: TensorRequirement, type: TensorType, options: ConversionOptions
  ) -> TensorEncoding {
    guard requirement.role.isMatrix else { return .float32 }
    if let chosen = options.assignments[requirement.name] { return chosen }
    let bits = rule(requirement, options)?.bits ?? max(options.bits, RolePolicy(requirement.role).leastBits)
    switch bits {
    case _ where QuantizedScheme.bitChoices.contains(bits):
      let longest = bits >= 8 ? groups[0] : RolePolicy(requirement.role).longestGroup
      return .quantized(
        bits: bits, group: options.group ?? group(columns: columns(requirement), longest: longest), symmetric: !options.isAsymmetric)
    case 16: return type == .float16 ? .float16 : .bfloat16
    default: return .float32
    }
  }

  /// The first keep rule that fits.
  static func rule(_ requirement: TensorRequirement, _ options: ConversionOptions) -> KeepRule? {
    options.keep.first { $0.matches(name: requirement.name, part: requirement.role.part) }
  }

  static func columns(_ requirement: TensorRequirement) -> Int { requirement.storedShape.dropFirst().reduce(1, *) }
}

/// How a matrix's part in the model decides what it is stored as.
struct RolePolicy {
  /// Beside fewer bits elsewhere.
  ///
  /// Of what 4 bits everywhere cost the demonstration model, tower and projector cost four fifths (`benchmarks/compare`): all a clip's
  /// tokens go through them. So they keep 8. No other part gains as much by 8 bits, whatever its size. In a model of the published shape
  /// they are a tenth of the weights, and are not in memory while an answer is made, which is when most memory is in use.
  var leastBits: Int
  /// Inputs that share a scale where codes have fewer than 8 bits, at most: fewest where those cost most for each weight, which is in the
  /// embedding, the head and the projector. They are small. The perceptrons and the cross-attention's keys and values cost the least.
  var longestGroup: Int
  /// What an equal relative error costs: the divergence of the demonstration model's answers with each part alone in 4 bits
  /// (`benchmarks/compare`), divided by the part's matrices, that of a matrix in the decoder's layers being 1. By that, embedding and head
  /// would be 2 and 2.5; they count more because all text goes through them, with a clip or without.
  var importance: Double

  init(_ role: TensorRole) {
    (leastBits, longestGroup, importance) =
      switch role {
      case .towerLinear, .towerDownsample: (8, 64, 28)
      case .projector: (8, 32, 100)
      case .embedding: (0, 32, 10)
      case .head: (0, 32, 4)
      case .mlp, .crossAttention: (0, 128, 1)
      case .attention: (0, 64, 1)
      // No matrices to quantize.
      case .towerStem, .towerDepthwise, .norm, .bias, .layerScale, .gate: (32, 64, 1)
      }
  }
}
