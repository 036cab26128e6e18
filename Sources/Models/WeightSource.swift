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

/// A linear layer: `weight` `[rows, columns]`, `bias` `[1, rows]` or none.
package struct Linear: Sendable {
  package var weight: WeightMatrix
  package var bias: Matrix?

  package init(_ source: any WeightSource, _ name: String, hasBias: Bool) throws(SlowFastError) {
    weight = try source.matrix(name + ".weight")
    bias = hasBias ? try source.vector(name + ".bias") : nil
  }

  /// This layer as one of the products of an input.
  package func product(_ epilogue: Epilogue = .store, to output: Matrix) -> LinearProduct {
    LinearProduct(weight, bias: bias, epilogue, to: output)
  }
}

/// A LayerNorm: `weight`, `bias` `[1, channels]`.
package struct LayerNorm: Sendable {
  /// Of every LayerNorm in the tower; timm's ConvNeXt-XXLarge as CLIP trained it.
  package static let epsilon: Float = 1e-5
  package var weight: Matrix
  package var bias: Matrix

  package init(_ source: any WeightSource, _ name: String) throws(SlowFastError) {
    weight = try source.vector(name + ".weight")
    bias = try source.vector(name + ".bias")
  }

  package var rows: RowNorm { .layer(weight: weight, bias: bias, epsilon: Self.epsilon) }
}
