import ModelFile
import Models
import Safetensors
import Support

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
    func byteCount(as encoding: TensorEncoding) throws(SlowFastError) -> Int {
      try classified { () throws(ModelFileError) in
        try TensorDescriptor(name: descriptor.name, shape: descriptor.shape, encoding: encoding).byteCount
      }
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

/// Makes the plan of a conversion.
struct Planner {
  let checkpoint: Checkpoint
  let config: ModelConfig
  let options: ConversionOptions

  /// More unknown tensors than this are listed without a nearest name: each search takes a millisecond.
  private static let nearestNameLimit = 200

  /// The plan but for the file's length.
  func plan() throws(SlowFastError) -> ConversionPlan {
    let names = CanonicalNames(checkpoint.tensors)
    if let adapter = names.adapter { throw .conversion(.adapterNotMerged(tensor: adapter)) }
    if let collision = names.collisions.first {
      throw .conversion(.sameTensorTwice(name: collision.name, first: collision.taken, second: collision.left))
    }
    var tensors = names.tensors
    var unused: [ConversionPlan.Unused] = []
    if config.tiesWordEmbeddings, let head = tensors[TensorSchema.headName], let embedding = tensors[TensorSchema.embeddingName] {
      guard try isEqual(head, embedding) else {
        throw .conversion(.headDiffersFromEmbedding(head: head.name, embedding: embedding.name))
      }
      tensors[TensorSchema.headName] = nil
      unused.append(.init(name: head.name, reason: "the embedding again, which config.json ties it to"))
    }
    let schema = try classified { () throws(ArchitectureError) in
      try TensorSchema(needed: config, shapes: TensorShapes(tensors.mapValues(\.shape)))
    }

    var plan = ConversionPlan(
      config: config, stored: [], unused: unused, missing: [], misshapen: [], unknown: [], unsupported: [],
      fileByteCount: 0)
    for requirement in schema.requirements { try add(requirement, tensors[requirement.name], to: &plan) }
    addRest(tensors, known: schema.requirements.map(\.name), to: &plan)
    try checkRules(plan)
    return plan
  }

  /// Adds the file's length; `sections`: names and lengths of its other contents.
  func measure(_ plan: inout ConversionPlan, sections: [(name: String, byteCount: Int)]) throws(SlowFastError) {
    plan.fileByteCount = try classified { () throws(ModelFileError) in
      try ModelFileWriter.rawFileByteCount(of: plan.stored.map(\.descriptor), sections: sections)
    }
  }

  /// A tensor that the model needs.
  private func add(
    _ requirement: TensorRequirement, _ tensor: CheckpointTensor?, to plan: inout ConversionPlan
  ) throws(SlowFastError) {
    guard let tensor else { return plan.missing.append(requirement.name) }
    guard tensor.shape == requirement.shape else {
      return plan.misshapen.append(.init(name: tensor.name, expected: requirement.shape, found: tensor.shape))
    }
    guard tensor.type.scalar != nil else { return plan.unsupported.append((tensor.name, tensor.type)) }
    let descriptor = TensorDescriptor(
      name: requirement.name, shape: requirement.storedShape,
      encoding: StorageDefaults.encoding(requirement, type: tensor.type, options: options))
    let byteCount = try classified { () throws(ModelFileError) in try descriptor.byteCount }
    plan.stored.append(.init(requirement: requirement, source: tensor, descriptor: descriptor, byteCount: byteCount))
  }

  /// What the model does not need: known to be unused, or unknown.
  private func addRest(_ tensors: [String: CheckpointTensor], known: [String], to plan: inout ConversionPlan) {
    let needed = Set(known)
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) where !needed.contains(name) {
      if let reason = CanonicalName.reasonUnused(name) {
        plan.unused.append(.init(name: tensor.name, reason: reason))
      } else {
        let isSearched = plan.unknown.count < Self.nearestNameLimit
        plan.unknown.append(.init(name: tensor.name, nearest: isSearched ? NearestName.find(name, among: known) : nil))
      }
    }
  }

  /// A rule that fits nothing is misspelt.
  private func checkRules(_ plan: ConversionPlan) throws(SlowFastError) {
    for rule in options.keep {
      let fits = plan.stored.contains {
        $0.requirement.role.isMatrix && rule.matches(name: $0.requirement.name, part: $0.requirement.role.part)
      }
      // Part names are right in any model, even one without that part.
      guard fits || ConversionPlan.matrixParts.contains(rule.pattern) else {
        throw .conversion(.keepRuleMatchesNothing(pattern: rule.pattern))
      }
    }
  }

  /// Whether two tensors have the same type, shape and bytes.
  private func isEqual(_ first: CheckpointTensor, _ second: CheckpointTensor) throws(SlowFastError) -> Bool {
    guard first.type == second.type, first.shape == second.shape else { return false }
    let step = 4 << 20
    var buffers = [[UInt8](repeating: 0, count: step), [UInt8](repeating: 0, count: step)]
    return try classified { () throws(CheckpointError) in
      for start in stride(from: 0, to: first.byteCount, by: step) {
        let count = min(step, first.byteCount - start)
        for (index, tensor) in [first, second].enumerated() {
          try buffers[index].read(count) { buffer throws(CheckpointError) in try checkpoint.read(tensor, at: start, into: buffer) }
        }
        if buffers[0][..<count] != buffers[1][..<count] { return false }
      }
      return true
    }
  }
}

extension [UInt8] {
  /// Lets `body` fill the first `count` bytes.
  fileprivate mutating func read(
    _ count: Int, _ body: (UnsafeMutableRawBufferPointer) throws(CheckpointError) -> Void
  ) throws(CheckpointError) {
    var failure: CheckpointError?
    withUnsafeMutableBytes { buffer in
      do throws(CheckpointError) { try body(UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])) } catch { failure = error }
    }
    if let failure { throw failure }
  }
}

/// The known name that takes the fewest insertions, removals and changes to reach.
enum NearestName {
  /// nil when none is near: more than a third of the name would have to change.
  static func find(_ name: String, among known: [String]) -> String? {
    let target = Array(name.utf8.prefix(256))
    var best: (name: String, distance: Int)?
    let limit = max(3, target.count / 3)
    for candidate in known {
      let bound = min(limit, (best?.distance ?? limit + 1) - 1)
      if let distance = distance(target, Array(candidate.utf8), limit: bound) { best = (candidate, distance) }
    }
    return best?.name
  }

  /// Levenshtein's distance, or nil when it is above `limit`.
  static func distance(_ a: [UInt8], _ b: [UInt8], limit: Int) -> Int? {
    guard abs(a.count - b.count) <= limit else { return nil }
    var previous = Array(0...b.count)
    var current = previous
    for (i, byte) in a.enumerated() {
      current[0] = i + 1
      var least = i + 1
      for (j, other) in b.enumerated() {
        current[j + 1] = min(previous[j] + (byte == other ? 0 : 1), previous[j + 1] + 1, current[j] + 1)
        least = min(least, current[j + 1])
      }
      // Distances never shrink from one row to the next.
      if least > limit { return nil }
      swap(&previous, &current)
    }
    return previous[b.count] <= limit ? previous[b.count] : nil
  }
}
