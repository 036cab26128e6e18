import ModelFile
import Models
import Safetensors
import Tensors

/// What each part of a model is stored as, unless the user says otherwise.
enum StorageDefaults {
  /// Groups to choose from, the preferred first: long groups multiply faster and cost fewer bits.
  static let groups: [Int] = QuantizedScheme.groupChoices.reversed()

  /// Bits of a part where nothing else says them.
  ///
  /// Of what 4 bits everywhere cost the demonstration model, tower and projector cost four fifths (`benchmarks/compare`): all a clip's tokens go
  /// through them. So they keep 8 beside 4 elsewhere. No other part gains as much by 8 bits, whatever its size. In a model of the published shape
  /// they are a tenth of the weights, and are not in memory while an answer is made, which is when most memory is in use.
  static func bits(_ role: TensorRole, _ bits: Int) -> Int {
    switch role {
    case .towerLinear, .towerDownsample, .projector: max(bits, 8)
    default: bits
    }
  }

  /// Inputs that share a scale where codes have fewer than 8 bits, at most: fewest where those cost most for each weight, which is in the embedding, the
  /// head and the projector. They are small. The multilayer perceptrons and the cross-attention's keys and values cost the least.
  static func longestGroup(_ role: TensorRole, bits: Int) -> Int {
    if bits >= 8 { return groups[0] }
    switch role {
    case .embedding, .head, .projector: return 32
    case .mlp, .crossAttention: return 128
    default: return 64
    }
  }

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
    let bits = rule(requirement, options)?.bits ?? bits(requirement.role, options.bits)
    switch bits {
    case _ where QuantizedScheme.bitChoices.contains(bits):
      let longest = longestGroup(requirement.role, bits: bits)
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
