import Compute
import Parallel
import Support

/// Where a model's tensors come from: a model file or a checkpoint. Names are canonical; shapes have been checked against the schema.
package protocol WeightSource: AnyObject, Sendable {
  var config: ModelConfig { get }
  var schema: TensorSchema { get }

  /// Some matrix has int4 or int8 codes.
  var isQuantized: Bool { get }
  /// Bytes that these tensors take in memory.
  func residentBytes(_ names: [String]) -> Int
  /// Bytes of the embedding table that are in memory while single rows of it are read.
  var embeddingBytes: Int { get }
  /// Rows of `model.embed_tokens.weight`, as they are needed.
  func makeEmbeddingTable() throws(SlowFastError) -> any EmbeddingTable

  /// Brings tensors into memory together, which is faster than one by one; `progress` gets bytes done and bytes in all.
  func preload(_ names: [String], pool: ThreadPool, progress: @escaping @Sendable (Int, Int) -> Void) throws(SlowFastError)
  /// Throws where the files that weights are read from, or mapped, are no longer what they were when they were opened.
  func checkUnchanged() throws(SlowFastError)
  /// A linear layer's weight in its stored form.
  func matrix(_ name: String) throws(SlowFastError) -> WeightMatrix
  /// A small tensor as floats: `[1, n]`, or `[rows, columns]` of its stored shape.
  func vector(_ name: String) throws(SlowFastError) -> Matrix
}

/// Rows of the embedding table, fetched as they are needed.
package protocol EmbeddingTable: AnyObject {
  /// `output` `[ids.count, hidden]`; ids are below the vocabulary's size.
  func gather(_ ids: [Int32], to output: Matrix, on engine: Engine) throws(SlowFastError)
}
