import ModelFile
import Models
import Safetensors

/// Makes the plan of a conversion.
struct Planner {
  let checkpoint: Checkpoint
  let options: ConversionOptions

  /// More unknown tensors than this are listed without a nearest name: each search takes a millisecond.
  private static let nearestNameLimit = 200

  /// The plan but for the file's length.
  func plan() throws(ConversionError) -> ConversionPlan {
    let names = CanonicalNames(checkpoint.tensors)
    if let adapter = names.adapter { throw .adapterNotMerged(tensor: adapter) }
    if let collision = names.collisions.first {
      throw .sameTensorTwice(name: collision.name, first: collision.taken, second: collision.left)
    }
    let config = try Self.config(checkpoint)
    var tensors = names.tensors
    var unused: [ConversionPlan.Unused] = []
    if config.tiesWordEmbeddings, let head = tensors[TensorSchema.headName], let embedding = tensors[TensorSchema.embeddingName] {
      guard try isEqual(head, embedding) else { throw .headDiffersFromEmbedding(head: head.name, embedding: embedding.name) }
      tensors[TensorSchema.headName] = nil
      unused.append(.init(name: head.name, reason: "the embedding again, which config.json ties it to"))
    }
    let schema: TensorSchema
    do throws(ArchitectureError) {
      schema = try TensorSchema(needed: config, shapes: TensorShapes(tensors.mapValues(\.shape)))
    } catch { throw .architecture(error) }

    var plan = ConversionPlan(
      config: config, stored: [], unused: unused, missing: [], misshapen: [], unknown: [], unsupported: [],
      fileByteCount: 0)
    for requirement in schema.requirements { try add(requirement, tensors[requirement.name], to: &plan) }
    addRest(tensors, known: schema.requirements.map(\.name), to: &plan)
    try checkRules(plan)
    return plan
  }

  /// Adds the file's length; `sections`: names and lengths of its other contents.
  func measure(_ plan: inout ConversionPlan, sections: [(name: String, byteCount: Int)]) throws(ConversionError) {
    do throws(ModelFileError) {
      plan.fileByteCount = try ModelFileWriter.rawFileByteCount(of: plan.stored.map(\.descriptor), sections: sections)
    } catch { throw .modelFile(error) }
  }

  static func config(_ checkpoint: Checkpoint) throws(ConversionError) -> ModelConfig {
    do throws(ArchitectureError) { return try ModelConfig(checkpoint.configFiles) } catch { throw .architecture(error) }
  }

  /// A tensor that the model needs.
  private func add(
    _ requirement: TensorRequirement, _ tensor: CheckpointTensor?, to plan: inout ConversionPlan
  ) throws(ConversionError) {
    guard let tensor else { return plan.missing.append(requirement.name) }
    guard tensor.shape == requirement.shape else {
      return plan.misshapen.append(.init(name: tensor.name, expected: requirement.shape, found: tensor.shape))
    }
    guard tensor.type.scalar != nil else { return plan.unsupported.append((tensor.name, tensor.type)) }
    let descriptor = TensorDescriptor(
      name: requirement.name, shape: requirement.storedShape,
      encoding: StorageDefaults.encoding(requirement, type: tensor.type, options: options))
    let byteCount: Int
    do throws(ModelFileError) { byteCount = try descriptor.byteCount } catch { throw .modelFile(error) }
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
  private func checkRules(_ plan: ConversionPlan) throws(ConversionError) {
    for rule in options.keep {
      let fits = plan.stored.contains {
        $0.requirement.role.isMatrix && rule.matches(name: $0.requirement.name, part: $0.requirement.role.part)
      }
      // Part names are right in any model, even one without that part.
      guard fits || ConversionPlan.matrixParts.contains(rule.pattern) else { throw .keepRuleMatchesNothing(pattern: rule.pattern) }
    }
  }

  /// Whether two tensors have the same type, shape and bytes.
  private func isEqual(_ first: CheckpointTensor, _ second: CheckpointTensor) throws(ConversionError) -> Bool {
    guard first.type == second.type, first.shape == second.shape else { return false }
    let step = 4 << 20
    var buffers = [[UInt8](repeating: 0, count: step), [UInt8](repeating: 0, count: step)]
    do throws(CheckpointError) {
      for start in stride(from: 0, to: first.byteCount, by: step) {
        let count = min(step, first.byteCount - start)
        for (index, tensor) in [first, second].enumerated() {
          try buffers[index].read(count) { buffer throws(CheckpointError) in try checkpoint.read(tensor, at: start, into: buffer) }
        }
        if buffers[0][..<count] != buffers[1][..<count] { return false }
      }
    } catch { throw .checkpoint(error) }
    return true
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
