import Compute
import Models
import Support
import Tensors

/// The decoder at work on one conversation: tokens in, logits out, keys and values kept. Its rows go through the layers in passes that
/// other conversations may share.
package final class Generator {
  package let passes: DecoderPasses
  package private(set) var caches: DecoderCaches
  package let slowAttention: SlowAttention
  /// Tokens that may be chosen, the first ones: logits are handed out for these only.
  package var answerVocabulary: Int
  /// Tokens that the caches hold at most.
  package private(set) var capacity: Int
  private var config: ModelConfig { passes.config }
  private let logits: Matrix  // [1, vocabulary]
  private var isGenerating = false

  /// What tracing wants to see: `x` before the first layer and after each one (`layer` 0 …), for the rows from `position` on.
  package var observer: DecoderPasses.LayerObserver?
  /// Asked after each layer.
  package var isCancelled: @Sendable () -> Bool = { false }

  package init(
    _ passes: DecoderPasses, slow: SlowCaches?, capacity: Int, cacheType: KeyValueType, slowAttention: SlowAttention, answerVocabulary: Int
  ) throws(SlowFastError) {
    self.passes = passes
    self.slowAttention = slowAttention
    self.answerVocabulary = answerVocabulary
    self.capacity = capacity
    let config = passes.config
    (caches, logits) = try classified { () throws(ComputeError) in
      let caches = try DecoderCaches(config: config, capacity: capacity, type: cacheType, slow: slow)
      return (caches, try Matrix(rows: 1, columns: config.vocabularySize))
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
  package func restore(_ prefix: CachedPrefix) { prefix.restore(caches) }

  /// Forgets all but the first `count` tokens.
  package func truncate(to count: Int) { caches.truncate(to: count) }

  /// Adds a prompt, a part of a conversation, to the cache. Returns the logits after its last token, valid until the next call.
  /// `progress` gets the tokens done, those of a chunk in proportion to the layers that it is through. When it throws, the cache holds what
  /// it held before.
  package func prefill(_ prompt: Prompt, progress: (Int) -> Void = { _ in }) throws(SlowFastError) -> UnsafeBufferPointer<Float> {
    let crossRanges = prompt.crossRanges(config: config)
    let tokens = prompt.tokenCount
    return try keepingNothingOfFailure { () throws(SlowFastError) in
      for start in stride(from: 0, to: tokens, by: DecoderPasses.chunk) {
        let range = start..<min(start + DecoderPasses.chunk, tokens)
        try read(
          range.count, crossRanges: crossRanges.map { $0.clamped(to: range) }.map { $0.lowerBound - start..<$0.upperBound - start },
          progress: { progress(start + range.count * $0 / config.layerCount) },
          logitsOf: range.upperBound == tokens ? range.count - 1..<range.count : 0..<0, take: keep
        ) { (rows) throws(SlowFastError) in try prompt.fill(rows, range, from: passes.embedding, on: passes.engine) }
      }
      return chosenFrom(logits.pointer)
    }
  }

  /// Adds one token of an answer. Returns the logits after it, valid until the next call.
  package func step(_ token: Int32) throws(SlowFastError) -> UnsafeBufferPointer<Float> {
    try generate(after: token) { logits in
      keep(logits)
      return nil
    }
    return chosenFrom(logits.pointer)
  }

  /// Adds `token`, and then each that `choose` makes of the logits after the one before, until it says nil: the last logits are of a token
  /// that is in the cache. When it throws, the cache holds what it held before the token at which it threw.
  package func generate(
    after token: Int32, _ choose: (UnsafeBufferPointer<Float>) throws(SlowFastError) -> Int32?
  ) throws(SlowFastError) {
    isGenerating = true
    defer { isGenerating = false }
    try withoutActuallyEscaping(choose) { choose throws(SlowFastError) in
      try passes.generate(
        DecoderPasses.AnswerPart(
          caches: caches, readsSlow: slowAttention == .all && caches.hasSlow, first: token, observer: observer, isCancelled: isCancelled
        ) { [self] (logits) throws(SlowFastError) in try choose(chosenFrom(logits.baseAddress)) })
    }
  }

  /// Adds several tokens of an answer in one pass, to the bit as one by one. Returns the logits after the last, valid until the next call.
  package func step(_ tokens: [Int32]) throws(SlowFastError) -> UnsafeBufferPointer<Float> {
    try keepingNothingOfFailure { () throws(SlowFastError) in
      for start in stride(from: 0, to: tokens.count, by: DecoderPasses.chunk) {
        let part = Array(tokens[start..<min(start + DecoderPasses.chunk, tokens.count)])
        try read(
          part.count, isAnswer: true, crossRanges: slowAttention == .all && caches.hasSlow ? [0..<part.count] : [], progress: { _ in },
          logitsOf: start + part.count == tokens.count ? part.count - 1..<part.count : 0..<0, take: keep
        ) { (rows) throws(SlowFastError) in try passes.embedding.gather(part, to: rows, on: passes.engine) }
      }
      return chosenFrom(logits.pointer)
    }
  }

  /// Adds tokens of an answer in one pass, to the bit as one by one: the first `sure` are chosen, the others guessed. `choose` gets the
  /// logits after the last that is sure, and goes on after those of its tokens that were guessed; what follows the last of these is
  /// returned, nil where `choose` ended it. The cache then has the tokens that are right. When it throws, it holds what it held before.
  package func verify(
    _ tokens: [Int32], sure: Int, _ choose: (UnsafeBufferPointer<Float>) throws(SlowFastError) -> [Int32]?
  ) throws(SlowFastError) -> [Int32]? {
    precondition((1...tokens.count).contains(sure) && tokens.count <= DecoderPasses.chunk)
    var failure: SlowFastError?
    var next: [Int32]?
    // Rows that are right, and the row whose logits are looked at.
    var (right, row, awaited) = (sure, sure - 1, sure - 1)
    let before = position
    try keepingNothingOfFailure { () throws(SlowFastError) in
      try read(
        tokens.count, isAnswer: true, crossRanges: slowAttention == .all && caches.hasSlow ? [0..<tokens.count] : [],
        progress: { _ in }, logitsOf: sure - 1..<tokens.count,
        take: { logits in
          defer { row += 1 }
          guard row == awaited, failure == nil else { return }
          do throws(SlowFastError) { next = try choose(chosenFrom(logits.baseAddress)) } catch { failure = error }
          right = row + 1
          if let next, tokens[right...].starts(with: next) { awaited = row + next.count }
        }
      ) { (rows) throws(SlowFastError) in try passes.embedding.gather(tokens, to: rows, on: passes.engine) }
      if let failure { throw failure }
    }
    caches.truncate(to: before + right)
    return next
  }

  /// Whether other conversations make tokens now, with which it would share passes.
  package var isAmongOthers: Bool { passes.conversations > (isGenerating ? 1 : 0) }

  /// Adds tokens of an answer that is given, not chosen, and calls `body` with the logits after each.
  package func force(_ tokens: [Int32], body: (UnsafeBufferPointer<Float>) -> Void) throws(SlowFastError) {
    try keepingNothingOfFailure { () throws(SlowFastError) in
      for start in stride(from: 0, to: tokens.count, by: DecoderPasses.chunk) {
        let part = Array(tokens[start..<min(start + DecoderPasses.chunk, tokens.count)])
        try read(
          part.count, crossRanges: slowAttention == .all && caches.hasSlow ? [0..<part.count] : [], progress: { _ in },
          logitsOf: 0..<part.count, take: { body(chosenFrom($0.baseAddress)) }
        ) { (rows) throws(SlowFastError) in try passes.embedding.gather(part, to: rows, on: passes.engine) }
      }
    }
  }

  private func read(
    _ count: Int, isAnswer: Bool = false, crossRanges: [Range<Int>], progress: (Int) -> Void, logitsOf read: Range<Int>,
    take: (UnsafeBufferPointer<Float>) -> Void, fill: (Matrix) throws(SlowFastError) -> Void
  ) throws(SlowFastError) {
    // The part is done with when the pass returns.
    try withoutActuallyEscaping(fill) { fill throws(SlowFastError) in
      try withoutActuallyEscaping(take) { take throws(SlowFastError) in
        try withoutActuallyEscaping(progress) { progress throws(SlowFastError) in
          try passes.read(
            DecoderPasses.PromptPart(
              count: count, isAnswer: isAnswer, caches: caches, crossRanges: crossRanges, observer: observer, isCancelled: isCancelled,
              progress: progress,
              fill: fill, read: read, take: take))
        }
      }
    }
  }

  private func keepingNothingOfFailure<T>(_ body: () throws(SlowFastError) -> T) throws(SlowFastError) -> T {
    let before = position
    do throws(SlowFastError) { return try body() } catch {
      caches.truncate(to: before)
      throw error
    }
  }

  private func keep(_ other: UnsafeBufferPointer<Float>) {
    if let base = other.baseAddress { logits.pointer.update(from: base, count: answerVocabulary) }
  }

  private func chosenFrom(_ logits: UnsafePointer<Float>?) -> UnsafeBufferPointer<Float> {
    UnsafeBufferPointer(start: logits, count: answerVocabulary)
  }
}
