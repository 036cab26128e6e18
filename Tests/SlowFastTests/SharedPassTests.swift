import Compute
import Dispatch
import Foundation
import Models
import Parallel
import Runtime
import Support
import Synchronization
import TestSupport
import Testing

/// Conversations whose tokens go through the decoder together.
@Suite struct SharedPassTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private struct Spoken: Equatable {
    var tokens: [Int32]
    var logits: [Float]
  }

  /// Tokens and the logits of each, of one conversation: after a prompt of its own, as many as `count`.
  private func speak(_ generator: Generator, _ prompt: [Int32], _ count: Int, before: () -> Void = {}) throws -> Spoken {
    var greedy = Sampler(GenerationOptions())
    let first = try generator.prefill(Prompt(pieces: [.text(prompt)], followsVisual: true))
    var spoken = Spoken(tokens: [greedy.next(first)], logits: Array(first))
    before()
    try generator.generate(after: spoken.tokens[0]) { logits throws(SlowFastError) in
      spoken.logits += logits
      spoken.tokens.append(greedy.next(logits))
      return spoken.tokens.count < count ? spoken.tokens.last : nil
    }
    return spoken
  }

  /// Prompts and given answers of several conversations that go on from the same tokens: to the bit as one conversation after the other
  /// reads its prompt, and then its answer; and also where one does not fit into a pass.
  @Test(arguments: ["clip", "vanilla", "4 bits", "8 bits"], SlowAttention.allCases)
  func scriptsAreReadTogether(_ name: String, _ attention: SlowAttention) throws {
    let path = try Int(name.prefix(1)).map { bits in try convert("clip", bits: bits, to: directory) }
    let model = try VideoLanguageModel(path: path ?? Golden.path(name))
    var times = StageTimes()
    let passes = try RunContext(model, options: SessionOptions()).decoderPasses(&times) { _ in }
    var numbers = SeededNumbers(11)
    let width = model.config.hiddenSize
    let slow = try passes.readSlow(
      [StoredRows(Matrix(rows: 30, columns: width, values: numbers.floats(30 * width)), type: .float32, on: passes.engine)],
      type: model.cacheType)
    func ids(_ count: Int) -> [Int32] { (0..<count).map { _ in Int32.random(in: 0..<200, using: &numbers) } }
    // Answers of no, one and several tokens; a prompt of one; one that needs passes of its own.
    let lengths = [(20, 1), (7, 5), (1, 1), (1, 3), (30, 0), (560, 4), (12, 2)]
    let room = 40 + 600
    try #require(room <= model.config.maximumPositions)
    let opening = ids(40)
    let scripts = lengths.map { Generator.Script(Prompt(pieces: [.text(ids($0.0))], followsVisual: true), answer: ids($0.1)) }
    func generator() throws -> Generator {
      let made = try Generator(
        passes, slow: slow, capacity: room, cacheType: model.cacheType, slowAttention: attention,
        answerVocabulary: model.answerVocabulary)
      _ = try made.prefill(Prompt(pieces: [.text(opening)], followsVisual: true))
      return made
    }
    var alone: [[Float]] = []
    let first = try generator()
    for script in scripts {
      first.truncate(to: opening.count)
      var logits = Array(try first.prefill(script.prompt))
      try first.force(script.answer) { logits += $0 }
      alone.append(logits)
    }
    first.truncate(to: opening.count)
    let readers = try scripts.map { try first.branch(capacity: opening.count + $0.prompt.tokenCount + $0.answer.count) }
    let before = passes.counts.prompts.passes
    var together: [[Float]] = scripts.map { _ in [] }
    try Generator.read(Array(zip(readers, scripts).map { ($0, $1) })) { together[$0] += $1 }
    // All that fit are one pass; 512 rows of the long prompt and the rest of it are two.
    #expect(passes.counts.prompts.passes - before == 3)
    for index in scripts.indices { #expect(together[index] == alone[index], "script \(index)") }
    for (reader, script) in zip(readers, scripts) {
      #expect(reader.position == opening.count + script.prompt.tokenCount + script.answer.count)
    }
    #expect(first.position == opening.count)
  }

  /// Each says to the bit what it says alone, whatever the weights, with other lengths and slow tokens, coming and going at any token; and
  /// there are fewer passes than tokens.
  @Test(arguments: ["clip", "vanilla", "4 bits", "8 bits"], SlowAttention.allCases)
  func tokensAreTheSame(_ name: String, _ attention: SlowAttention) throws {
    let path = try Int(name.prefix(1)).map { bits in try convert("clip", bits: bits, to: directory) }
    let model = try VideoLanguageModel(path: path ?? Golden.path(name))
    let context = try RunContext(model, options: SessionOptions())
    var times = StageTimes()
    let passes = try context.decoderPasses(&times) { _ in }
    var numbers = SeededNumbers(7)
    let lengths = [(40, 30), (3, 30), (600, 12), (1, 25), (17, 2), (90, 30)]
    let width = model.config.hiddenSize
    let slow = try [20, 40].map { count in
      try passes.readSlow(
        [StoredRows(Matrix(rows: count, columns: width, values: numbers.floats(count * width)), type: .float32, on: passes.engine)],
        type: model.cacheType)
    }
    let room = min(700, model.config.maximumPositions)
    let prompts = lengths.map { length, _ in (0..<min(length, room - 40)).map { _ in Int32.random(in: 0..<200, using: &numbers) } }
    func generator(_ index: Int) throws -> Generator {
      try Generator(
        passes, slow: slow[index % 2], capacity: room, cacheType: model.cacheType, slowAttention: attention,
        answerVocabulary: model.answerVocabulary)
    }
    let alone = try lengths.indices.map { try speak(generator($0), prompts[$0], lengths[$0].1) }
    let before = passes.counts.answers
    let tokens = lengths.reduce(0) { $0 + $1.1 - 1 }
    #expect(before == .init(passes: tokens, parts: tokens))

    let together = Mutex<[Int: Spoken]>([:])
    let all = DispatchGroup()
    for index in lengths.indices {
      nonisolated(unsafe) let generator = try generator(index)
      all.enter()
      Thread {
        let spoken = try? speak(generator, prompts[index], lengths[index].1) { if index < 2 { usleep(1000) } }
        together.withLock { $0[index] = spoken }
        all.leave()
      }.start()
    }
    all.wait()
    let found = together.withLock { $0 }
    for index in lengths.indices { #expect(found[index] == alone[index], "\(index)") }
    let after = passes.counts.answers
    #expect(after.parts - before.parts == tokens && after.passes - before.passes < tokens)
  }

  /// Whether there are others is known inside a pass and outside.
  @Test func whoIsAmongOthers() throws {
    let model = try VideoLanguageModel(path: Golden.path("vanilla"))
    let context = try RunContext(model, options: SessionOptions())
    var times = StageTimes()
    let passes = try context.decoderPasses(&times) { _ in }
    let generators = try (0..<2).map { _ in
      try Generator(
        passes, slow: nil, capacity: 20, cacheType: model.cacheType, slowAttention: .prompt, answerVocabulary: model.answerVocabulary)
    }
    for generator in generators { _ = try generator.prefill(Prompt(pieces: [.text([9, 8])])) }
    var seen: [Bool] = []
    try generators[0].generate(after: 3) { (_) throws(SlowFastError) in
      seen = generators.map(\.isAmongOthers)
      return nil
    }
    #expect(seen == [false, true] && generators.map(\.isAmongOthers) == [false, false])
  }

  /// One that fails or is cancelled ends alone, with its cache as it was; the others go on.
  @Test func oneFailsAlone() throws {
    let model = try VideoLanguageModel(path: Golden.path("vanilla"))
    let context = try RunContext(model, options: SessionOptions())
    var times = StageTimes()
    let passes = try context.decoderPasses(&times) { _ in }
    func generator() throws -> Generator {
      try Generator(
        passes, slow: nil, capacity: 100, cacheType: model.cacheType, slowAttention: .prompt, answerVocabulary: model.answerVocabulary)
    }
    let expected = try speak(generator(), [5, 6, 7], 40)
    let all = DispatchGroup()
    let results = Mutex<[Int: String]>([:])
    for index in 0..<3 {
      nonisolated(unsafe) let generator = try generator()
      all.enter()
      Thread {
        var left = 12
        let isCancelled = Mutex(false)
        if index == 1 { generator.isCancelled = { isCancelled.withLock { $0 } } }
        do {
          if index == 0 {
            let spoken = try speak(generator, [5, 6, 7], 40)
            results.withLock { $0[0] = "\(spoken == expected)" }
          } else {
            _ = try generator.prefill(Prompt(pieces: [.text([9, 8])]))
            try generator.generate(after: 3) { (_) throws(SlowFastError) in
              left -= 1
              if left == 0, index == 2 { throw .cancelled }
              if left == 0 { isCancelled.withLock { $0 = true } }
              return 4
            }
          }
        } catch { results.withLock { $0[index] = "\((error as? SlowFastError)?.kind == .cancelled) \(generator.position)" } }
        all.leave()
      }.start()
    }
    all.wait()
    // Twelve tokens were read: the twelfth of one ended in an error; the other was cancelled in the pass after.
    #expect(results.withLock { $0 } == [0: "true", 1: "true 14", 2: "true 13"])
  }
}
