import ModelFile
import Models
import Quantization
import Safetensors
import Tensors

/// How a checkpoint is to be stored.
public struct ConversionOptions: Sendable, Equatable {
  /// Of the matrices: 3, 4 or 8 (quantized), 16 (as stored, or bfloat16 where the checkpoint has float32), 32 (float32). Beside 3 and 4,
  /// tower and projector have 8 unless a keep rule says otherwise.
  public var bits: Int
  /// How codes and scales of quantized matrices are chosen. `gptq` needs calibration.
  public var method: QuantizationMethod
  /// Inputs that share a scale: 32, 64 or 128; nil chooses for each matrix: see `StorageDefaults`.
  public var group: Int?
  /// Codes with a minimum for each group, instead of codes about zero.
  public var isAsymmetric: Bool
  /// Codes of 4 bits stand for levels that are closer about zero, in place of evenly spaced ones: a smaller error in as many bits. Not with
  /// `isAsymmetric`; other widths stay as they are.
  public var isUneven: Bool
  /// The first rule that fits a matrix decides its bits.
  public var keep: [KeepRule]
  /// How codes, scales and floats are packed.
  public var compression: ChunkCompression
  /// nil: all processors.
  public var threadCount: Int?
  /// Replace a file that is there already.
  public var replacesOutput: Bool
  /// Take NaN and infinities: they stay what they are in matrices of floats and in vectors, and count as 0 in quantized matrices.
  public var allowsNonfinite: Bool
  /// Leave out tensors that the model has no place for instead of refusing them.
  public var ignoresUnknown: Bool
  /// Which tokens read the slow tokens unless a run says otherwise; nil: as the checkpoint's config says.
  public var slowAttention: SlowAttention?
  /// The directory of a vision transformer that is not inside the checkpoint under the name that its configuration gives.
  public var tower: String?
  /// Encodings of single matrices, by canonical name: before keep rules and everything else. See `Converter.allocated`.
  package var assignments: [String: TensorEncoding] = [:]
  /// What the assignments were made for.
  public internal(set) var target: SizeTarget?
  /// Name and version of the program, for the model file's provenance.
  public var program: String

  /// Defaults for 3, 4, 8, 16 or 32 bits.
  public init(
    bits: Int = 4, method: QuantizationMethod = .search, group: Int? = nil, isAsymmetric: Bool = false, isUneven: Bool = false,
    keep: [KeepRule] = [], compression: ChunkCompression = .standard, threadCount: Int? = nil,
    replacesOutput: Bool = false, allowsNonfinite: Bool = false, ignoresUnknown: Bool = false,
    program: String = "slowfast"
  ) {
    self.bits = bits
    self.method = method
    self.group = group
    self.isAsymmetric = isAsymmetric
    self.isUneven = isUneven
    self.keep = keep
    self.compression = compression
    self.threadCount = threadCount
    self.replacesOutput = replacesOutput
    self.allowsNonfinite = allowsNonfinite
    self.ignoresUnknown = ignoresUnknown
    self.program = program
  }

  /// What `bits` may be: those of codes, then those of floats.
  public static let bitChoices = quantizedBitChoices + [16, 32]
  /// Those that are quantized.
  public static let quantizedBitChoices = QuantizedScheme.bitChoices
  /// What `group` may be.
  public static let groupChoices = QuantizedScheme.groupChoices

  /// Of a quantized matrix.
  func encoding(bits: Int, group: Int) -> TensorEncoding {
    .quantized(QuantizedScheme(bits: bits, group: group, isSymmetric: !isAsymmetric, isUneven: isUneven && bits == 4))
  }

  func validate() throws(ConversionError) {
    guard Self.bitChoices.contains(bits) else { throw .invalidBits(bits) }
    if let group, !Self.groupChoices.contains(group) { throw .invalidGroup(group) }
    if isUneven, isAsymmetric { throw .unevenAsymmetric }
    for rule in keep where !Self.bitChoices.contains(rule.bits) { throw .invalidBits(rule.bits) }
  }
}

/// `PATTERN=BITS`: matrices whose canonical name the pattern fits, or that belong to the part of that name, are stored with so many bits.
public struct KeepRule: Sendable, Equatable {
  /// A tensor's name in which `*` stands for any text and `?` for any character, or the name of a part: `tower`, `mlp`, …
  public var pattern: String
  /// 3, 4, 8, 16 or 32.
  public var bits: Int

  /// Tensors whose name, or part, matches the pattern get these bits.
  public init(pattern: String, bits: Int) {
    self.pattern = pattern
    self.bits = bits
  }

  /// Reads `PATTERN=BITS`. A word that is neither a pattern nor a part fits no matrix of any model: their names have dots.
  package init(_ text: String) throws(ConversionError) {
    guard let separator = text.lastIndex(of: "="), separator > text.startIndex,
      let bits = Int(text[text.index(after: separator)...]), ConversionOptions.bitChoices.contains(bits),
      text[..<separator].contains(where: { ".*?".contains($0) }) || ConversionPlan.matrixParts.contains(String(text[..<separator]))
    else { throw .invalidKeepRule(text) }
    self.init(pattern: String(text[..<separator]), bits: bits)
  }

  /// What may stand before the bits, in words.
  package static let patternWords = "a part (\(ConversionPlan.matrixParts.joined(separator: ", "))) or a pattern of tensor names"

  func matches(name: String, part: String) -> Bool { pattern == part || Self.glob(Array(pattern.utf8)[...], Array(name.utf8)[...]) }

  /// Linear in memory, quadratic in time: on a mismatch only the last `*` takes one more byte.
  private static func glob(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
    var (p, t) = (pattern.startIndex, text.startIndex)
    var retry: (pattern: Int, text: Int)?
    while t < text.endIndex {
      if p < pattern.endIndex, pattern[p] == UInt8(ascii: "*") {
        p += 1
        retry = (p, t)
      } else if p < pattern.endIndex, pattern[p] == UInt8(ascii: "?") || pattern[p] == text[t] {
        p += 1
        t += 1
      } else if let last = retry {
        (p, t) = (last.pattern, last.text + 1)
        retry = (p, t)
      } else {
        return false
      }
    }
    return pattern[p...].allSatisfy { $0 == UInt8(ascii: "*") }
  }
}

/// What each part of a model is stored as, unless the user says otherwise.
package enum StorageDefaults {
  /// Groups to choose from, the preferred first: long groups multiply faster and cost fewer bits.
  static let groups: [Int] = QuantizedScheme.groupChoices.reversed()

  /// The longest group that pads the columns by no more than a fiftieth of them; else the one that pads them least. SigLIP so400m's 4304
  /// are 33.6 groups of 128 and 134.5 of 32: to pad 1.1 % costs less than groups of 32 do.
  package static func group(columns: Int, longest: Int) -> Int {
    func padding(_ group: Int) -> Int { (columns + group - 1) / group * group - columns }
    let choices = groups.filter { $0 <= longest }
    return choices.first { padding($0) <= columns / 50 } ?? choices.min { padding($0) < padding($1) } ?? 32
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
      return options.encoding(bits: bits, group: options.group ?? group(columns: columns(requirement), longest: longest))
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
      case .towerStem, .towerDepthwise, .norm, .bias, .layerScale, .gate, .token, .positions: (32, 64, 1)
      }
  }
}
