/// A plan as a program or a person reads it.
public struct ConversionReport: Codable, Sendable {
  /// A tensor that is stored.
  public struct Tensor: Codable, Sendable {
    /// As in the model file.
    public var name: String
    /// Its name in the checkpoint, where that is another.
    public var renamedFrom: String?
    /// In the model file.
    public var shape: [Int]
    /// `tower`, `projector`, `attention`, …
    public var part: String
    /// `int4/128`, `float32`, …
    public var encoding: String
    /// Before compression.
    public var bytes: Int
  }

  /// A tensor that is left out on purpose.
  public struct Unused: Codable, Sendable {
    /// As in the checkpoint.
    public var name: String
    /// Why the model does not need it.
    public var reason: String
  }

  /// A tensor that the model has no place for.
  public struct Unknown: Codable, Sendable {
    /// As in the checkpoint.
    public var name: String
    /// A name that was expected and is spelt alike.
    public var nearest: String?
  }

  /// A tensor whose shape is not the configuration's.
  public struct Misshapen: Codable, Sendable {
    /// As in the checkpoint.
    public var name: String
    /// By the configuration.
    public var expected: [Int]
    /// In the checkpoint.
    public var found: [Int]
  }

  /// A tensor of a type that cannot be converted.
  public struct Unsupported: Codable, Sendable {
    /// As in the checkpoint.
    public var name: String
    /// As the checkpoint spells it.
    public var type: String
  }

  /// Sums over the tensors of a part.
  public struct Part: Codable, Sendable {
    /// `tower`, `projector`, `attention`, …
    public var name: String
    /// Tensors of the part.
    public var tensors: Int
    /// Their weights.
    public var weights: Int
    /// Their bytes in memory.
    public var bytes: Int
    /// In memory, scales counted.
    public var bitsPerWeight: Double
  }

  /// What the model file gets, in its order.
  public var stored: [Tensor]
  /// What is left out.
  public var unused: [Unused]
  /// Names that the model needs and the checkpoint lacks.
  public var missing: [String]
  /// Tensors of another shape than the configuration says.
  public var misshapen: [Misshapen]
  /// Tensors that the model has no place for.
  public var unknown: [Unknown]
  /// Tensors of a type that cannot be converted.
  public var unsupported: [Unsupported]
  /// The last is the sum.
  public var parts: [Part]
  /// Bytes of the checkpoint that are read.
  public var checkpointBytes: Int
  /// Exactly the file's length where nothing is compressed, its greatest length otherwise.
  public var fileBytes: Int
  /// Whether anything is compressed; `fileBytes` is the most then.
  public var isCompressed: Bool
  /// Why the checkpoint cannot be converted; nil where it can.
  public var problem: String?
}

extension ConversionPlan {
  /// The plan as a report, for a conversion with these options.
  public func report(_ options: ConversionOptions) -> ConversionReport {
    var problem: String?
    do throws(ConversionError) { try check(ignoringUnknown: options.ignoresUnknown) } catch { problem = error.description }
    return ConversionReport(
      stored: stored.map {
        .init(
          name: $0.descriptor.name, renamedFrom: $0.isRenamed ? $0.source.name : nil, shape: $0.descriptor.shape,
          part: $0.requirement.role.part, encoding: $0.descriptor.encoding.description, bytes: $0.byteCount)
      },
      unused: unused.map { .init(name: $0.name, reason: $0.reason) },
      missing: missing,
      misshapen: misshapen.map { .init(name: $0.name, expected: $0.expected, found: $0.found) },
      unknown: unknown.map { .init(name: $0.name, nearest: $0.nearest) },
      unsupported: unsupported.map { .init(name: $0.name, type: $0.type.rawValue) },
      parts: parts.map {
        .init(name: $0.name, tensors: $0.tensorCount, weights: $0.weightCount, bytes: $0.byteCount, bitsPerWeight: $0.bitsPerWeight)
      },
      checkpointBytes: sourceByteCount, fileBytes: fileByteCount, isCompressed: options.compression != .none, problem: problem)
  }
}

extension ConversionReport {
  /// A line for each tensor, then for each part, then the sizes.
  public var text: String {
    var lines: [String] = []
    let width = min(72, stored.map(\.name.count).max() ?? 0)
    for tensor in stored {
      let shape = tensor.shape.map(String.init).joined(separator: "×")
      let renamed = tensor.renamedFrom.map { "  renamed from \($0.escaped())" } ?? ""
      lines.append(
        "\(tensor.name.escaped().padded(to: width))  \(shape.padded(to: 12))  \(tensor.encoding.padded(to: 20))  \(tensor.bytes)\(renamed)")
    }
    lines += unused.map { "unused   \($0.name.escaped()): \($0.reason)" }
    lines += unknown.map { "unknown  \($0.name.escaped())" + ($0.nearest.map { "; nearest known name: \($0)" } ?? "") }
    lines += missing.map { "missing  \($0)" }
    lines += misshapen.map { "shape    \($0.name.escaped()): \($0.found), expected \($0.expected)" }
    lines += unsupported.map { "type     \($0.name.escaped()): \($0.type), expected BF16, F16 or F32" }
    lines.append("")
    for part in parts {
      func column(_ value: Int, _ width: Int) -> String { "\(value)".leftPadded(to: width) }
      lines.append(
        "\(part.name.padded(to: 12))\(column(part.tensors, 6)) tensors  \(column(part.weights, 12)) weights  "
          + "\(column(part.bytes, 12)) bytes  \(part.bitsPerWeight.fixed(2).leftPadded(to: 6)) bits per weight")
    }
    lines.append("")
    lines.append("the checkpoint's weights: \(checkpointBytes) bytes")
    lines.append("the model file: \(fileBytes) bytes\(isCompressed ? " before compression, at most that after it" : "")")
    if let problem { lines.append("cannot be converted: \(problem)") }
    return lines.joined(separator: "\n")
  }
}
