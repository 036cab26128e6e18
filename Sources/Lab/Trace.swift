import Compute
import Models
import Runtime
import Safetensors
import Support
import Video

/// Every stage's tensors of one run, under the names and with the meaning that the reference implementation's golden files have:
/// `pixel_values` [T,3,S,S], `vision_features` [T,n,C], `projected` [T,n,D], `slow_tokens`, `fast_tokens` [·,D] (where all tokens stand in
/// the prompt, `visual_tokens` instead), `prompt_ids`
/// (−200 marks `<image>`), `hidden_states` [layers+1,L,D] (input embeddings, after each layer, the last one after the final norm),
/// `logits` [L,V], `generated`.
public struct Trace: Sendable {
  /// A tensor of floats.
  public struct Floats: Sendable {
    /// Outermost dimension first.
    public var shape: [Int]
    /// In the shape's order, the last dimension without gaps.
    public var values: [Float]
  }

  /// Tensors by name.
  public var floats: [String: Floats] = [:]
  /// Token ids and positions by name.
  public var integers: [String: [Int32]] = [:]
  /// How it was made.
  public var metadata: [String: String] = [:]

  /// Throws what keeps a trace from being written there, before any work is done.
  public static func check(_ path: String, replacing: Bool = false, inputs: [String] = []) throws(SlowFastError) {
    do throws(OutputError) { try OutputFile.check(path, replacing: replacing, inputs: inputs) } catch { throw SlowFastError(error) }
  }

  /// Writes a safetensors file, under its name only when it is whole. A file that is there is replaced only if `replacing`, none of
  /// `inputs` ever.
  public func write(to path: String, replacing: Bool = false, inputs: [String] = []) throws(SlowFastError) {
    do throws(CheckpointError) {
      var writer = SafetensorsWriter(metadata: metadata)
      for (name, tensor) in floats.sorted(by: { $0.key < $1.key }) { try writer.add(name, shape: tensor.shape, tensor.values) }
      for (name, values) in integers.sorted(by: { $0.key < $1.key }) { try writer.add(name, shape: [values.count], values) }
      try writer.write(to: path, replacing: replacing, inputs: inputs)
    } catch { throw SlowFastError(error) }
  }
}

extension Session {
  /// Runs clips and a question and keeps everything on the way; greedy, `generate` tokens without regard to stop tokens.
  public func trace(
    _ sources: [ClipSource], sampling: SamplingRequest, question: String, generate: Int = 0, progress: @escaping ProgressHandler = { _ in },
    isCancelled: @escaping @Sendable () -> Bool = { false }
  ) throws(SlowFastError) -> Trace {
    try checkPrompt(question, about: sources, sampling: sampling)
    let recorder = TraceRecorder(config: model.config)
    try watch(sources.map { SampledClip($0, sampling) }, progress: progress, isCancelled: isCancelled, observer: recorder)
    let showsPictures = sources.contains { $0.isPicture }
    return try trace(
      question, generate: generate, showsPictures: showsPictures, recorder: recorder, progress: progress, isCancelled: isCancelled)
  }

  /// The second half of a trace: prompt and answer.
  func trace(
    _ question: String, generate: Int, showsPictures: Bool, recorder: TraceRecorder, progress: @escaping ProgressHandler = { _ in },
    isCancelled: @escaping @Sendable () -> Bool
  ) throws(SlowFastError) -> Trace {
    let prompt = try conversation.makePrompt(question, cached: 0)
    guard prompt.tokenCount <= model.config.contextLength else {
      throw .promptTooLong(tokens: prompt.tokenCount, limit: model.config.contextLength)
    }
    let generator = try conversation.readyGenerator(capacity: prompt.tokenCount + generate, progress: progress)
    generator.isCancelled = isCancelled
    // Beside another implementation: rows of the head that no answer may choose are shown, and chosen, as it does.
    generator.answerVocabulary = model.config.vocabularySize
    defer { generator.answerVocabulary = model.answerVocabulary }
    generator.observer = { layer, _, x in recorder.add(layer: layer, x) }
    var logits = try generator.prefill(prompt) { progress(.prefilling(token: $0, of: prompt.tokenCount)) }
    generator.observer = nil
    var greedy = Sampler(GenerationOptions())
    var generated: [Int32] = []
    while generated.count < generate {
      generated.append(greedy.next(logits))
      if generated.count < generate { logits = try generator.step(generated[generated.count - 1]) }
    }
    try model.source.checkUnchanged()
    try recorder.finishPrompt(generator, engine: context.engine)
    var trace = recorder.trace
    trace.integers["prompt_ids"] = prompt.pieces.flatMap { piece in
      switch piece {
      case .text(let ids): return ids
      case .visual(let tokens):
        guard let placeholders = model.config.placeholders else { return [Prompt.imageToken] }
        let id = showsPictures ? placeholders.picture : placeholders.clip
        return Array(repeating: id, count: tokens.rows)
      }
    }
    if generate > 0 { trace.integers["generated"] = generated }
    trace.metadata = ["question": question, "slow_attention": slowAttention.rawValue, "kernels": context.engine.kernels.name]
    return trace
  }
}

/// Collects what the stages show.
final class TraceRecorder: ClipObserver {
  let config: ModelConfig
  var trace = Trace()
  private var frames = 0
  private var features: [Float] = []
  private var featureShape: [Int] = []
  private var projected: [Float] = []
  private var projectedShape: [Int] = []
  private var pixels: [Float] = []
  /// By layer, embeddings first: rows in order.
  private var hidden: [[Float]]
  private var rows = 0

  init(config: ModelConfig) {
    self.config = config
    hidden = Array(repeating: [], count: config.layerCount + 1)
  }

  /// `pixels` `[S², 3]`, channels last.
  private func add(pixels frame: Matrix) {
    frames += 1
    for channel in 0..<3 {
      for position in 0..<frame.rows { pixels.append(frame.row(position)[channel]) }
    }
  }

  func see(_ event: FrameEvent<EncodedFrame>) {
    switch event {
    case .begin: break
    case .frame(let frame):
      add(pixels: frame.pixels)
      features += frame.features.values
      projected += frame.projected.values
      featureShape = [frame.features.rows, frame.features.columns]
      projectedShape = [frame.projected.rows, frame.projected.columns]
    case .repeated:
      frames += 1
      pixels += pixels.suffix(3 * config.imageSize * config.imageSize)
      features += features.suffix(featureShape.reduce(1, *))
      projected += projected.suffix(projectedShape.reduce(1, *))
    case .restart:
      frames = 0
      (pixels, features, projected) = ([], [], [])
    }
  }

  func add(layer: Int, _ x: Matrix) {
    hidden[layer] += x.values
    if layer == 0 { rows += x.rows }
  }

  func finishClip(_ tokens: VisualTokens) {
    let side = config.imageSize
    // Several clips follow each other.
    add("pixel_values", [frames, 3, side, side], pixels)
    add("vision_features", [frames] + featureShape, features)
    add("projected", [frames] + projectedShape, projected)
    if config.sequence == nil {
      add("slow_tokens", [tokens.slow.rows, tokens.slow.columns], tokens.slow.values)
      add("fast_tokens", [tokens.fast.rows, tokens.fast.columns], tokens.fast.values)
    } else {
      add("visual_tokens", [tokens.fast.rows, tokens.fast.columns], tokens.fast.values)
    }
    (frames, pixels, features, projected) = (0, [], [], [])
  }

  private func add(_ name: String, _ shape: [Int], _ values: [Float]) {
    var tensor = trace.floats[name] ?? .init(shape: [0] + shape.dropFirst(), values: [])
    tensor.shape[0] += shape[0]
    tensor.values += values
    trace.floats[name] = tensor
  }

  /// The last layer's rows through the final norm, and the head over them.
  func finishPrompt(_ generator: Generator, engine: Engine) throws(SlowFastError) {
    let (rows, config) = (self.rows, self.config)
    let last = hidden[config.layerCount]
    let block = 64
    var normed: [Float] = []
    var logits: [Float] = []
    try classified { () throws(ComputeError) in
      let x = try Matrix(rows: rows, columns: config.hiddenSize, values: last)
      let output = try Matrix(rows: block, columns: config.vocabularySize)
      for start in stride(from: 0, to: rows, by: block) {
        let range = start..<min(start + block, rows)
        let part = x[rows: range]
        engine.normalize(part, generator.passes.decoder.finalNorm, to: part)
        try engine.linear(part, [LinearProduct(generator.passes.decoder.head, to: output[rows: 0..<range.count])])
        normed += part.values
        logits += output[rows: 0..<range.count].values
      }
    }
    hidden[config.layerCount] = normed
    trace.floats["hidden_states"] = .init(shape: [config.layerCount + 1, rows, config.hiddenSize], values: hidden.flatMap { $0 })
    trace.floats["logits"] = .init(shape: [rows, config.vocabularySize], values: logits)
    hidden = []
  }
}
