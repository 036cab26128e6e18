import Compute
import Measurement
import ModelFile
import Models
import Runtime
import Support
import Tensors

extension Benchmark {
  /// Keys and values of the slow tokens, prompts, and generated tokens.
  mutating func timeDecoder(_ tokens: SlowFastTokens) throws(SlowFastError) {
    guard wants(.load, .cross, .prefill, .generate) else { return }
    let decoder = try loadDecoder()
    if wants(.cross) { try timeCross(decoder, tokens) }
    guard wants(.prefill, .generate) else { return }
    let limit = min(model.config.contextLength, model.config.maximumPositions)
    let prompts = fitting(options.prompts, within: limit, stage: .prefill)
    let contexts = fitting(options.contexts, within: limit - options.generatedTokens, stage: .generate)
    guard let longest = (prompts + contexts.map { $0 + options.generatedTokens }).max() else { return }
    let generator = try Generator(
      decoder: decoder, embedding: try model.source.makeEmbeddingTable(), slow: tokens.slow, capacity: longest, cacheType: model.cacheType,
      slowAttention: report.slowAttention, answerVocabulary: model.answerVocabulary, engine: engine)
    generator.isCancelled = isCancelled
    for length in prompts { try timePrefill(length, generator, tokens) }
    for context in contexts { try timeGeneration(context, generator, tokens) }
  }

  /// The lengths that the model has room for; the others are noted as skipped.
  private mutating func fitting(_ lengths: [Int], within limit: Int, stage: BenchmarkStage) -> [Int] {
    guard wants(stage) else { return [] }
    for length in lengths where length > limit {
      skip("\(stage.rawValue) \(length)", "the model's context has room for \(max(0, limit))")
    }
    return lengths.filter { $0 <= limit }
  }

  private mutating func timeCross(_ decoder: any Decoder, _ tokens: SlowFastTokens) throws(SlowFastError) {
    guard model.config.hybrid != nil else { return skip("cross", "the model has no hybrid layers") }
    var caches = try classified { () throws(ComputeError) in try DecoderCaches(config: model.config, capacity: 1, type: model.cacheType) }
    let runs = try measure("cross keys and values") { () throws(SlowFastError) in
      try classified { () throws(ComputeError) in try caches.readSlow(tokens.slow, decoder: decoder, type: model.cacheType, on: engine) }
    }
    add(
      "cross keys and values", runs, units: tokens.slow.rows, unit: "tokens",
      products: decoder.slowProducts(tokens.slow.rows))
  }

  private mutating func timePrefill(_ length: Int, _ generator: Generator, _ tokens: SlowFastTokens) throws(SlowFastError) {
    let prompt = prompt(length, tokens)
    let runs = try measure("prefill \(length)") { () throws(SlowFastError) in
      generator.truncate(to: 0)
      _ = try generator.prefill(prompt)
    }
    let crossTokens = prompt.crossRanges(config: model.config).reduce(0) { $0 + $1.count }
    add(
      "prefill \(length)", runs, units: length, unit: "tokens",
      products: generator.decoder.prefillProducts(tokens: length, crossTokens: crossTokens, slowTokens: tokens.slow.rows))
  }

  /// Tokens after `context` others, and in turn with them a plain loop over the same weights. The first context's tokens are the report's.
  private mutating func timeGeneration(_ context: Int, _ generator: Generator, _ tokens: SlowFastTokens) throws(SlowFastError) {
    let prompt = prompt(min(context, 64), tokens)
    let filler = try Self.madeUp(
      rows: 64, columns: 2 * model.config.keyValueHeadCount * model.config.headDimension, seed: 4)
    let reading = MemoryReading(generator.decoder.generationWeights.flatMap(\.memory))
    var steps: [StageRun] = []
    var reads: [Double] = []
    var generated: [Int32] = []
    _ = try measure("generate after \(context)", warmsUp: false) { () throws(SlowFastError) in
      generator.truncate(to: 0)
      var logits = try generator.prefill(prompt)
      for cache in generator.caches.own {
        while cache.count < context {
          cache.append(keys: filler[rows: 0..<min(filler.rows, context - cache.count)], values: nil, interleaved: true, using: engine)
        }
      }
      var greedy = Sampler(GenerationOptions())
      generated = [greedy.next(logits)]
      for _ in 0..<options.generatedTokens {
        let token = generated[generated.count - 1]
        steps.append(try once { () throws(SlowFastError) in logits = try generator.step(token) })
        generated.append(greedy.next(logits))
        reads.append(reading.seconds(pool))
      }
    }
    let slow = report.slowAttention == .all ? tokens.slow.rows : 0
    add(
      "generate after \(context)", steps, units: 1, unit: "tokens",
      products: generator.decoder.products(context: context, slowTokens: slow) + generator.decoder.headProducts,
      bytes: model.source.generationBytes(context: context, slowTokens: slow, cacheType: model.cacheType),
      readRate: Double(reading.byteCount) / 1e9 / reads.sorted()[reads.count / 2])
    if report.tokens.isEmpty {
      report.tokens = generated
      report.tokenHash = String(checksum(generated.flatMap { token in withUnsafeBytes(of: token.littleEndian) { Array($0) } }), radix: 16)
    }
  }

  /// Some text, fast tokens, and text again.
  private func prompt(_ length: Int, _ tokens: SlowFastTokens) -> Prompt {
    let after = min(26, length)
    let visual = min(tokens.fast.rows, length - after)
    func text(_ count: Int, from start: Int) -> Prompt.Piece {
      .text((start..<start + count).map { Int32(($0 * 7919 + 13) % model.config.vocabularySize) })
    }
    return Prompt(pieces: [text(length - after - visual, from: 0), .visual(tokens.fast[rows: 0..<visual]), text(after, from: 1000)])
  }
}

extension WeightSource {
  /// What a generated token reads: the weights but those of the slow tokens' keys and values, and the caches.
  func generationBytes(context: Int, slowTokens: Int, cacheType: ScalarType) -> Int {
    let unread = Set(schema.requirements.filter { $0.role == .crossAttention }.map(\.name))
    let layers = schema.decoder.layers
    return residentBytes(schema.decoderNames.filter { !unread.contains($0) })
      + DecoderCaches.byteCount(config: config, layers: layers.count, tokens: context, type: cacheType)
      + DecoderCaches.byteCount(config: config, layers: layers.count { $0.readsSlowTokens }, tokens: slowTokens, type: cacheType)
  }
}
