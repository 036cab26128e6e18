import Compute
import Models
import Parallel
import Support

/// The weights of one model with some tensors taken from another: what a part costs alone.
final class MixedSource: WeightSource {
  private let base: any WeightSource
  private let other: any WeightSource
  /// Tensors of `other`.
  private let names: Set<String>

  init(_ base: any WeightSource, _ other: any WeightSource, names: Set<String>) {
    self.base = base
    self.other = other
    self.names = names
  }

  var config: ModelConfig { base.config }
  var schema: TensorSchema { base.schema }
  var isQuantized: Bool { other.isQuantized }
  private func source(of name: String) -> any WeightSource { names.contains(name) ? other : base }

  func checkUnchanged() throws(SlowFastError) {
    try base.checkUnchanged()
    try other.checkUnchanged()
  }

  func residentBytes(_ names: [String]) -> Int {
    base.residentBytes(names.filter { !self.names.contains($0) }) + other.residentBytes(names.filter(self.names.contains))
  }
  var embeddingBytes: Int { source(of: TensorSchema.embeddingName).embeddingBytes }
  func makeEmbeddingTable() throws(SlowFastError) -> any EmbeddingTable { try source(of: TensorSchema.embeddingName).makeEmbeddingTable() }

  func preload(_ names: [String], pool: ThreadPool, progress: @escaping @Sendable (Int, Int) -> Void) throws(SlowFastError) {
    try base.preload(names.filter { !self.names.contains($0) }, pool: pool, progress: progress)
    try other.preload(names.filter(self.names.contains), pool: pool, progress: progress)
  }
  func matrix(_ name: String) throws(SlowFastError) -> WeightMatrix { try source(of: name).matrix(name) }
  func vector(_ name: String) throws(SlowFastError) -> Matrix { try source(of: name).vector(name) }
}

/// A model's weights with their inputs taken otherwise than they would be: what each half of the int8 scheme costs.
final class InputSource: WeightSource {
  enum Change {
    /// Every weight takes floats.
    case exact
    /// Weights that could be quantized take their inputs rounded to int8.
    case rounded
  }

  private let base: any WeightSource
  private let change: Change
  private let quantizable: Set<String>

  init(_ base: any WeightSource, _ change: Change) {
    self.base = base
    self.change = change
    quantizable = Set(base.schema.requirements.filter(\.role.isMatrix).map(\.name))
  }

  var config: ModelConfig { base.config }
  var schema: TensorSchema { base.schema }
  var isQuantized: Bool { base.isQuantized }
  func checkUnchanged() throws(SlowFastError) { try base.checkUnchanged() }
  func residentBytes(_ names: [String]) -> Int { base.residentBytes(names) }
  var embeddingBytes: Int { base.embeddingBytes }
  func makeEmbeddingTable() throws(SlowFastError) -> any EmbeddingTable { try base.makeEmbeddingTable() }
  func preload(_ names: [String], pool: ThreadPool, progress: @escaping @Sendable (Int, Int) -> Void) throws(SlowFastError) {
    try base.preload(names, pool: pool, progress: progress)
  }
  func vector(_ name: String) throws(SlowFastError) -> Matrix { try base.vector(name) }

  func matrix(_ name: String) throws(SlowFastError) -> WeightMatrix {
    var matrix = try base.matrix(name)
    switch change {
    case .exact: matrix.input = .exact
    case .rounded: if quantizable.contains(name) { matrix.input = .rounded(group: Self.group) }
    }
    return matrix
  }

  /// Inputs that share a scale, as beside most weights.
  private static let group = 128
}
