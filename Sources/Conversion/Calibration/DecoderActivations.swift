import Compute
import Models
import Runtime
import Support
import Tokenizer
import Video

/// Questions about clips, with their answers, on their way through the decoder.
final class DecoderActivations {
  /// A question and its answer about one clip.
  private struct Sequence {
    let x: Matrix  // [tokens, hidden]
    let clip: Int
    /// Rows that read the slow tokens.
    let crossRanges: [Range<Int>]
    /// Rows whose predictions matter: from the first text after the clip on.
    let predicting: Range<Int>
  }

  private var sequences: [Sequence] = []
  /// `[slow tokens, hidden]` of each clip; nil for questions about none.
  private var slow: [StoredRows?] = []
  private let workspace: DecoderWorkspace

  /// Encodes the clips with `source`'s tower, all frames of them, and embeds the texts.
  init(_ calibrator: Calibrator, _ source: any WeightSource) throws(SlowFastError) {
    let config = calibrator.model.config
    workspace = try classified { () throws(ComputeError) in try DecoderWorkspace(config: config, tokens: DecoderPasses.chunk) }
    let vision = try VisionModel(source)
    let embedding = try calibrator.model.source.makeEmbeddingTable()
    for (index, (clip, visual)) in zip(calibrator.set.clips, try calibrator.clipSources()).enumerated() {
      calibrator.progress(CalibrationProgress(stage: "encoding calibration clips", done: index, total: calibrator.set.clips.count))
      let shown = try visual.map { visual throws(SlowFastError) in try Self.encode(visual, vision, calibrator) }
      slow.append(shown?.tokens.slow)
      for (question, answer) in Calibrator.texts(of: clip) {
        sequences.append(try Self.sequence(question, answer, shown, clip: index, embedding, calibrator))
      }
    }
  }

  /// What is shown with a question.
  private typealias ShownTokens = (place: PromptPlace, tokens: VisualTokens)

  private static func encode(_ source: ClipSource, _ vision: VisionModel, _ calibrator: Calibrator) throws(SlowFastError) -> ShownTokens {
    let preprocessing = try Preprocessing(calibrator.model.config.pixels)
    var encoder: ClipEncoder?
    let feed = calibrator.views(of: source, preprocessing)
    var times = StageTimes()
    let report = try feed.forEach(times: &times, isCancelled: calibrator.isCancelled) { (event, times) throws(SlowFastError) in
      switch event {
      case .begin(let layout): encoder = try ClipEncoder(vision, layout, preprocessing: preprocessing, engine: calibrator.engine)
      case .view(let image): try encoder?.encode(image, times: &times, isCancelled: calibrator.isCancelled)
      case .repeated: encoder?.repeatFrame()
      case .restart: encoder = nil
      }
    }
    guard let encoder else { throw SlowFastError(VideoError.noFrames(path: "", reason: "nothing was sampled")) }
    let place = calibrator.model.config.place(
      report, rate: report.framesPerSecond, isPicture: feed.isPicture, isAlone: true, towerSide: vision.tower.outputSide)
    return (place, try encoder.finish())
  }

  private static func sequence(
    _ question: String, _ answer: String, _ shown: ShownTokens?, clip: Int, _ embedding: any EmbeddingTable, _ calibrator: Calibrator
  ) throws(SlowFastError) -> Sequence {
    let (config, tokenizer) = (calibrator.model.config, calibrator.model.tokenizer)
    let chat = ChatPrompt(
      config.promptTemplate, question: question, images: shown == nil ? 0 : 1, beginsWithPicture: shown?.place.isPicture == true
    ).showing([shown?.place.texts])
    var visual = (shown.map { $0.place.pieces($0.tokens.fast) } ?? []).makeIterator()
    let pieces = chat.pieces(tokenizer).map { piece in
      switch piece {
      case .tokens(let ids): Prompt.Piece.text(ids)
      case .image: visual.next() ?? .text([])
      }
    }
    // The published inference code lets the prompt's text read the slow tokens, the answer's not.
    let asked = Prompt(pieces: pieces)
    let whole = answer.isEmpty ? asked : Prompt(pieces: pieces + [.text(tokenizer.encode(answer))])
    let count = whole.tokenCount
    guard count <= config.contextLength else { throw .promptTooLong(tokens: count, limit: config.contextLength) }
    let x = try classified { () throws(ComputeError) in try Matrix(rows: count, columns: config.hiddenSize) }
    try whole.fill(x, 0..<count, from: embedding, on: calibrator.engine)
    var afterClip = 0
    var position = 0
    for piece in pieces {
      position += piece.count
      if case .visual = piece { afterClip = position }
    }
    return Sequence(x: x, clip: clip, crossRanges: asked.crossRanges(config: config), predicting: afterClip..<count)
  }

  /// Runs all sequences through one unit of `source`; they become its outputs if it `keepsOutput`.
  func run(
    _ unit: ModelUnit, _ source: any WeightSource, keepsOutput: Bool, seeing prepared: PreparedUnit?, _ calibrator: Calibrator
  ) throws(SlowFastError) {
    let builder = LayerBuilder(.decoder, from: source, unit: unit.index)
    let decoder = try source.schema.decoder.loaded(builder)
    let slots = try prepared == nil ? [] : calibrator.slots(unit, builder)
    prepared?.see(slots, on: calibrator.engine)
    guard unit.index < decoder.layers.count else { return try seeHead(decoder, slots, calibrator) }
    let layer = decoder.layers[unit.index]
    var keys: (clip: Int, cache: KeyValueCache?)?
    for sequence in sequences {
      try calibrator.checkCancelled()
      try classified { () throws(ComputeError) in
        let slow = slow[sequence.clip]
        if let slow, keys?.clip != sequence.clip {
          keys = (sequence.clip, try layer.makeSlowCache([slow], type: .float32, on: calibrator.engine))
        }
        try run(
          sequence, keepsOutput ? sequence.x : try sequence.x.copied(), layer, slow == nil ? nil : keys?.cache, source.config,
          calibrator.engine)
      }
    }
  }

  private func run(
    _ sequence: Sequence, _ x: Matrix, _ layer: any DecoderLayer, _ slow: KeyValueCache?, _ config: ModelConfig, _ engine: Engine
  ) throws(ComputeError) {
    let own = try KeyValueCache(heads: config.keyValueHeadCount, headDimension: config.headDimension, capacity: x.rows, type: .float32)
    for start in stride(from: 0, to: x.rows, by: DecoderPasses.chunk) {
      let range = start..<min(start + DecoderPasses.chunk, x.rows)
      let cross = sequence.crossRanges.map { $0.clamped(to: range) }.map { $0.lowerBound - start..<$0.upperBound - start }
      let part = LayerPart(rows: 0..<range.count, position: start, own: own, slow: slow, crossRanges: cross)
      try layer.run(x[rows: range], [part], in: workspace, on: engine)
    }
  }

  /// What the head takes where a prediction matters; products with all of the vocabulary are not made for it.
  private func seeHead(_ decoder: any Decoder, _ slots: [InputSlot], _ calibrator: Calibrator) throws(SlowFastError) {
    guard let slot = slots.first else { return }
    for sequence in sequences {
      try calibrator.checkCancelled()
      try classified { () throws(ComputeError) in
        let rows = try sequence.x[rows: sequence.predicting].copied()
        calibrator.engine.normalize(rows, decoder.finalNorm, to: rows)
        try slot.statistics?.add(rows, on: calibrator.engine)
      }
    }
  }
}

extension Calibrator {
  /// The clips, opened; nil for questions about none.
  func clipSources() throws(SlowFastError) -> [ClipSource?] {
    var sources: [ClipSource?] = []
    for clip in set.clips { sources.append(try clip.source()) }
    return sources
  }

  /// What becomes of a clip or a picture, at most.
  func layout(of source: ClipSource) -> any VisualLayout {
    let (config, side) = (model.config, model.source.schema.tower.outputSide)
    return config.layout(config.shown(source, sampling, isAlone: true, towerSide: side), towerSide: side)
  }

  /// A clip's views, or a picture's: each is alone in its conversation.
  func views(of source: ClipSource, _ preprocessing: Preprocessing) -> ViewFeed {
    ViewFeed(
      source, model.config, towerSide: model.source.schema.tower.outputSide, isAlone: true, sampling: sampling,
      preprocessing: preprocessing, threads: engine.pool.threadCount)
  }
}
