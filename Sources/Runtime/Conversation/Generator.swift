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

  private init(_ other: Generator, capacity: Int) throws(SlowFastError) {
    passes = other.passes
    slowAttention = other.slowAttention
    answerVocabulary = other.answerVocabulary
    self.capacity = capacity
    let vocabulary = other.config.vocabularySize
    (caches, logits) = try classified { () throws(ComputeError) in
      var caches = other.caches
      try caches.grow(to: capacity)
      return (caches, try Matrix(rows: 1, columns: vocabulary))
    }
    isCancelled = other.isCancelled
  }

  package var position: Int { caches.count }
  private var answerReadsSlow: Bool { slowAttention == .all && caches.hasSlow }

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
          [range.count], crossRanges: crossRanges.map { $0.clamped(to: range) }.map { $0.lowerBound - start..<$0.upperBound - start },
          progress: { progress(start + range.count * $0 / config.layerCount) },
          logitsOf: range.upperBound == tokens ? range.count - 1..<range.count : 0..<0, take: keep
        ) { (x, rows) throws(SlowFastError) in
          try prompt.fill(x, start + rows.lowerBound..<start + rows.upperBound, from: passes.embedding, on: passes.engine)
        }
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
          caches: caches, readsSlow: answerReadsSlow, first: token, observer: observer, isCancelled: isCancelled
        ) { [self] (logits) throws(SlowFastError) in try choose(chosenFrom(logits.baseAddress)) })
    }
  }

  /// Adds several tokens of an answer in one pass, to the bit as one by one. Returns the logits after the last, valid until the next call.
  package func step(_ tokens: [Int32]) throws(SlowFastError) -> UnsafeBufferPointer<Float> {
    try keepingNothingOfFailure { () throws(SlowFastError) in
      for start in stride(from: 0, to: tokens.count, by: DecoderPasses.chunk) {
        let part = Array(tokens[start..<min(start + DecoderPasses.chunk, tokens.count)])
        try read(
          part.map { _ in 1 }, crossRanges: answerReadsSlow ? [0..<part.count] : [],
          logitsOf: start + part.count == tokens.count ? part.count - 1..<part.count : 0..<0, take: keep
        ) { (x, rows) throws(SlowFastError) in try passes.embedding.gather(Array(part[rows]), to: x, on: passes.engine) }
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
        tokens.map { _ in 1 }, crossRanges: answerReadsSlow ? [0..<tokens.count] : [], logitsOf: sure - 1..<tokens.count,
        take: { logits in
          defer { row += 1 }
          guard row == awaited, failure == nil else { return }
          do throws(SlowFastError) { next = try choose(chosenFrom(logits.baseAddress)) } catch { failure = error }
          right = row + 1
          if let next, tokens[right...].starts(with: next) { awaited = row + next.count }
        }
      ) { (x, rows) throws(SlowFastError) in try passes.embedding.gather(Array(tokens[rows]), to: x, on: passes.engine) }
      if let failure { throw failure }
    }
    caches.truncate(to: before + right)
    return next
  }

  /// Whether other conversations make tokens now, with which it would share passes.
  package var isAmongOthers: Bool { passes.conversations > (isGenerating ? 1 : 0) }

  private func read(
    _ runs: [Int], crossRanges: [Range<Int>], progress: (Int) -> Void = { _ in }, logitsOf read: Range<Int>,
    take: (UnsafeBufferPointer<Float>) -> Void, fill: (Matrix, Range<Int>) throws(SlowFastError) -> Void
  ) throws(SlowFastError) {
    // The part is done with when the pass returns.
    try withoutActuallyEscaping(fill) { fill throws(SlowFastError) in
      try withoutActuallyEscaping(take) { take throws(SlowFastError) in
        try withoutActuallyEscaping(progress) { progress throws(SlowFastError) in
          try passes.read(
            DecoderPasses.PromptPart(
              runs: runs, caches: caches, crossRanges: crossRanges, observer: observer, isCancelled: isCancelled, progress: progress,
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

// MARK: Answers that are given

extension Generator {
  /// Adds tokens of an answer that is given, not chosen, and calls `body` with the logits after each.
  package func force(_ tokens: [Int32], body: (UnsafeBufferPointer<Float>) -> Void) throws(SlowFastError) {
    try keepingNothingOfFailure { () throws(SlowFastError) in
      try Generator.read([(self, Script(Prompt(pieces: []), answer: tokens))]) { body($1) }
    }
  }

  /// A prompt that goes on from what a generator has read, and its answer.
  package struct Script {
    package var prompt: Prompt
    package var answer: [Int32]

    package init(_ prompt: Prompt, answer: [Int32]) { (self.prompt, self.answer) = (prompt, answer) }

    fileprivate var count: Int { prompt.tokenCount + answer.count }

    /// Rows that come together, as in a conversation: those of the prompt, and then the answer's.
    fileprivate var runs: [Int] {
      [prompt.tokenCount, answer.count].flatMap { count in
        stride(from: 0, to: count, by: DecoderPasses.chunk).map { min(DecoderPasses.chunk, count - $0) }
      }
    }
  }

  /// Another conversation that has read what this one has, with room for `capacity` tokens.
  package func branch(capacity: Int) throws(SlowFastError) -> Generator { try Generator(self, capacity: capacity) }

  /// Each generator reads its script, in passes that they share. `take` gets, of the script of that index, the logits after the prompt and
  /// after each token of the answer: bit for bit what `prefill`, and then the answer read in one piece, would give. When this throws, each
  /// has read its script in part.
  package static func read(
    _ scripts: [(generator: Generator, script: Script)], take: (_ index: Int, UnsafeBufferPointer<Float>) -> Void
  ) throws(SlowFastError) {
    guard let passes = scripts.first?.generator.passes else { return }
    var left = scripts.map { (runs: $0.script.runs[...], start: 0) }
    while left.contains(where: { !$0.runs.isEmpty }) {
      var room = DecoderPasses.chunk
      var parts: [(index: Int, runs: [Int], start: Int)] = []
      for index in left.indices where parts.count < DecoderPasses.mostParts {
        var (runs, count) = ([Int](), 0)
        while let run = left[index].runs.first, run <= room {
          runs.append(left[index].runs.removeFirst())
          (count, room) = (count + run, room - run)
        }
        if runs.isEmpty { continue }
        parts.append((index, runs, left[index].start))
        left[index].start += count
      }
      try withoutActuallyEscaping(take) { take throws(SlowFastError) in
        try passes.read(
          parts.map { index, runs, start in
            scripts[index].generator.part(of: scripts[index].script, runs: runs, start: start) { take(index, $0) }
          })
      }
    }
  }

  /// The rows of a script from `start` on.
  private func part(
    of script: Script, runs: [Int], start: Int, take: @escaping (UnsafeBufferPointer<Float>) -> Void
  ) -> DecoderPasses.PromptPart {
    let (prompt, answer, passes) = (script.prompt, script.answer, passes)
    let (count, first) = (runs.reduce(0, +), prompt.tokenCount)
    let rows = start..<start + count
    let reading = prompt.crossRanges(config: passes.config) + (answerReadsSlow ? [first..<script.count] : [])
    let read = (max(first, 1) - 1..<script.count).clamped(to: rows)
    return DecoderPasses.PromptPart(
      runs: runs, caches: caches, crossRanges: reading.map { $0.clamped(to: rows) }.map { $0.lowerBound - start..<$0.upperBound - start },
      observer: observer, isCancelled: isCancelled,
      fill: { (x, own) throws(SlowFastError) in
        let rows = own.lowerBound + start..<own.upperBound + start
        let asked = rows.clamped(to: 0..<first)
        if !asked.isEmpty { try prompt.fill(x[rows: 0..<asked.count], asked, from: passes.embedding, on: passes.engine) }
        guard asked.count < rows.count else { return }
        let said = Array(answer[rows.lowerBound + asked.count - first..<rows.upperBound - first])
        try passes.embedding.gather(said, to: x[rows: asked.count..<rows.count], on: passes.engine)
      }, read: read.lowerBound - start..<read.upperBound - start, take: { [self] in take(chosenFrom($0.baseAddress)) })
  }
}
