import ModelFile
import Models
import Safetensors

/// What will become of each tensor of a checkpoint: what `--dry-run` shows. A plan can be made of a checkpoint that cannot be converted;
/// `check` says why not.
public struct ConversionPlan: Sendable {
  /// A tensor that will be in the model file.
  public struct Stored: Sendable {
    package var requirement: TensorRequirement
    package var source: CheckpointTensor
    /// Name, shape and encoding in the model file.
    package var descriptor: TensorDescriptor

    /// Whether the checkpoint has it under another name.
    public var isRenamed: Bool { source.name != requirement.name }
    /// Bytes of its planes, unpacked.
    public var byteCount: Int

    /// The same for another encoding.
    func byteCount(as encoding: TensorEncoding) throws(ConversionError) -> Int {
      do throws(ModelFileError) {
        return try TensorDescriptor(name: descriptor.name, shape: descriptor.shape, encoding: encoding).byteCount
      } catch { throw .modelFile(error) }
    }
  }

  /// A tensor that is left out on purpose.
  public struct Unused: Sendable {
    /// As in the checkpoint.
    public var name: String
    /// Why the model does not need it.
    public var reason: String
  }

  /// A tensor that the model has no place for.
  public struct Unknown: Sendable, Equatable {
    /// As in the checkpoint.
    public var name: String
    /// The most similar name that the model has a place for.
    public var nearest: String?
  }

  /// A tensor whose shape is not the configuration's.
  public struct Misshapen: Sendable {
    /// As in the checkpoint.
    public var name: String
    /// By the configuration.
    public var expected: [Int]
    /// In the checkpoint.
    public var found: [Int]
  }

  /// Sums over the tensors of a part, or of all.
  public struct Part: Sendable, Equatable {
    /// `tower`, `projector`, `attention`, …
    public var name: String
    /// Tensors of the part.
    public var tensorCount = 0
    /// Their weights.
    public var weightCount = 0
    /// Bytes of their planes, unpacked.
    public var byteCount = 0

    /// Codes, scales, minima and padding, divided by the weights there are.
    public var bitsPerWeight: Double { weightCount == 0 ? 0 : Double(byteCount) * 8 / Double(weightCount) }
  }

  /// The checkpoint's configuration.
  public var config: ModelConfig
  /// In the order of the model file.
  public var stored: [Stored]
  /// What is left out.
  public var unused: [Unused]
  /// Names that the model needs and the checkpoint lacks.
  public var missing: [String]
  /// Tensors of another shape than the configuration says.
  public var misshapen: [Misshapen]
  /// Tensors that the model has no place for.
  public var unknown: [Unknown]
  /// Needed tensors of a type that is not read.
  package var unsupported: [(name: String, type: TensorType)]
  /// Length of the model file if nothing were compressed: exactly that without compression, at most that with it.
  public var fileByteCount: Int

  /// Bytes of the checkpoint that are read.
  public var sourceByteCount: Int { stored.reduce(0) { $0 + $1.source.byteCount } }

  /// Names of the parts that have matrices: what a keep rule may name.
  public static let matrixParts: [String] = {
    var parts: [String] = []
    for role in TensorRole.allCases where role.isMatrix && !parts.contains(role.part) { parts.append(role.part) }
    return parts
  }()

  /// In the order in which the model uses them, then the sum.
  public var parts: [Part] {
    var parts: [Part] = []
    var total = Part(name: "all")
    for tensor in stored {
      let name = tensor.requirement.role.part
      if !parts.contains(where: { $0.name == name }) { parts.append(Part(name: name)) }
      for index in parts.indices where parts[index].name == name { parts[index].add(tensor) }
      total.add(tensor)
    }
    return parts + [total]
  }

  /// Throws what keeps the checkpoint from being converted.
  package func check(ignoringUnknown: Bool) throws(ConversionError) {
    if let first = misshapen.first { throw .wrongShape(tensor: first.name, expected: first.expected, found: first.found) }
    // A misspelt name is a missing tensor and an unknown one: the unknown one's message tells more.
    if !unknown.isEmpty, !ignoringUnknown || unknown.contains(where: { $0.nearest.map(missing.contains) ?? false }) {
      throw .unknownTensors(unknown)
    }
    if !missing.isEmpty { throw .missingTensors(missing) }
    if let first = unsupported.first { throw .unsupportedType(tensor: first.name, type: first.type) }
  }
}

extension ConversionPlan.Part {
  fileprivate mutating func add(_ tensor: ConversionPlan.Stored) {
    tensorCount += 1
    weightCount += tensor.descriptor.elementCount
    byteCount += tensor.byteCount
  }
}
