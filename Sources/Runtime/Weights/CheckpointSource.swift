import Compute
import ModelFile
import Models
import Parallel
import Safetensors
import Support
import Tensors

/// A checkpoint's tensors as they are: matrices used straight from the mapped files, small tensors as floats.
package final class CheckpointSource: WeightSource {
  package let config: ModelConfig
  package let schema: TensorSchema
  package let isQuantized = false
  private let checkpoint: Checkpoint
  /// Canonical names to the checkpoint's tensors.
  private let tensors: [String: CheckpointTensor]
  private let requirements: [String: TensorRequirement]

  package init(_ checkpoint: Checkpoint) throws(SlowFastError) {
    self.checkpoint = checkpoint
    do throws(ArchitectureError) {
      var config = try ModelConfig(checkpoint.configFiles)
      config.frameCount = PreprocessingRecord(config: config, checkpointName: checkpoint.name).frames
      self.config = config
      var tensors = CanonicalNames(checkpoint.tensors).tensors
      // A tied head is the embedding, whatever else the file holds.
      if config.tiesWordEmbeddings { tensors[TensorSchema.headName] = nil }
      self.tensors = tensors
      schema = try TensorSchema(config: config, shapes: TensorShapes(tensors.mapValues(\.shape)))
    } catch { throw SlowFastError(error) }
    requirements = Dictionary(uniqueKeysWithValues: schema.requirements.map { ($0.name, $0) })
    for requirement in schema.requirements { _ = try floatType(of: try tensor(requirement.name)) }
  }

  // The system reads mapped files as they are used.
  package func preload(_ names: [String], pool: ThreadPool, progress: @escaping @Sendable (Int, Int) -> Void) throws(SlowFastError) {}

  package func checkUnchanged() throws(SlowFastError) {
    do throws(CheckpointError) { for shard in checkpoint.shards { try shard.file.checkUnchanged() } } catch { throw SlowFastError(error) }
  }

  package func residentBytes(_ names: [String]) -> Int { names.reduce(0) { $0 + (tensors[$1]?.byteCount ?? 0) } }
  /// Only the rows of the prompt's and the answer's tokens are ever read.
  package var embeddingBytes: Int { 0 }

  package func makeEmbeddingTable() throws(SlowFastError) -> any EmbeddingTable {
    MatrixEmbedding(table: try matrix(TensorSchema.embeddingName))
  }

  package func matrix(_ name: String) throws(SlowFastError) -> WeightMatrix {
    let tensor = try tensor(name)
    let type = try floatType(of: tensor)
    guard let requirement = requirements[name] else { throw .badModel(path: checkpoint.directory, reason: "no tensor \(name.escaped())") }
    let shape = requirement.storedShape
    let mapped = try map(tensor)
    let address = mapped.withUnsafeBytes { $0.baseAddress }
    if requirement.layout == .asStored, let address, Int(bitPattern: address) % type.size == 0 {
      return WeightMatrix(rows: shape[0], columns: shape[1], storage: .float(type, address), owner: mapped.owner)
    }
    return WeightMatrix(try vector(name))
  }

  package func vector(_ name: String) throws(SlowFastError) -> Matrix {
    let tensor = try tensor(name)
    let type = try floatType(of: tensor)
    guard let requirement = requirements[name] else { throw .badModel(path: checkpoint.directory, reason: "no tensor \(name.escaped())") }
    let stored = requirement.storedShape
    let shape = stored.count == 1 ? [1, stored[0]] : stored
    let result = try classified { () throws(ComputeError) in try Matrix(rows: shape[0], columns: shape[1]) }
    try map(tensor).withUnsafeBytes { bytes in
      guard let values = bytes.baseAddress else { return }
      requirement.forEachStoredIndex { target, source in result.pointer[target] = type.value(values, source) }
    }
    return result
  }

  private func tensor(_ name: String) throws(SlowFastError) -> CheckpointTensor {
    guard let tensor = tensors[name] else { throw SlowFastError(ArchitectureError.missingTensors([name])) }
    return tensor
  }

  private func map(_ tensor: CheckpointTensor) throws(SlowFastError) -> MappedTensor {
    do throws(CheckpointError) { return try checkpoint.mapped(tensor) } catch { throw SlowFastError(error) }
  }

  private func floatType(of tensor: CheckpointTensor) throws(SlowFastError) -> ScalarType {
    if let type = tensor.type.scalar { return type }
    let file = checkpoint.shards[tensor.shard].file.path
    throw SlowFastError(CheckpointError.wrongType(file: file, tensor: tensor.name, type: tensor.type, expected: "F32, F16 or BF16"))
  }
}

extension Checkpoint {
  /// A model's checkpoint. A vision transformer may have a directory of its own: the one that the configuration names, inside the
  /// checkpoint, or `tower`. What it says of the tower counts; its tensors only where the checkpoint has none of a tower.
  package init(model directory: String, tower: String?) throws(CheckpointError) {
    try self.init(directory: directory)
    guard let place = tower ?? towerDirectory else { return }
    let hasTower = tensors.keys.contains { CanonicalName.isTower(CanonicalName.canonical($0)) }
    try attach(place, hasTower ? nil : { CanonicalName.isTower(CanonicalName.canonical($0)) })
  }

  /// What says which model this is.
  package var configFiles: ConfigFiles {
    ConfigFiles(config: config, tower: attached?.config, preprocessor: attached?.preprocessorConfig ?? preprocessorConfig)
  }

  /// Of all files that say which model this is: changes when one of them does.
  package var configurationIdentity: String {
    let files = configFiles
    return [files.config, files.tower, files.preprocessor].compactMap { $0.map { "\(checksum($0))" } }.joined(separator: " ")
  }

  private var towerDirectory: String? {
    guard let name = ConfigFiles.towerName(config), !name.hasPrefix("/"), !name.split(separator: "/").contains("..") else { return nil }
    let place = directory + "/" + name
    return FileStatus(path: place)?.kind == .directory ? place : nil
  }
}
