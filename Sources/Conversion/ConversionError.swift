import ModelFile
import Models
import Quantization
import Safetensors
import Support

/// One way in which a checkpoint cannot become a model file.
package enum ConversionError: Error {
  // Options.
  case invalidBits(Int)
  case invalidGroup(Int)
  case invalidKeepRule(String)
  /// Uneven levels have no minima.
  case unevenAsymmetric
  /// No matrix has 4 bits, which alone have uneven levels.
  case unevenUnused
  /// The method needs to know the inputs of the layers.
  case calibrationMissing(QuantizationMethod)
  /// The method does nothing with the inputs of the layers.
  case calibrationUnused(QuantizationMethod)
  /// `least`: what the model comes to with the fewest bits.
  case targetTooSmall(SizeTarget, least: SizeTarget)
  /// No matrix has such a name, and no part is called so.
  case keepRuleMatchesNothing(pattern: String)

  // Tensors.
  case adapterNotMerged(tensor: String)
  case sameTensorTwice(name: String, first: String, second: String)
  case missingTensors([String])
  case wrongShape(tensor: String, expected: [Int], found: [Int])
  case unknownTensors([ConversionPlan.Unknown])
  case unsupportedType(tensor: String, type: TensorType)
  case headDiffersFromEmbedding(head: String, embedding: String)

  // Weights.
  case nonFinite(tensor: String, index: [Int], value: Float)
  case weightTooLarge(tensor: String, index: [Int], value: Float, limit: Float, encoding: TensorEncoding)

  case notEncodable(String)
  case outOfMemory(bytes: Int)
}

extension ConversionError {
  /// Whether it speaks of the checkpoint's tensors, without naming the checkpoint.
  package var isAboutCheckpoint: Bool {
    switch self {
    case .adapterNotMerged, .sameTensorTwice, .missingTensors, .wrongShape, .unknownTensors, .unsupportedType, .headDiffersFromEmbedding,
      .nonFinite, .weightTooLarge:
      true
    default: false
    }
  }
}

extension ConversionError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .invalidBits(let bits): "bits: \(bits), expected \(ConversionOptions.bitChoices.alternatives)"
    case .invalidGroup(let group): "group: \(group), expected \(ConversionOptions.groupChoices.alternatives)"
    case .invalidKeepRule(let text):
      "\(text.quoted): expected PATTERN=BITS with \(ConversionOptions.bitChoices.alternatives) bits, "
        + "such as \"*.down_proj.weight=8\" or \"tower=4\""
    case .unevenAsymmetric: "uneven levels have no minimum: codes are uneven or asymmetric"
    case .unevenUnused: "uneven levels are for 4 bits, which no matrix has"
    case .calibrationMissing(let method): "the method \(method.rawValue) needs calibration: name clips or an eval.jsonl"
    case .calibrationUnused(let method): "the method \(method.rawValue) takes no calibration; search and gptq do"
    case .targetTooSmall(let target, let least): "\(target) cannot be met: \(least) are the least"
    case .keepRuleMatchesNothing(let pattern):
      "\(pattern.quoted) is the name of no matrix and of no part; parts are \(ConversionPlan.matrixParts.joined(separator: ", "))"

    case .adapterNotMerged(let tensor):
      "tensor \(tensor.quoted) belongs to an adapter that is not merged; merge it into its base model first"
    case .sameTensorTwice(let name, let first, let second): "tensors \(first.quoted) and \(second.quoted) are both \(name.quoted)"
    case .missingTensors(let names):
      "the checkpoint lacks \(names.count == 1 ? "the tensor" : "\(names.count) tensors:") \(Self.list(names.map(\.quoted)))"
    case .wrongShape(let tensor, let expected, let found): "tensor \(tensor.quoted) has the shape \(found), expected \(expected)"
    case .unknownTensors(let unknown):
      "the model has no place for \(unknown.count == 1 ? "the tensor" : "\(unknown.count) tensors:") "
        + Self.list(unknown.map { $0.name.quoted + ($0.nearest.map { " (nearest known name: \($0.quoted))" } ?? "") })
    case .unsupportedType(let tensor, let type): "tensor \(tensor.quoted) has the type \(type.rawValue), expected BF16, F16 or F32"
    case .headDiffersFromEmbedding(let head, let embedding):
      "config.json ties the head to the embedding, but tensor \(head.quoted) differs from \(embedding.quoted)"

    case .nonFinite(let tensor, let index, let value):
      "tensor \(tensor.quoted) holds \(value.isNaN ? "NaN" : value < 0 ? "-infinity" : "infinity") at \(index)"
    case .weightTooLarge(let tensor, let index, let value, let limit, let encoding):
      "tensor \(tensor.quoted) holds \(value) at \(index), beyond \(limit), the largest that \(encoding) can hold; keep more bits for it"

    case .notEncodable(let reason): "cannot be written as JSON: \(reason.escaped())"
    case .outOfMemory(let bytes): "no memory left for \(bytes) bytes"
    }
  }

  private static func list(_ items: [String]) -> String {
    items.prefix(4).joined(separator: ", ") + (items.count > 4 ? ", …" : "")
  }
}

extension ConversionError: ClassifiedError {
  package var kind: SlowFastError.Kind {
    switch self {
    case .invalidBits, .invalidGroup, .invalidKeepRule, .unevenAsymmetric, .unevenUnused, .calibrationMissing, .calibrationUnused:
      .invalidOption
    case .outOfMemory: .notEnoughMemory
    default: .invalidModel
    }
  }

  package var namesItsFile: Bool { !isAboutCheckpoint }
}

extension SlowFastError {
  /// This module's own errors among those of the modules below.
  static func conversion(_ error: ConversionError) -> Self { Self(error) }
}
