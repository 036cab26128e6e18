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

/// Makes the layers of one component of a model. Each layer asks for its tensors once, by name, shape and role, where it is made; the
/// same code writes the list of a component's tensors, loads all of it, or loads a single unit.
///
/// Names are told relative to the scopes that they stand in. Every tensor is handed out in the order of the model file.
package final class LayerBuilder {
  package let component: ModelComponent
  /// What the component's tensors are, as far as it has been made.
  package private(set) var requirements: [TensorRequirement] = []
  /// In the order in which they compute.
  package private(set) var units: [ModelUnit] = []
  /// The loaded unit's matrices by name.
  package private(set) var matrices: [String: WeightMatrix] = [:]

  /// nil: nothing is loaded; layers know their shapes alone.
  private let source: (any WeightSource)?
  /// The only unit whose tensors are loaded; nil: all, and what is in no unit.
  private let wantedUnit: Int?
  private var path = ""
  private var isInUnit = false

  /// For a list of the tensors.
  package init(_ component: ModelComponent) {
    self.component = component
    source = nil
    wantedUnit = nil
  }

  /// For a component that computes; with `unit` only that part of it can.
  package init(_ component: ModelComponent, from source: any WeightSource, unit: Int? = nil) {
    self.component = component
    self.source = source
    wantedUnit = unit
  }

  // MARK: Places

  /// What `body` makes has `name`, with its dot, before its names.
  package func scope<T>(_ name: String, _ body: () throws(SlowFastError) -> T) throws(SlowFastError) -> T {
    let outer = path
    path += name
    defer { path = outer }
    return try body()
  }

  /// What `body` makes is a unit: it computes, and is calibrated, at once.
  package func unit<T>(_ body: () throws(SlowFastError) -> T) throws(SlowFastError) -> T {
    precondition(!isInUnit, "a unit within a unit")
    units.append(ModelUnit(component: component, index: units.count))
    isInUnit = true
    defer { isInUnit = false }
    return try body()
  }

  // MARK: Tensors

  /// `y = W x + b`: `name.weight` `[rows, columns]`, `name.bias` `[rows]`. Layers of one `input` take the same values.
  package func linear(
    _ name: String, _ rows: Int, _ columns: Int, _ role: TensorRole, hasBias: Bool = true, biasRole: TensorRole = .bias,
    input: String? = nil
  ) throws(SlowFastError) -> Linear {
    let weight = try matrix(name + ".weight", [rows, columns], role, .asStored, input: input ?? name)
    return Linear(weight: weight, bias: hasBias ? try vector(name + ".bias", rows, biasRole) : nil)
  }

  /// A convolution of `side`×`side` whose patches do not overlap, as a linear layer of patches: `name.weight`
  /// `[outputs, inputs, side, side]`.
  package func patches(
    _ name: String, _ outputs: Int, inputs: Int, side: Int, _ role: TensorRole, hasBias: Bool = true
  ) throws(SlowFastError) -> Linear {
    let weight = try matrix(name + ".weight", [outputs, inputs, side, side], role, .patchMatrix, input: name)
    return Linear(weight: weight, bias: hasBias ? try vector(name + ".bias", outputs, .bias) : nil)
  }

  /// A depthwise convolution of `side`×`side`: `name.weight` `[channels, 1, side, side]` → `[side², channels]`, `name.bias`
  /// `[1, channels]`.
  package func depthwise(_ name: String, _ channels: Int, side: Int) throws(SlowFastError) -> (weights: Matrix, bias: Matrix) {
    let weights = try values(name + ".weight", [channels, 1, side, side], .towerDepthwise, .depthwise, columns: channels)
    return (weights, try vector(name + ".bias", channels, .bias))
  }

  package func layerNorm(_ name: String, _ width: Int, epsilon: Float) throws(SlowFastError) -> LayerNorm {
    LayerNorm(
      weight: try vector(name + ".weight", width, .norm), bias: try vector(name + ".bias", width, .norm), epsilon: epsilon)
  }

  /// `[1, count]`.
  package func vector(_ name: String, _ count: Int, _ role: TensorRole) throws(SlowFastError) -> Matrix {
    try values(name, [count], role, .asStored, columns: count)
  }

  /// What is added to each position, `[rows, columns]`.
  package func positions(_ name: String, _ rows: Int, _ columns: Int) throws(SlowFastError) -> Matrix {
    try values(name, [rows, columns], .positions, .asStored, columns: columns)
  }

  /// A table of input embeddings, `[rows, columns]`, whose rows are fetched one by one: it is listed, not loaded.
  package func embedding(_ name: String, _ rows: Int, _ columns: Int) { declare(name, [rows, columns], .embedding, .asStored) }

  /// A matrix that is listed already, as something else.
  package func shared(_ name: String, _ rows: Int, _ columns: Int) throws(SlowFastError) -> WeightMatrix {
    guard let source, isWanted else { return .absent(rows: rows, columns: columns) }
    return try source.matrix(path + name)
  }

  // MARK: Folds

  /// Inputs of these linear layers may be divided, channel by channel, and their weights multiplied, if the `vectors` that they come out of
  /// are divided too, or the rows of the linear layer `rows`: that changes nothing.
  package func fold(inputsOf readers: [String], into vectors: [String] = [], rowsOf rows: String? = nil) {
    units[units.count - 1].folds.append(
      ModelUnit.Fold(
        readers: readers.map { path + $0 + ".weight" }, vectors: vectors.map { path + $0 }, rows: rows.map { path + $0 + ".weight" }))
  }

  // MARK: Own

  private var isWanted: Bool { wantedUnit == nil || isInUnit && units.count - 1 == wantedUnit }

  private func declare(_ name: String, _ shape: [Int], _ role: TensorRole, _ layout: TensorLayout) {
    requirements.append(TensorRequirement(name: path + name, shape: shape, role: role, layout: layout, component: component))
    if isInUnit { units[units.count - 1].tensors.append(path + name) }
  }

  private func matrix(
    _ name: String, _ shape: [Int], _ role: TensorRole, _ layout: TensorLayout, input: String
  ) throws(SlowFastError) -> WeightMatrix {
    declare(name, shape, role, layout)
    let name = path + name
    if isInUnit, role.isMatrix { units[units.count - 1].add(name, toInput: path + input) }
    guard let source, isWanted else { return .absent(rows: shape[0], columns: shape.dropFirst().reduce(1, *)) }
    let weight = try source.matrix(name)
    if wantedUnit != nil { matrices[name] = weight }
    return weight
  }

  private func values(
    _ name: String, _ shape: [Int], _ role: TensorRole, _ layout: TensorLayout, columns: Int
  ) throws(SlowFastError) -> Matrix {
    declare(name, shape, role, layout)
    guard let source, isWanted else { return .absent(columns: columns) }
    return try source.vector(path + name)
  }
}

/// A part of a model that computes at once and is calibrated at once: its inputs are seen before any of it is quantized.
package struct ModelUnit: Sendable, Equatable {
  package let component: ModelComponent
  /// Among the component's.
  package let index: Int
  package fileprivate(set) var tensors: [String] = []
  /// What its matrices take, by the names of those that take the same.
  package fileprivate(set) var inputs: [Input] = []
  package fileprivate(set) var folds: [Fold] = []

  package struct Input: Sendable, Equatable {
    fileprivate let name: String
    package fileprivate(set) var matrices: [String]
  }

  /// Factors may go from the inputs of `readers` into what these come out of.
  package struct Fold: Sendable, Equatable {
    /// Matrices.
    package let readers: [String]
    /// Divided value by value.
    package let vectors: [String]
    /// A matrix that is divided row by row.
    package let rows: String?
  }

  fileprivate mutating func add(_ matrix: String, toInput name: String) {
    if let place = inputs.firstIndex(where: { $0.name == name }) {
      inputs[place].matrices.append(matrix)
    } else {
      inputs.append(Input(name: name, matrices: [matrix]))
    }
  }
}

/// A linear layer: `weight` `[rows, columns]`, `bias` `[1, rows]` or none.
package struct Linear: Sendable {
  package var weight: WeightMatrix
  package var bias: Matrix?

  package init(weight: WeightMatrix, bias: Matrix?) {
    self.weight = weight
    self.bias = bias
  }

  /// This layer as one of the products of an input.
  package func product(_ epilogue: Epilogue = .store, to output: Matrix) -> LinearProduct {
    LinearProduct(weight, bias: bias, epilogue, to: output)
  }

  /// Also the multiply-adds for one input.
  package var weightCount: Int { weight.rows * weight.columns }
}

/// A LayerNorm: `weight`, `bias` `[1, channels]`.
package struct LayerNorm: Sendable {
  package var weight: Matrix
  package var bias: Matrix
  package var epsilon: Float

  package var rows: RowNorm { .layer(weight: weight, bias: bias, epsilon: epsilon) }
}
