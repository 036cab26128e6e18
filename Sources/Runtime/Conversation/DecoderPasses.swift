import Compute
import Models
import Parallel
import Support
import Synchronization
import Tensors

/// Passes through a decoder, which conversations that compute at the same time share: a weight is read once for all of them. What each
/// gets is bit for bit what it would get alone.
///
/// Whoever comes first computes for all that have come, until its own part is done; then another does. Answers and prompts have passes of
/// their own: those of prompts give way to tokens of answers after each layer.
package final class DecoderPasses: @unchecked Sendable {
  package let config: ModelConfig
  package let embedding: any EmbeddingTable
  package let engine: Engine
  /// nil while the tower has its turn to be in memory, when nobody computes here.
  private let weights: Mutex<DecoderWeights?>
  package var decoder: any Decoder {
    guard let weights = weights.withLock({ $0 }) else { preconditionFailure("the decoder is used in the tower's turn") }
    return weights.decoder
  }
  private let answers = Gathering<AnswerPart>()
  private let prompts = Gathering<PromptPart>()
  // In a turn of the engine.
  private let answerMemory = PassMemory()
  private let promptMemory = PassMemory()
  private let logitsMemory = LogitsMemory()

  /// Passes so far, and the conversations' parts in them.
  package struct Counts: Sendable, Equatable {
    package var passes = 0
    package var parts = 0

    package init(passes: Int = 0, parts: Int = 0) { (self.passes, self.parts) = (passes, parts) }

    fileprivate mutating func add(parts count: Int) {
      passes += 1
      parts += count
    }
  }
  package var counts: (answers: Counts, prompts: Counts) { engine.turns.withLock { (answerCounts, promptCounts) } }
  // In a turn of the engine.
  private var answerCounts = Counts()
  private var promptCounts = Counts()

  /// Conversations that make tokens now.
  var conversations: Int { answers.count }

  /// Rows that go through the layers together: enough to use each weight often, few enough to bound memory.
  package static let chunk = 512
  /// Conversations that share a pass at most.
  static let mostParts = 64
  /// Rows of which logits are made together.
  static let mostLogits = 16

  package init(_ weights: DecoderWeights, embedding: any EmbeddingTable, engine: Engine) {
    (self.embedding, self.engine) = (embedding, engine)
    self.weights = Mutex(weights)
    config = weights.decoder.config
  }

  /// Computes with these from now on if it has let its own go; whether they are its own.
  package func adopts(_ weights: DecoderWeights) -> Bool {
    self.weights.withLock { own in
      if own == nil { own = weights }
      return own === weights
    }
  }

  /// Nobody computes here until it has adopted weights again.
  package func letGo() { weights.withLock { $0 = nil } }

  /// Rows that one conversation adds to its caches at once, at most `chunk`: a prompt or a part of it, tokens of an answer, or both.
  package final class PromptPart {
    /// How many rows come together, and after them the next ones: each run becomes what it would be in a pass of its own.
    let runs: [Int]
    var count: Int { runs.reduce(0, +) }
    let caches: DecoderCaches
    /// Of the part's own rows.
    let crossRanges: [Range<Int>]
    /// Writes the input embeddings of some of the rows.
    let fill: (Matrix, Range<Int>) throws(SlowFastError) -> Void
    /// Rows of which it wants logits.
    let read: Range<Int>
    /// Gets them, row by row.
    let take: (UnsafeBufferPointer<Float>) -> Void
    let observer: LayerObserver?
    /// Sees how many layers are done.
    let progress: (Int) -> Void
    let isCancelled: () -> Bool
    fileprivate var error: SlowFastError?

    init(
      runs: [Int], caches: DecoderCaches, crossRanges: [Range<Int>], observer: LayerObserver?,
      isCancelled: @escaping () -> Bool, progress: @escaping (Int) -> Void = { _ in },
      fill: @escaping (Matrix, Range<Int>) throws(SlowFastError) -> Void, read: Range<Int>,
      take: @escaping (UnsafeBufferPointer<Float>) -> Void
    ) {
      (self.runs, self.caches, self.crossRanges) = (runs, caches, crossRanges)
      (self.observer, self.isCancelled, self.progress) = (observer, isCancelled, progress)
      (self.fill, self.read, self.take) = (fill, read, take)
    }
  }

  /// A conversation in which tokens are made one after the other.
  package final class AnswerPart {
    let caches: DecoderCaches
    let readsSlow: Bool
    /// What is read next.
    fileprivate var token: Int32
    /// Gets the logits after it and gives the next one; nil at the end.
    let choose: (UnsafeBufferPointer<Float>) throws(SlowFastError) -> Int32?
    let observer: LayerObserver?
    let isCancelled: () -> Bool
    fileprivate var error: SlowFastError?
    fileprivate var isDone = false

    init(
      caches: DecoderCaches, readsSlow: Bool, first token: Int32, observer: LayerObserver?, isCancelled: @escaping () -> Bool,
      choose: @escaping (UnsafeBufferPointer<Float>) throws(SlowFastError) -> Int32?
    ) {
      (self.caches, self.readsSlow, self.token, self.observer) = (caches, readsSlow, token, observer)
      (self.isCancelled, self.choose) = (isCancelled, choose)
    }
  }

  /// What tracing wants to see: the conversation's rows before the first layer and after each one (`layer` 0 …), from `position` on.
  package typealias LayerObserver = (_ layer: Int, _ position: Int, _ x: Matrix) -> Void

  /// Adds rows to a conversation. When it throws, the caches hold what they held before.
  package func read(_ part: PromptPart) throws(SlowFastError) {
    prompts.take(part) { waiting in
      engine.turns.withLock {
        var rows = 0
        // All that have come by now.
        let parts = waiting(Self.mostParts) { other in
          rows += other.count
          return rows <= Self.chunk
        }
        run(parts)
        return parts
      }
    }
    if let error = part.error { throw error }
  }

  /// The same of several conversations that wait for each other, in one pass: `chunk` rows at most. Those that have failed say so, and
  /// their caches hold what they held before; the first failure is thrown.
  package func read(_ parts: [PromptPart]) throws(SlowFastError) {
    engine.turns.withLock { run(parts) }
    if let error = parts.lazy.compactMap(\.error).first { throw error }
  }

  /// Makes tokens until `choose` ends it. When it throws, the caches hold what they held before the last token.
  package func generate(_ part: AnswerPart) throws(SlowFastError) {
    answers.take(part) { waiting in
      engine.turns.withLock {
        let parts = waiting(Self.mostParts) { _ in true }
        run(parts)
        return parts.filter(\.isDone)
      }
    }
    if let error = part.error { throw error }
  }
}

extension DecoderPasses {
  /// Keys and values of clips' slow tokens, each `[count, hidden]`; nil where there are none.
  package func readSlow(
    _ tokens: [StoredRows], type: KeyValueType, progress: (_ layer: Int, _ count: Int) -> Void = { _, _ in }
  ) throws(SlowFastError) -> SlowCaches? {
    guard tokens.contains(where: { $0.rows > 0 }) else { return nil }
    return try classified { () throws(ComputeError) in
      try engine.turns.withLock { () throws(ComputeError) in
        try SlowCaches(tokens, decoder: decoder, type: type, on: engine) { layer, count in
          progress(layer, count)
          engine.turns.yield()
        }
      }
    }
  }
}

// MARK: A pass

extension DecoderPasses {
  private func run(_ parts: [PromptPart]) {
    let counts = parts.map { $0.caches.count }
    promptCounts.add(parts: parts.count)
    do throws(SlowFastError) {
      let total = parts.reduce(0) { $0 + $1.count }
      let (space, workspace) = try classified { () throws(ComputeError) in try promptMemory.reserve(total, config) }
      let x = space[rows: 0..<total]
      var pass: [DecoderPart] = []
      // Of each part its rows in `x`, and the stretches of its rows that lie together there.
      var places = parts.map { Array(repeating: 0, count: $0.count) }
      var stretches: [(part: Int, own: Range<Int>, start: Int)] = []
      let runs = Self.runs(parts)
      // Rows alone come first, as the layers want them.
      let ordered = runs.filter { $0.own.count == 1 } + runs.filter { $0.own.count != 1 }
      var start = 0
      for (index, own) in ordered {
        let (part, rows, shift) = (parts[index], start..<start + own.count, start - own.lowerBound)
        let reading = part.crossRanges.map { $0.clamped(to: own) }.map { $0.lowerBound + shift..<$0.upperBound + shift }
        pass.append(DecoderPart(rows: rows, caches: part.caches, crossRanges: reading, offset: own.lowerBound))
        places[index].replaceSubrange(own, with: rows)
        if let last = stretches.last, last.part == index, last.own.upperBound == own.lowerBound {
          stretches[stretches.count - 1].own = last.own.lowerBound..<own.upperBound
        } else {
          stretches.append((index, own, start))
        }
        start = rows.upperBound
      }
      for (index, own, start) in stretches { try parts[index].fill(x[rows: start..<start + own.count], own) }
      try run(x, pass, ordered.map { parts[$0.part].observer }, in: workspace) { layer in
        for part in parts { part.progress(layer) }
        if total > 1 { engine.turns.yield() }
        return parts.contains { !$0.isCancelled() }
      }
      let reads = zip(parts, places).flatMap { part, places in part.read.map { (part, places[$0]) } }
      try readOut(reads.map(\.1), of: x) { index, logits in reads[index].0.take(logits) }
    } catch {
      for part in parts { part.error = error }
    }
    for (part, count) in zip(parts, counts) {
      if part.error == nil, part.isCancelled() { part.error = .cancelled }
      if part.error != nil { part.caches.truncate(to: count) }
    }
  }

  /// Of each part by its index, as ranges of its own rows.
  private static func runs(_ parts: [PromptPart]) -> [(part: Int, own: Range<Int>)] {
    parts.enumerated().flatMap { index, part in
      var start = 0
      return part.runs.map { count in
        defer { start += count }
        return (index, start..<start + count)
      }
    }
  }

  private func run(_ parts: [AnswerPart]) {
    let counts = parts.map { $0.caches.count }
    answerCounts.add(parts: parts.count)
    do throws(SlowFastError) {
      let (space, workspace) = try classified { () throws(ComputeError) in try answerMemory.reserve(parts.count, config) }
      let x = space[rows: 0..<parts.count]
      try embedding.gather(parts.map(\.token), to: x, on: engine)
      let pass = parts.enumerated().map { row, part in
        DecoderPart(rows: row..<row + 1, caches: part.caches, crossRanges: part.readsSlow ? [row..<row + 1] : [])
      }
      try run(x, pass, parts.map(\.observer), in: workspace) { _ in parts.contains { !$0.isCancelled() } }
      try readOut(Array(parts.indices), of: x) { index, logits in
        let part = parts[index]
        if part.isCancelled() {
          part.error = .cancelled
          return
        }
        do throws(SlowFastError) {
          if let next = try part.choose(logits) { part.token = next } else { part.isDone = true }
        } catch { part.error = error }
      }
    } catch {
      for part in parts where part.error == nil { part.error = error }
    }
    for (part, count) in zip(parts, counts) where part.error != nil {
      part.caches.truncate(to: count)
      part.isDone = true
    }
  }

  private func run(
    _ x: Matrix, _ parts: [DecoderPart], _ observers: [LayerObserver?], in workspace: DecoderWorkspace, afterLayer: (_ layers: Int) -> Bool
  ) throws(SlowFastError) {
    let positions = parts.map { $0.caches.count + $0.offset }
    func show(_ layer: Int) {
      for (index, observer) in observers.enumerated() { observer?(layer, positions[index], x[rows: parts[index].rows]) }
    }
    show(0)
    let finished = try classified { () throws(ComputeError) in
      try decoder.run(x, parts, in: workspace, on: engine) { layer, _ in
        show(layer + 1)
        return afterLayer(layer + 1)
      }
    }
    if !finished { throw .cancelled }
  }

  /// Logits after each of `rows` of `x`, some of them at a time.
  private func readOut(
    _ rows: [Int], of x: Matrix, _ take: (_ index: Int, UnsafeBufferPointer<Float>) -> Void
  ) throws(SlowFastError) {
    for start in stride(from: 0, to: rows.count, by: Self.mostLogits) {
      let some = rows[start..<min(start + Self.mostLogits, rows.count)]
      let memory = try classified { () throws(ComputeError) in try logitsMemory.reserve(some.count, config) }
      let logits = memory.logits[rows: 0..<some.count]
      var read = memory.rows[rows: 0..<some.count]
      if let row = some.first, some.elementsEqual(row..<row + some.count) {
        read = x[rows: row..<row + some.count]
      } else {
        for (index, row) in some.enumerated() { read[rows: index..<index + 1].copy(from: x[rows: row..<row + 1]) }
      }
      try classified { () throws(ComputeError) in try decoder.readOut(read, logits: logits, on: engine) }
      for index in some.indices { take(index, UnsafeBufferPointer(start: logits.row(index - start), count: logits.columns)) }
    }
  }
}

/// What a pass works in: as much as the largest so far needed.
private final class PassMemory {
  /// `[rows, hidden]`, and what is between and inside the layers.
  private var memory: (x: Matrix, workspace: DecoderWorkspace)?

  /// Memory for so many rows.
  func reserve(_ rows: Int, _ config: ModelConfig) throws(ComputeError) -> (x: Matrix, workspace: DecoderWorkspace) {
    if let memory, memory.x.rows >= rows { return memory }
    // What is too small goes first.
    memory = nil
    let made = (
      x: try Matrix(rows: rows, columns: config.hiddenSize), workspace: try DecoderWorkspace(config: config, tokens: rows)
    )
    memory = made
    return made
  }
}

/// What logits are made in.
private final class LogitsMemory {
  /// `rows` `[count, hidden]`, `logits` `[count, vocabulary]`.
  private var memory: (rows: Matrix, logits: Matrix)?

  func reserve(_ count: Int, _ config: ModelConfig) throws(ComputeError) -> (rows: Matrix, logits: Matrix) {
    if let memory, memory.rows.rows >= count { return memory }
    memory = nil
    let made = (
      rows: try Matrix(rows: count, columns: config.hiddenSize), logits: try Matrix(rows: count, columns: config.vocabularySize)
    )
    memory = made
    return made
  }
}
