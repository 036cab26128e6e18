import Compute
import Support
import Tensors

/// A language model that may read slow tokens. A family of decoders is a file with a type of this kind, and a line in `ModelRegistry`.
package protocol Decoder: Sendable {
  /// `model_type` of the configs that mean this decoder.
  static var modelTypes: [String] { get }

  /// All tensors are asked of `builder`, in the order of the model file: the embedding, each layer as a unit, the head as the last unit.
  /// `ownsHead`: the head is a tensor of its own, not the embedding.
  init(_ config: ModelConfig, ownsHead: Bool, _ builder: LayerBuilder) throws(SlowFastError)

  var config: ModelConfig { get }
  var ownsHead: Bool { get }
  var layers: [any DecoderLayer] { get }
  var finalNorm: RowNorm { get }
  /// `[vocabulary, hidden]`.
  var head: WeightMatrix { get }
  var scratch: ScratchMeasures { get }
}

/// One layer of a decoder.
package protocol DecoderLayer: Sendable {
  /// The matrices that a generated token is multiplied with, in order.
  var generationWeights: [WeightMatrix] { get }
  var readsSlowTokens: Bool { get }

  /// Multiply-adds of one token that sees `context` tokens, itself included, and reads `slowTokens`.
  func products(context: Int, slowTokens: Int) -> Int
  /// Multiply-adds that make keys and values of `slowTokens`.
  func slowProducts(_ slowTokens: Int) -> Int

  /// Keys and values of the clips' slow tokens, each `[count, hidden]`, in this layer; nil where it does not read them.
  func makeSlowCache(_ slowTokens: [StoredRows], type: KeyValueType, on engine: Engine) throws(ComputeError) -> KeyValueCache?

  /// Runs `x` `[tokens, hidden]`, the rows of all `parts` one after the other, in place; keys and values join each part's own.
  func run(_ x: Matrix, _ parts: [LayerPart], in workspace: DecoderWorkspace, on engine: Engine) throws(ComputeError)
}

/// The rows of one conversation in a pass, as a layer sees them: they are attended to apart from the others', and multiplied with them.
/// What comes of them is bit for bit the same as without the others.
package struct LayerPart {
  package var rows: Range<Int>
  /// The first row's.
  package var position: Int
  package var own: KeyValueCache
  package var slow: KeyValueCache?
  /// Rows of `x`, all of this part, that read the slow tokens.
  package var crossRanges: [Range<Int>]

  package init(rows: Range<Int>, position: Int, own: KeyValueCache, slow: KeyValueCache?, crossRanges: [Range<Int>]) {
    (self.rows, self.position, self.own, self.slow, self.crossRanges) = (rows, position, own, slow, crossRanges)
  }
}

/// The rows of one conversation in a pass through all layers.
package struct DecoderPart {
  package var rows: Range<Int>
  package var caches: DecoderCaches
  /// Rows of the pass, all of this part, that read the slow tokens.
  package var crossRanges: [Range<Int>]
  /// Rows of the same conversation that come before in the same pass, as parts of their own.
  package var offset: Int

  package init(rows: Range<Int>, caches: DecoderCaches, crossRanges: [Range<Int>], offset: Int = 0) {
    (self.rows, self.caches, self.crossRanges, self.offset) = (rows, caches, crossRanges, offset)
  }
}

extension [LayerPart] {
  /// In which they are attended to: what is of one conversation in its order.
  package var inOrder: [LayerPart] { count == 1 ? self : sorted { $0.position < $1.position } }

  /// Rows of parts that have no other: they come first.
  package var alone: Int {
    let count = prefix { $0.rows.count == 1 }.count
    assert(dropFirst(count).allSatisfy { $0.rows.count != 1 })
    return count
  }
}

extension Decoder {
  /// The decoder with weights; with a unit those of that unit alone.
  package func loaded(_ builder: LayerBuilder) throws(SlowFastError) -> Self { try Self(config, ownsHead: ownsHead, builder) }

  /// Runs `x` `[tokens, hidden]` (at most the workspace's tokens), the rows of `parts` one after the other, those of one row first, through
  /// all layers in place; it becomes the last layer's output. `afterLayer` sees `x` after each layer and says whether to go on. False when
  /// it said no: the caches of some layers then hold more than the others'.
  package func run(
    _ x: Matrix, _ parts: [DecoderPart], in workspace: DecoderWorkspace, on engine: Engine, afterLayer: (Int, Matrix) -> Bool
  ) throws(ComputeError) -> Bool {
    for (index, layer) in layers.enumerated() {
      let here = parts.map { part in
        LayerPart(
          rows: part.rows, position: part.caches.own[index].count + part.offset, own: part.caches.own[index],
          slow: part.caches.slow?.layers[index],
          crossRanges: part.crossRanges)
      }
      try layer.run(x, here, in: workspace, on: engine)
      guard afterLayer(index, x) else { return false }
    }
    return true
  }

  /// Final norm and head: `x` `[tokens, hidden]` → `logits` `[tokens, vocabulary]`, each row as if it were the only one.
  package func readOut(_ x: Matrix, logits: Matrix, on engine: Engine) throws(ComputeError) {
    try engine.linear(x, norm: finalNorm, alone: x.rows, [LinearProduct(head, to: logits)])
  }

  /// The matrices that a generated token is multiplied with, in order.
  package var generationWeights: [WeightMatrix] { layers.flatMap(\.generationWeights) + [head] }
}

// MARK: Costs

extension Decoder {
  /// Multiply-adds of all layers for one token that sees `context` entries, itself included, and reads `slowTokens`.
  package func products(context: Int, slowTokens: Int) -> Int {
    layers.reduce(0) { $0 + $1.products(context: context, slowTokens: slowTokens) }
  }

  /// Those that make the slow tokens' keys and values.
  package func slowProducts(_ slowTokens: Int) -> Int { layers.reduce(0) { $0 + $1.slowProducts(slowTokens) } }

  package var headProducts: Int { head.rows * head.columns }

  /// A prompt of which `crossTokens` read the slow tokens.
  package func prefillProducts(tokens: Int, crossTokens: Int, slowTokens: Int) -> Int {
    let plain = products(context: 0, slowTokens: 0)
    // The token at each place sees those up to itself: as if all saw half of them.
    let seeing = (products(context: tokens + 1, slowTokens: 0) - plain) * tokens / 2
    return (tokens - crossTokens) * plain + crossTokens * products(context: 0, slowTokens: slowTokens) + seeing + headProducts
  }
}

// MARK: Memory

/// Memory for up to `tokens` tokens on their way through one layer.
package struct DecoderWorkspace: Sendable {
  package let query: Matrix  // [tokens, heads · headDimension]
  package let key: Matrix  // [tokens, keyValueHeads · headDimension]
  package let value: Matrix
  package let attended: Matrix  // [tokens, heads · headDimension]
  package let cross: Matrix  // [tokens, heads · headDimension]
  package let gates: Matrix  // [tokens, 1]
  package var tokens: Int { query.rows }

  package init(config: ModelConfig, tokens: Int) throws(ComputeError) {
    let queries = config.headCount * config.headDimension
    let keys = config.keyValueHeadCount * config.headDimension
    query = try Matrix(rows: tokens, columns: queries)
    key = try Matrix(rows: tokens, columns: keys)
    value = try Matrix(rows: tokens, columns: keys)
    attended = try Matrix(rows: tokens, columns: queries)
    cross = try Matrix(rows: config.hybrid == nil ? 0 : tokens, columns: queries)
    gates = try Matrix(rows: tokens, columns: 1)
  }

  package static func floats(config: ModelConfig, tokens: Int) -> Int {
    let queries = config.headCount * config.headDimension
    let keys = config.keyValueHeadCount * config.headDimension
    let cross = config.hybrid == nil ? 0 : queries
    return tokens * (2 * queries + cross + 2 * keys + 1)
  }
}

/// Keys and values of clips' slow tokens. Conversations about the same clips may share them.
package final class SlowCaches: Sendable {
  /// nil where a layer does not read slow tokens.
  package let layers: [KeyValueCache?]

  package init(layers: [KeyValueCache?]) { self.layers = layers }

  /// Of the clips' slow tokens, each `[count, hidden]`.
  package init(
    _ tokens: [StoredRows], decoder: any Decoder, type: KeyValueType, on engine: Engine,
    progress: (_ layer: Int, _ count: Int) -> Void = { _, _ in }
  ) throws(ComputeError) {
    let readers = decoder.layers.indices.filter { decoder.layers[$0].readsSlowTokens }
    var layers: [KeyValueCache?] = Array(repeating: nil, count: decoder.layers.count)
    progress(0, readers.count)
    for (done, index) in readers.enumerated() {
      layers[index] = try decoder.layers[index].makeSlowCache(tokens, type: type, on: engine)
      progress(done + 1, readers.count)
    }
    self.layers = layers
  }

  /// Slow tokens.
  package var count: Int { layers.lazy.compactMap { $0?.count }.first ?? 0 }
}

/// Keys and values that a conversation keeps, one cache a layer.
package struct DecoderCaches: Sendable {
  /// Of the tokens so far.
  package var own: [KeyValueCache]
  /// Of the slow tokens; nil where there are none.
  package var slow: SlowCaches?

  package var count: Int { own.first?.count ?? 0 }

  package init(config: ModelConfig, capacity: Int, type: KeyValueType, slow: SlowCaches? = nil) throws(ComputeError) {
    var own: [KeyValueCache] = []
    for _ in 0..<config.layerCount {
      own.append(
        try KeyValueCache(heads: config.keyValueHeadCount, headDimension: config.headDimension, capacity: capacity, type: type))
    }
    self.own = own
    self.slow = slow
  }

  /// Bytes of `layers` such caches of `tokens` tokens.
  package static func byteCount(config: ModelConfig, layers: Int, tokens: Int, type: KeyValueType) -> Int {
    layers
      * KeyValueCache.byteCount(heads: config.keyValueHeadCount, headDimension: config.headDimension, capacity: tokens, type: type)
  }

  package var hasSlow: Bool { slow.map { $0.count > 0 } ?? false }

  /// Makes room for `capacity` tokens of the conversation, in memory of its own: copies made before keep theirs.
  package mutating func grow(to capacity: Int) throws(ComputeError) {
    for index in own.indices { own[index] = try own[index].grown(to: capacity) }
  }

  /// Forgets all but the first `count` tokens.
  package func truncate(to count: Int) {
    for cache in own { cache.count = min(cache.count, count) }
  }
}
