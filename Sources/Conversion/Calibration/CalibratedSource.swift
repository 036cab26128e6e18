import Compute
import ModelFile
import Models
import Parallel
import Support

/// A checkpoint whose tensors give way, one after the other, to what the converter made of them.
final class CalibratedSource: WeightSource {
  let config: ModelConfig
  let schema: TensorSchema
  private let checkpoint: any WeightSource
  /// Tensors that are in the model file by now.
  private let written: @Sendable (String) throws(SlowFastError) -> LoadedTensor?

  init(_ checkpoint: any WeightSource, written: @escaping @Sendable (String) throws(SlowFastError) -> LoadedTensor?) {
    config = checkpoint.config
    schema = checkpoint.schema
    self.checkpoint = checkpoint
    self.written = written
  }

  let isQuantized = true
  func checkUnchanged() throws(SlowFastError) { try checkpoint.checkUnchanged() }
  func residentBytes(_ names: [String]) -> Int { checkpoint.residentBytes(names) }
  var embeddingBytes: Int { checkpoint.embeddingBytes }
  func makeEmbeddingTable() throws(SlowFastError) -> any EmbeddingTable { try checkpoint.makeEmbeddingTable() }
  func preload(_ names: [String], pool: ThreadPool, progress: @escaping @Sendable (Int, Int) -> Void) throws(SlowFastError) {}

  func matrix(_ name: String) throws(SlowFastError) -> WeightMatrix {
    if let weight = try written(name)?.weightMatrix { return weight }
    return try checkpoint.matrix(name)
  }

  func vector(_ name: String) throws(SlowFastError) -> Matrix {
    if let tensor = try written(name), let values = try classified({ () throws(ComputeError) in try tensor.floats() }) { return values }
    return try checkpoint.vector(name)
  }
}
