import Compute
import Models
import Support
import Tensors

/// The decoder at work on one conversation: tokens in, logits out, keys and values kept. Several may share an engine: a token of an answer
/// is one turn of it, and so is each layer of a prompt.
package final class Generator {
  package let decoder: any Decoder
  package let embedding: any EmbeddingTable
  package private(set) var caches: DecoderCaches
  package let slowAttention: SlowAttention
  /// Tokens that may be chosen, the first ones: logits are handed out for these only.
  package var answerVocabulary: Int
  /// Tokens that the caches hold at most.
  package private(set) var capacity: Int
  private let config: ModelConfig
  private let engine: Engine
  private let workspace: DecoderWorkspace
  private let x: Matrix  // [chunk, hidden]
  private let logits: Matrix  // [1, vocabulary]

  /// Prompt tokens that go through the layers together: enough to use each weight often, few enough to bound memory.
  package static let chunk = 512

  /// What tracing wants to see: `x` before the first layer and after each one (`layer` 0 …), for the rows from `position` on.
  package var observer: ((_ layer: Int, _ position: Int, _ x: Matrix) -> Void)?
  /// Asked after each layer.
  package var isCancelled: @Sendable () -> Bool = { false }

  package init(
    decoder: any Decoder, embedding: any EmbeddingTable, slow: Matrix?, capacity: Int, cacheType: ScalarType,
    slowAttention: SlowAttention, answerVocabulary: Int, engine: Engine, progress: (_ layer: Int, _ count: Int) -> Void = { _, _ in }
  ) throws(SlowFastError) {
    self.decoder = decoder
    self.embedding = embedding
    self.slowAttention = slowAttention
    self.answerVocabulary = answerVocabulary
    self.engine = engine
    let config = decoder.config
    self.config = config
    self.capacity = capacity
    let tokens = min(Self.chunk, capacity)
    (caches, workspace, x, logits) = try classified { () throws(ComputeError) in
      var caches = try DecoderCaches(config: config, capacity: capacity, type: cacheType)
      if let slow, slow.rows > 0 {
        try engine.turns.withLock { () throws(ComputeError) in
          try caches.readSlow(slow, decoder: decoder, type: cacheType, on: engine) { layer, count in
            progress(layer, count)
            engine.turns.yield()
          }
        }
      }
      return (
        caches, try DecoderWorkspace(config: config, tokens: tokens),
        try Matrix(rows: tokens, columns: config.hiddenSize), try Matrix(rows: 1, columns: config.vocabularySize)
      )
    }
  }

  package var position: Int { caches.count }

  /// Makes room for a longer conversation, and for half as much again so that this is rare.
  package func reserve(_ tokens: Int) throws(SlowFastError) {
    guard tokens > capacity else { return }
    let larger = min(max(tokens, capacity + capacity / 2), max(tokens, config.maximumPositions))
    try classified { () throws(ComputeError) in try caches.grow(to: larger) }
    capacity = larger
  }

  /// Takes over what a clip cache has; nothing has been read before.
  package func restore(_ prefix: CachedPrefix) throws(SlowFastError) {
    try classified { () throws(ComputeError) in try prefix.restore(&caches, config: config, type: caches.own[0].type) }
  }

  /// Forgets all but the first `count` tokens.
  package func truncate(to count: Int) { caches.truncate(to: count) }

  /// Adds a prompt, a part of a conversation, to the cache. Returns the logits after its last token, valid until the next call.
  /// `progress` gets the tokens done, those of a chunk in proportion to the layers that it is through. When it throws, the cache holds what
  /// it held before.
  package func prefill(_ prompt: Prompt, progress: (Int) -> Void = { _ in }) throws(SlowFastError) -> UnsafeBufferPointer<Float> {
    let crossRanges = prompt.crossRanges(config: config)
    let tokens = prompt.tokenCount
    return try inTurn { () throws(SlowFastError) in
      for start in stride(from: 0, to: tokens, by: x.rows) {
        let range = start..<min(start + x.rows, tokens)
        let rows = x[rows: 0..<range.count]
        try prompt.fill(rows, range, from: embedding, on: engine)
        try run(rows, crossRanges: crossRanges.map { $0.clamped(to: range) }.map { $0.lowerBound - start..<$0.upperBound - start }) {
          progress(start + range.count * $0 / config.layerCount)
        }
      }
      let last = (tokens - 1) % x.rows
      return try readOut(x[rows: last..<last + 1])
    }
  }

  /// Adds one token of an answer. Returns the logits after it.
  package func step(_ token: Int32) throws(SlowFastError) -> UnsafeBufferPointer<Float> {
    let row = x[rows: 0..<1]
    return try inTurn { () throws(SlowFastError) in
      try embedding.gather([token], to: row, on: engine)
      try run(row, crossRanges: slowAttention == .all && caches.hasSlow ? [0..<1] : [])
      return try readOut(row)
    }
  }

  /// Adds tokens of an answer that is given, not chosen, and calls `body` with the logits after each.
  package func force(_ tokens: [Int32], body: (UnsafeBufferPointer<Float>) -> Void) throws(SlowFastError) {
    try inTurn { () throws(SlowFastError) in
      for start in stride(from: 0, to: tokens.count, by: x.rows) {
        let part = Array(tokens[start..<min(start + x.rows, tokens.count)])
        let rows = x[rows: 0..<part.count]
        try embedding.gather(part, to: rows, on: engine)
        try run(rows, crossRanges: slowAttention == .all && caches.hasSlow ? [0..<part.count] : [])
        for row in 0..<part.count { body(try readOut(x[rows: row..<row + 1])) }
      }
    }
  }

  /// Calls operators when it is this conversation's turn. When that throws, the cache holds what it held before.
  private func inTurn<T>(_ body: () throws(SlowFastError) -> T) throws(SlowFastError) -> T {
    let before = position
    do throws(SlowFastError) { return try engine.turns.withLock(body) } catch {
      caches.truncate(to: before)
      throw error
    }
  }

  private func run(_ rows: Matrix, crossRanges: [Range<Int>], progress: (_ layers: Int) -> Void = { _ in }) throws(SlowFastError) {
    let position = caches.count
    observer?(0, position, rows)
    let finished = try classified { () throws(ComputeError) in
      try decoder.run(rows, position: position, caches: caches, crossRanges: crossRanges, in: workspace, on: engine) { layer, x in
        observer?(layer + 1, position, x)
        progress(layer + 1)
        if x.rows > 1 { engine.turns.yield() }
        return !isCancelled()
      }
    }
    if !finished { throw .cancelled }
  }

  private func readOut(_ row: Matrix) throws(SlowFastError) -> UnsafeBufferPointer<Float> {
    try classified { () throws(ComputeError) in
      try decoder.readOut(row, logits: logits, on: engine)
    }
    return UnsafeBufferPointer(start: logits.pointer, count: answerVocabulary)
  }
}
