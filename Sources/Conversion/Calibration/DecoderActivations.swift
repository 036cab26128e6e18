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
  private var slow: [Matrix?] = []
  private let workspace: HybridDecoder.Workspace

  /// Encodes the clips with `source`'s tower, all frames of them, and embeds the texts.
  init(_ calibrator: Calibrator, _ source: any WeightSource) throws(SlowFastError) {
    let config = calibrator.model.config
    workspace = try classified { () throws(ComputeError) in try HybridDecoder.Workspace(config: config, tokens: Generator.chunk) }
    let vision = try VisionModel(source)
    let embedding = try calibrator.model.source.makeEmbeddingTable()
    for (index, (clip, visual)) in zip(calibrator.set.clips, try calibrator.clipSources()).enumerated() {
      calibrator.progress(CalibrationProgress(stage: "encoding calibration clips", done: index, total: calibrator.set.clips.count))
      let tokens = try visual.map { visual throws(SlowFastError) in try Self.encode(visual, vision, calibrator) }
      slow.append(tokens?.slow)
      for (question, answer) in Calibrator.texts(of: clip) {
        sequences.append(try Self.sequence(question, answer, tokens, clip: index, embedding, calibrator))
      }
    }
  }

  private static func encode(_ source: ClipSource, _ vision: VisionModel, _ calibrator: Calibrator) throws(SlowFastError) -> SlowFastTokens
  {
    let preprocessing = try Preprocessing(calibrator.model.preprocessing)
    var encoder: ClipEncoder?
    let feed = FrameFeed(
      source: source, sampling: calibrator.sampling, preprocessing: preprocessing, threads: calibrator.engine.pool.threadCount)
    var times = StageTimes()
    _ = try feed.forEach(times: &times, isCancelled: calibrator.isCancelled) { (event, times) throws(SlowFastError) in
      switch event {
      case .begin(let frames): encoder = try ClipEncoder(vision, frames: frames, preprocessing: preprocessing, engine: calibrator.engine)
      case .frame(let image): try encoder?.encode(image, times: &times, isCancelled: calibrator.isCancelled)
      case .repeated: encoder?.repeatFrame()
      case .restart: encoder = nil
      }
    }
    guard let encoder else { throw SlowFastError(VideoError.noFrames(path: "", reason: "nothing was sampled")) }
    return try encoder.finish()
  }

  private static func sequence(
    _ question: String, _ answer: String, _ tokens: SlowFastTokens?, clip: Int, _ embedding: any EmbeddingTable, _ calibrator: Calibrator
  ) throws(SlowFastError) -> Sequence {
    let (config, tokenizer) = (calibrator.model.config, calibrator.model.tokenizer)
    let chat = ChatPrompt(config.promptTemplate, question: question, images: tokens == nil ? 0 : 1)
    let pieces = chat.pieces(tokenizer).map { piece in
      switch piece {
      case .tokens(let ids): Prompt.Piece.text(ids)
      case .image: tokens.map { Prompt.Piece.visual($0.fast) } ?? .text([])
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
    _ unit: CalibrationUnit, _ source: any WeightSource, keepsOutput: Bool, seeing prepared: PreparedUnit?, _ calibrator: Calibrator
  ) throws(SlowFastError) {
    guard case .layer(let index) = unit else {
      if let prepared { try seeHead(prepared, source, calibrator) }
      return
    }
    let layer = try HybridDecoder.Layer(source, index)
    if let prepared { prepared.see(try slots(layer, unit.prefixes[0], calibrator), on: calibrator.engine) }
    var keys: (clip: Int, cache: KeyValueCache)?
    for sequence in sequences {
      try calibrator.checkCancelled()
      try classified { () throws(ComputeError) in
        let slow = slow[sequence.clip]
        if let cross = layer.cross, let slow, keys?.clip != sequence.clip {
          keys = (
            sequence.clip,
            try cross.makeCache(
              slow: slow, inputNorm: layer.inputNorm, config: source.config, type: .float32, on: calibrator.engine)
          )
        }
        try run(
          sequence, keepsOutput ? sequence.x : try sequence.x.copied(), layer, slow == nil ? nil : keys?.cache, source.config,
          calibrator.engine)
      }
    }
  }

  private func run(
    _ sequence: Sequence, _ x: Matrix, _ layer: HybridDecoder.Layer, _ slow: KeyValueCache?, _ config: ModelConfig, _ engine: Engine
  ) throws(ComputeError) {
    let own = try KeyValueCache(heads: config.keyValueHeadCount, headDimension: config.headDimension, capacity: x.rows, type: .float32)
    for start in stride(from: 0, to: x.rows, by: Generator.chunk) {
      let range = start..<min(start + Generator.chunk, x.rows)
      let cross = sequence.crossRanges.map { $0.clamped(to: range) }.map { $0.lowerBound - start..<$0.upperBound - start }
      try layer.run(x[rows: range], position: start, own: own, slow: slow, crossRanges: cross, config: config, in: workspace, on: engine)
    }
  }

  private func slots(_ layer: HybridDecoder.Layer, _ name: String, _ calibrator: Calibrator) throws(SlowFastError) -> [InputSlot] {
    func names(_ parts: [String]) -> [String] { parts.map { name + $0 + ".weight" } }
    var slots = [
      try calibrator.slot(names(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]), layer.query.weight),
      try calibrator.slot(names(["self_attn.o_proj"]), layer.output.weight),
      try calibrator.slot(names(["mlp.gate_proj", "mlp.up_proj"]), layer.gate),
      try calibrator.slot(names(["mlp.down_proj"]), layer.down.weight),
    ]
    if let cross = layer.cross { slots.append(try calibrator.slot(names(["self_attn.cross_attn_kv_proj"]), cross.keyValue.weight)) }
    return slots
  }

  /// What the head takes where a prediction matters.
  private func seeHead(_ prepared: PreparedUnit, _ source: any WeightSource, _ calibrator: Calibrator) throws(SlowFastError) {
    let slot = try calibrator.slot(["lm_head.weight"], try source.matrix(source.schema.headName))
    prepared.see([slot], on: calibrator.engine)
    let norm = try source.vector("model.norm.weight")
    for sequence in sequences {
      try calibrator.checkCancelled()
      try classified { () throws(ComputeError) in
        let rows = try sequence.x[rows: sequence.predicting].copied()
        calibrator.engine.normalize(rows, .rms(weight: norm, epsilon: source.config.rmsNormEpsilon), to: rows)
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
}
