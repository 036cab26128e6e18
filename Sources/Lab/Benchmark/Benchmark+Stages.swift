import Compute
import Dispatch
import Foundation
import Measurement
import ModelFile
import Models
import Parallel
import Runtime
import Support
import Synchronization
import Tensors
import Video

extension Benchmark {
  /// Bytes of weights that loading is timed with.
  private static let sampleBytes = 256 << 20

  /// Some of the decoder's tensors, in a packed file and in a raw one.
  mutating func timeLoading() throws(SlowFastError) {
    guard wants(.load) else { return }
    guard model.source is ModelFileSource else { return skip("load", "a checkpoint directory is mapped, not loaded") }
    var names: [String] = []
    var bytes = 0
    for name in model.source.schema.decoderNames {
      let size = model.source.residentBytes([name])
      guard bytes + size <= Self.sampleBytes || names.isEmpty else { continue }
      names.append(name)
      bytes += size
    }
    let directory = NSTemporaryDirectory() + "/slowfast-bench-\(UUID().uuidString)"
    do { try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true) } catch {
      return skip("load", "cannot make \(directory)")
    }
    defer { try? FileManager.default.removeItem(atPath: directory) }
    for (form, compression) in [("zstd", ChunkCompression.smallest), ("raw", .none)] {
      let path = directory + "/" + form + ".sfq"
      do throws(ModelFileError) {
        try ModelFileTransform.rewrite(from: model.path, to: path, compression: compression, only: Set(names), pool: pool)
      } catch { throw SlowFastError(error) }
      let pool = self.pool
      let runs = try measure("load (\(form))") { () throws(SlowFastError) in
        // A reader of its own each time: what is checked once is not checked again.
        do throws(ModelFileError) { _ = try ModelFileReader(path: path).loadAll(of: names, pool: pool) } catch {
          throw SlowFastError(error)
        }
      }
      add("load (\(form))", runs, bytes: bytes)
    }
  }

  /// The tower and the projector, loaded as a session does it; once.
  mutating func loadVision() throws(SlowFastError) -> VisionModel {
    try load("load tower", model.source.schema.visionNames) { source throws(SlowFastError) in try VisionModel(source) }
  }

  mutating func loadDecoder() throws(SlowFastError) -> any Decoder {
    try load("load decoder", model.source.schema.decoderNames) { source throws(SlowFastError) in
      try source.schema.decoder.loaded(LayerBuilder(.decoder, from: source))
    }
  }

  /// Loading where nothing else needs the weights.
  mutating func timeWholeLoads() throws(SlowFastError) {
    guard wants(.load), model.source is ModelFileSource else { return }
    _ = try loadVision()
    _ = try loadDecoder()
  }

  private mutating func load<Part>(
    _ name: String, _ names: [String], _ make: (any WeightSource) throws(SlowFastError) -> Part
  ) throws(SlowFastError) -> Part {
    progress(name)
    let source = model.source
    var part: Part?
    let run = try once { () throws(SlowFastError) in
      try source.preload(names, pool: pool) { _, _ in }
      part = try make(source)
    }
    guard let part else { throw .cancelled }
    if wants(.load), source is ModelFileSource { add(name, [run], bytes: source.residentBytes(names)) }
    return part
  }
}

extension Benchmark {
  /// Frames that are kept to be resized: as much as a few megabytes each.
  private static let keptFrames = 8

  /// Decoding and resizing.
  mutating func timeVideo() throws(SlowFastError) {
    var images: [RGBImage] = []
    if let clip = options.clip, wants(.decode, .resize) {
      var request = SamplingRequest(frames: frames)
      request.frames = clip.frameCount(request)
      let (threads, isCancelled) = (pool.threadCount, isCancelled)
      let kept = wants(.resize) ? Self.keptFrames : 0
      let runs = try measure("decode") { () throws(SlowFastError) in
        images = []
        do throws(VideoError) {
          _ = try clip.sample(request, threads: threads, cancelled: isCancelled) { event in
            switch event {
            case .frame(let frame): if images.count < kept { images.append(frame.image) }
            case .restart: images = []
            case .begin, .repeated: break
            }
          }
        } catch { throw SlowFastError(error, path: clip.path) }
      }
      if wants(.decode) { add("decode", runs, units: request.frames, unit: "frames") }
    } else if wants(.decode) {
      skip("decode", "no clip was given")
    }
    guard wants(.resize) else { return }
    if images.isEmpty { images = [try Self.picture(width: 1280, height: 720)] }
    let preprocessing = try preprocessing()
    let pixels = try pixels()
    let runs = try measure("resize") { () throws(SlowFastError) in
      for image in images { preprocessing.normalize(preprocessing.pixels(image), into: pixels.buffer) }
    }
    add("resize", runs, units: images.count, unit: "frames")
  }

  /// Tower, projector and decoder.
  mutating func timeModel() throws(SlowFastError) {
    // Tokens take memory: none where nothing reads them.
    if options.stages.isSubset(of: [.load, .decode, .resize]) { return try timeWholeLoads() }
    try timeDecoder(timeVision())
  }

  /// Returns a clip's tokens: its one frame again and again.
  private mutating func timeVision() throws(SlowFastError) -> VisualTokens {
    guard wants(.tower, .projector) else {
      if wants(.load) { _ = try loadVision() }
      let hidden = model.config.hiddenSize
      return VisualTokens(
        slow: try slowTokens(try Self.madeUp(rows: layout.slowCount, columns: hidden, seed: 1)),
        fast: try Self.madeUp(rows: layout.fastCount, columns: hidden, seed: 2))
    }
    let vision = try loadVision()
    let pixels = try pixels()
    let preprocessing = try preprocessing()
    let image = preprocessing.pixels(try Self.picture(width: 1280, height: 720))
    preprocessing.normalize(image, into: pixels.buffer)
    let features = try timeTower(vision, pixels)
    if wants(.projector) {
      let runs = try measure("projector") { () throws(SlowFastError) in
        try classified { () throws(ComputeError) in _ = try vision.projector.project(features, on: engine) }
      }
      add("projector", runs, units: 1, unit: "frames", products: vision.projector.products(positions: features.rows))
    }
    let encoder = try ClipEncoder(vision, layout, preprocessing: preprocessing, slowTokens: cacheType, engine: engine)
    var times = StageTimes()
    try encoder.encode(image, times: &times, isCancelled: isCancelled)
    for _ in 1..<frames { encoder.repeatFrame() }
    report.tokensSawTower = true
    return try encoder.finish()
  }

  private mutating func timeTower(_ vision: VisionModel, _ pixels: Matrix) throws(SlowFastError) -> Matrix {
    let stages = vision.tower.stageProducts
    // By stage, a row for each run; the first warms up.
    var parts: [[StageRun]] = Array(repeating: [], count: stages.count)
    var features = pixels
    let runs = try measure("tower") { () throws(SlowFastError) in
      var last = StageRun(wall: monotonicSeconds(), processor: processorSeconds())
      let result = try classified { () throws(ComputeError) in
        try vision.tower.encode(pixels, in: vision.workspace, on: engine, isCancelled: isCancelled) { stage in
          let now = StageRun(wall: monotonicSeconds(), processor: processorSeconds())
          parts[stage].append(StageRun(wall: now.wall - last.wall, processor: now.processor - last.processor))
          last = now
        }
      }
      guard let result else { throw .cancelled }
      features = result
    }
    if wants(.tower) {
      for (stage, products) in stages.enumerated() {
        add("tower, stage \(stage + 1)", Array(parts[stage].dropFirst()), products: products)
      }
      add("tower", runs, units: 1, unit: "frames", products: stages.reduce(0, +))
    }
    return features
  }

  private func preprocessing() throws(SlowFastError) -> Preprocessing { try Preprocessing(model.config.pixels) }

  private func pixels() throws(SlowFastError) -> Matrix {
    let size = model.config.imageSize
    return try classified { () throws(ComputeError) in try Matrix(rows: size * size, columns: 3) }
  }

  /// A picture that differs from place to place, the same each time.
  private static func picture(width: Int, height: Int) throws(SlowFastError) -> RGBImage {
    var generator = SplitMix64(state: 3)
    var bytes: [UInt8] = []
    for y in 0..<height {
      for x in 0..<width {
        let noise = generator.next()
        bytes.append(UInt8(truncatingIfNeeded: (x * 255 / width)) / 2 &+ UInt8(truncatingIfNeeded: noise & 63))
        bytes.append(UInt8(truncatingIfNeeded: (y * 255 / height)) / 2 &+ UInt8(truncatingIfNeeded: noise >> 8 & 63))
        bytes.append(UInt8(truncatingIfNeeded: ((x + y) / 8 % 2) * 127) &+ UInt8(truncatingIfNeeded: noise >> 16 & 63))
      }
    }
    return try classified { () throws(VideoError) in try RGBImage(width: width, height: height, pixels: bytes) }
  }
}

extension Benchmark {
  private func slowTokens(_ rows: Matrix) throws(SlowFastError) -> StoredRows {
    try classified { () throws(ComputeError) in try StoredRows(rows, type: cacheType, on: engine) }
  }

  /// Keys and values of the slow tokens, prompts, and generated tokens.
  mutating func timeDecoder(_ tokens: VisualTokens) throws(SlowFastError) {
    guard wants(.load, .cross, .prefill, .generate) else { return }
    let decoder = try loadDecoder()
    if wants(.cross) { try timeCross(decoder, tokens) }
    guard wants(.prefill, .generate) else { return }
    let limit = min(model.config.contextLength, model.config.maximumPositions)
    let prompts = fitting(options.prompts, within: limit, stage: .prefill)
    let contexts = fitting(options.contexts, within: limit - options.generatedTokens, stage: .generate)
    guard let longest = (prompts + contexts.map { $0 + options.generatedTokens }).max() else { return }
    let passes = DecoderPasses(DecoderWeights(decoder), embedding: try model.source.makeEmbeddingTable(), engine: engine)
    let slow = try passes.readSlow([tokens.slow], type: cacheType)
    let generator = try makeGenerator(passes, slow, capacity: longest)
    for length in prompts { try timePrefill(length, generator, tokens) }
    for context in contexts { try timeGeneration(context, generator, tokens) }
    guard let context = contexts.first else { return }
    for count in options.together {
      var generators: [Generator] = []
      for _ in 0..<count { generators.append(try makeGenerator(passes, slow, capacity: context + options.generatedTokens)) }
      try timeTogether(generators, context, tokens)
    }
  }

  /// Several conversations, each of which makes tokens after `context` others, at the same time.
  private mutating func timeTogether(_ generators: [Generator], _ context: Int, _ tokens: VisualTokens) throws(SlowFastError) {
    let name = "generate after \(context), \(generators.count) at once"
    let count = options.generatedTokens
    let filler = try filler()
    let runs = try measure(name) { () throws(SlowFastError) in
      for generator in generators { fill(generator, to: context, with: filler) }
      let failure = Mutex<SlowFastError?>(nil)
      let all = DispatchGroup()
      for (index, generator) in generators.enumerated() {
        nonisolated(unsafe) let generator = generator
        let work: @Sendable () -> Void = {
          var (left, greedy) = (count, Sampler(GenerationOptions()))
          do throws(SlowFastError) {
            try generator.generate(after: Int32(index)) { logits in
              left -= 1
              return left > 0 ? greedy.next(logits) : nil
            }
          } catch { failure.withLock { $0 = error } }
        }
        all.enter()
        let isStarted = detachThread {
          work()
          all.leave()
        }
        if !isStarted {
          work()
          all.leave()
        }
      }
      all.wait()
      if let error = failure.withLock({ $0 }) { throw error }
    }
    let slow = report.slowAttention == .all ? tokens.slow.rows : 0
    add(
      name, runs, units: generators.count * count, unit: "tokens",
      products: generators.count * count
        * (generators[0].passes.decoder.products(context: context, slowTokens: slow) + generators[0].passes.decoder.headProducts))
  }

  /// Keys and values of nothing in particular.
  private func filler() throws(SlowFastError) -> Matrix {
    try Self.madeUp(rows: 64, columns: 2 * model.config.keyValueHeadCount * model.config.headDimension, seed: 4)
  }

  /// Adds keys and values until there are `count`.
  private func fill(_ generator: Generator, to count: Int, with filler: Matrix) {
    generator.truncate(to: min(generator.position, count))
    for cache in generator.caches.own {
      while cache.count < count {
        cache.append(keys: filler[rows: 0..<min(filler.rows, count - cache.count)], values: nil, interleaved: true, using: engine)
      }
    }
  }

  private func makeGenerator(_ passes: DecoderPasses, _ slow: SlowCaches?, capacity: Int) throws(SlowFastError) -> Generator {
    let generator = try Generator(
      passes, slow: slow, capacity: capacity, cacheType: cacheType, slowAttention: report.slowAttention,
      answerVocabulary: model.answerVocabulary)
    generator.isCancelled = isCancelled
    return generator
  }

  /// The lengths that the model has room for; the others are noted as skipped.
  private mutating func fitting(_ lengths: [Int], within limit: Int, stage: BenchmarkStage) -> [Int] {
    guard wants(stage) else { return [] }
    for length in lengths where length > limit {
      skip("\(stage.rawValue) \(length)", "the model's context has room for \(max(0, limit))")
    }
    return lengths.filter { $0 <= limit }
  }

  private mutating func timeCross(_ decoder: any Decoder, _ tokens: VisualTokens) throws(SlowFastError) {
    guard model.config.hybrid != nil else { return skip("cross", "the model has no hybrid layers") }
    let runs = try measure("cross keys and values") { () throws(SlowFastError) in
      _ = try classified { () throws(ComputeError) in try SlowCaches([tokens.slow], decoder: decoder, type: cacheType, on: engine) }
    }
    add(
      "cross keys and values", runs, units: tokens.slow.rows, unit: "tokens",
      products: decoder.slowProducts(tokens.slow.rows))
  }

  private mutating func timePrefill(_ length: Int, _ generator: Generator, _ tokens: VisualTokens) throws(SlowFastError) {
    let prompt = prompt(length, tokens)
    let runs = try measure("prefill \(length)") { () throws(SlowFastError) in
      generator.truncate(to: 0)
      _ = try generator.prefill(prompt)
    }
    let crossTokens = prompt.crossRanges(config: model.config).reduce(0) { $0 + $1.count }
    add(
      "prefill \(length)", runs, units: length, unit: "tokens",
      products: generator.passes.decoder.prefillProducts(tokens: length, crossTokens: crossTokens, slowTokens: tokens.slow.rows))
  }

  /// Tokens after `context` others, and in turn with them a plain loop over the same weights. The first context's tokens are the report's.
  private mutating func timeGeneration(_ context: Int, _ generator: Generator, _ tokens: VisualTokens) throws(SlowFastError) {
    let prompt = prompt(min(context, 64), tokens)
    let filler = try filler()
    let reading = MemoryReading(generator.passes.decoder.generationWeights.flatMap(\.memory))
    var steps: [StageRun] = []
    var reads: [Double] = []
    var generated: [Int32] = []
    _ = try measure("generate after \(context)", warmsUp: false) { () throws(SlowFastError) in
      generator.truncate(to: 0)
      var logits = try generator.prefill(prompt)
      fill(generator, to: context, with: filler)
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
      products: generator.passes.decoder.products(context: context, slowTokens: slow) + generator.passes.decoder.headProducts,
      bytes: model.source.generationBytes(context: context, slowTokens: slow, cacheType: cacheType),
      readRate: Double(reading.byteCount) / 1e9 / reads.sorted()[reads.count / 2])
    if report.tokens.isEmpty {
      report.tokens = generated
      report.tokenHash = String(checksum(generated.flatMap { token in withUnsafeBytes(of: token.littleEndian) { Array($0) } }), radix: 16)
    }
  }

  /// Some text, fast tokens, and text again.
  private func prompt(_ length: Int, _ tokens: VisualTokens) -> Prompt {
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
  func generationBytes(context: Int, slowTokens: Int, cacheType: KeyValueType) -> Int {
    let unread = Set(schema.requirements.filter { $0.role == .crossAttention }.map(\.name))
    let layers = schema.decoder.layers
    return residentBytes(schema.decoderNames.filter { !unread.contains($0) })
      + DecoderCaches.byteCount(config: config, layers: layers.count, tokens: context, type: cacheType)
      + DecoderCaches.byteCount(config: config, layers: layers.count { $0.readsSlowTokens }, tokens: slowTokens, type: cacheType)
  }
}
