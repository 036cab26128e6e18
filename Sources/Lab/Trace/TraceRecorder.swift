import Compute
import Models
import Runtime
import Support
import Video

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

  func finishClip(_ tokens: SlowFastTokens) {
    let side = config.imageSize
    trace.floats["pixel_values"] = .init(shape: [frames, 3, side, side], values: pixels)
    trace.floats["vision_features"] = .init(shape: [frames] + featureShape, values: features)
    trace.floats["projected"] = .init(shape: [frames] + projectedShape, values: projected)
    trace.floats["slow_tokens"] = .init(shape: [tokens.slow.rows, tokens.slow.columns], values: tokens.slow.values)
    trace.floats["fast_tokens"] = .init(shape: [tokens.fast.rows, tokens.fast.columns], values: tokens.fast.values)
    (pixels, features, projected) = ([], [], [])
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
        engine.normalize(part, generator.decoder.finalNorm, to: part)
        try engine.linear(part, [LinearProduct(generator.decoder.head, to: output[rows: 0..<range.count])])
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
