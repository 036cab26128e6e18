import Compute
import Conversion
import Foundation
import Models
import Runtime
import Support
import Video

#if canImport(Glibc)
  import Glibc
#endif

/// Runs one model over clips and their questions.
struct ClipMeasurer {
  let session: Session
  let sampling: SamplingRequest
  let maximumTokens: Int
  /// Of all clips, by their places in the evaluation set.
  let frames: KeptFrames
  /// Nothing else is measured at the same time, so memory is this model's.
  let isAlone: Bool
  let isCancelled: @Sendable () -> Bool

  private static let timedTokens = 16

  /// `threads`: nil as many as the options say; else others measure other clips meanwhile.
  init(
    _ model: VideoLanguageModel, _ options: ComparisonOptions, threads: Int? = nil, frames: KeptFrames,
    isCancelled: @escaping @Sendable () -> Bool
  ) throws(SlowFastError) {
    (self.frames, isAlone) = (frames, threads == nil)
    var session = SessionOptions()
    session.threads = threads ?? options.threads
    session.slowAttention = options.slowAttention
    session.keepsWeights = Self.fitsInMemory(model)
    self.session = try Session(model, options: session)
    sampling = SamplingRequest(frames: options.frames ?? model.defaultFrameCount, rule: options.sampling ?? model.defaultSampling.rule)
    maximumTokens = options.maximumTokens
    self.isCancelled = isCancelled
  }

  /// Whether tower and decoder together leave half of the memory free.
  private static func fitsInMemory(_ model: VideoLanguageModel) -> Bool {
    guard let available = MemoryPlan.availableBytes() else { return false }
    let schema = model.source.schema
    return model.source.residentBytes(schema.visionNames + schema.decoderNames) < available / 2
  }

  /// The most memory so far, without the frames that are kept for other models; nil where others take memory, too.
  private var peakBytes: Int? { isAlone ? RunStatistics.peakResidentBytes.map { $0 - frames.byteCount } : nil }

  /// The baseline's record: distributions, and features if `keepsFeatures`.
  func measureBaseline(_ clip: EvaluationSet.Clip, index: Int, keepsFeatures: Bool) throws(SlowFastError) -> ClipRecord {
    var distributions: [[SparseDistribution]] = clip.questions.map { _ in [] }
    var record = try measure(clip, index: index, keepsFeatures: keepsFeatures) { question, logits, total in
      distributions[question].append(SparseDistribution(logits, total))
    }
    for question in record.questions.indices { record.questions[question].distributions = distributions[question] }
    return record
  }

  /// Another model's record beside the baseline's of the same clip, which has not failed.
  func measure(_ clip: EvaluationSet.Clip, beside baseline: ClipRecord) throws(SlowFastError) -> ClipRecord {
    var divergences: [[Float]] = clip.questions.map { _ in [] }
    var agreements = clip.questions.map { _ in 0 }
    var record = try measure(clip, index: baseline.clip, keepsFeatures: baseline.features != nil) { question, logits, total in
      let place = divergences[question].count
      guard let known = baseline.questions[question].distributions, place < known.count else { return }
      divergences[question].append(Float(known[place].divergence(of: logits, total)))
      var greedy = Sampler(GenerationOptions())
      if greedy.next(logits) == known[place].tokens.first { agreements[question] += 1 }
    }
    for question in record.questions.indices {
      record.questions[question].divergences = PackedFloats(divergences[question])
      record.questions[question].agreements = agreements[question]
    }
    if let features = record.features, let known = baseline.features { record.featureErrors = features.errors(against: known) }
    record.features = nil
    return record
  }

  /// A clip that cannot be decoded, or a question that is too long, makes a record of its failure; everything else is thrown.
  private func measure(
    _ clip: EvaluationSet.Clip, index: Int, keepsFeatures: Bool, onLogits: (Int, UnsafeBufferPointer<Float>, LogSum) -> Void
  ) throws(SlowFastError) -> ClipRecord {
    do throws(SlowFastError) {
      return try measureWhole(clip, index: index, keepsFeatures: keepsFeatures, onLogits: onLogits)
    } catch {
      guard error.kind == .invalidClip || error.kind == .promptTooLong else { throw error }
      return ClipRecord(clip: index, failure: "\(error)")
    }
  }

  private func measureWhole(
    _ clip: EvaluationSet.Clip, index: Int, keepsFeatures: Bool, onLogits: (Int, UnsafeBufferPointer<Float>, LogSum) -> Void
  ) throws(SlowFastError) -> ClipRecord {
    var record = ClipRecord(clip: index)
    let sources = try clip.source().map { [$0] } ?? []
    let clips = sources.map { source in
      var clip = SampledClip(source, sampling)
      clip.kept = (frames, index)
      return clip
    }
    var sampler: FeatureSampler?
    // Clips are opened for it.
    let first = keepsFeatures ? clip.questions.first : nil
    let plan = first.map { session.plan(sources, sampling: sampling, question: $0.question, maximumTokens: 1) }
    if let plan { sampler = FeatureSampler(config: session.model.config, frames: plan.frames) }
    if isAlone { PeakMemory.reset() }
    try session.watch(clips, isCancelled: isCancelled, observer: sampler)
    // The plan knows the most frames that there may be.
    if let plan { sampler?.choosePositions(of: plan.promptTokens - plan.fastTokens + session.statistics.fastTokens) }
    record.peakEncodingBytes = peakBytes
    if isAlone { PeakMemory.reset() }
    var logProbabilities: [[Float]] = clip.questions.map { _ in [] }
    let answers = try session.score(
      clip.questions, maximumTokens: maximumTokens, observer: sampler.map { sampler in { sampler.add(layer: $0, position: $1, $2) } },
      isCancelled: isCancelled, onFirst: isAlone ? { record.peakAnsweringBytes = peakBytes } : nil
    ) { question, token, logits in
      let total = LogSum(logits)
      logProbabilities[question].append(Float(Double(logits[Int(token)]) - total.value))
      onLogits(question, logits, total)
    }
    record.questions = zip(answers, logProbabilities).map { QuestionRecord(isRight: $0.isRight, logProbabilities: PackedFloats($1)) }
    record.features = sampler?.sample
    record.times = session.statistics.times
    if keepsFeatures, isAlone { record.tokensPerSecond = try session.generationSpeed(tokens: Self.timedTokens) }
    return record
  }
}

extension Session {
  /// Tokens a second that the decoder makes one after the other, with nothing of a conversation before them. To be called after `watch`.
  package func generationSpeed(tokens: Int) throws(SlowFastError) -> Double {
    let generator = try conversation.readyGenerator(capacity: tokens + 1, progress: { _ in })
    try generator.reserve(tokens + 1)
    generator.truncate(to: 0)
    defer { generator.truncate(to: 0) }
    // What a weight's first use takes is not counted.
    _ = try generator.step(0)
    let start = StageTimes.now
    for _ in 0..<tokens { _ = try generator.step(0) }
    return Double(tokens) / max(StageTimes.now - start, 1e-9)
  }
}

/// The most memory of a stretch of work.
enum PeakMemory {
  /// Forgets the peak so far, where the system can do that; else later peaks are at least the former ones. What was given back is given
  /// back to the system first: it is no longer in use.
  static func reset() {
    #if canImport(Glibc)
      // Its header is in no module.
      typealias Trim = @convention(c) (Int) -> Int32
      if let symbol = dlsym(nil, "malloc_trim") { _ = unsafeBitCast(symbol, to: Trim.self)(0) }
    #endif
    guard let file = FileHandle(forWritingAtPath: "/proc/self/clear_refs") else { return }
    try? file.write(contentsOf: Data("5".utf8))
    try? file.close()
  }
}

/// Some rows of what each stage shows of a clip: the same ones for every model, so that they can be compared.
struct FeatureSample: Codable, Equatable {
  struct Stage: Codable, Equatable {
    /// `tower`, `projector`, `embedding`, `layer 1`, …
    var name: String
    var columns: Int
    var rows: PackedFloats
  }
  var stages: [Stage]

  /// Rows of the tower's and the projector's maps that are kept of a clip, and positions of its prompt.
  static let visionRows = 32
  static let promptRows = 16
}

/// How far a stage of one model is from that of another, as means over the rows that are kept.
public struct FeatureError: Codable, Sendable, Equatable {
  /// `tower`, `projector`, `layer 1`, …
  public var stage: String
  /// Cosine between the rows.
  public var cosine: Double
  /// ‖row − baseline's‖ / ‖baseline's‖.
  public var relative: Double
}

extension FeatureSample {
  /// This sample's distance from the baseline's, stage by stage; stages that do not fit are left out.
  func errors(against baseline: FeatureSample) -> [FeatureError] {
    stages.compactMap { stage in
      guard let other = baseline.stages.first(where: { $0.name == stage.name }), other.columns == stage.columns, stage.columns > 0,
        other.rows.values.count == stage.rows.values.count
      else { return nil }
      return Self.error(stage.name, stage.rows.values, other.rows.values, columns: stage.columns)
    }
  }

  private static func error(_ stage: String, _ values: [Float], _ baseline: [Float], columns: Int) -> FeatureError? {
    var (cosines, relatives, count) = (0.0, 0.0, 0)
    for start in stride(from: 0, to: values.count, by: columns) {
      var (dot, own, other, difference) = (0.0, 0.0, 0.0, 0.0)
      for index in start..<start + columns {
        let (x, y) = (Double(values[index]), Double(baseline[index]))
        dot += x * y
        own += x * x
        other += y * y
        difference += (x - y) * (x - y)
      }
      guard own > 0, other > 0, difference.isFinite else { continue }
      cosines += min(1, dot / (own * other).squareRoot())
      relatives += (difference / other).squareRoot()
      count += 1
    }
    return count == 0 ? nil : FeatureError(stage: stage, cosine: cosines / Double(count), relative: relatives / Double(count))
  }
}

/// Collects a sample while a clip and its first question go through a model.
final class FeatureSampler: ClipObserver {
  private let rowsOfFrame: Int
  private var positions: Set<Int> = []
  private let layers: Int
  private var features: [Float] = []
  private var featureColumns = 0
  private var projected: [Float] = []
  private var projectedColumns = 0
  /// By layer, the input embeddings first.
  private var hidden: [[Float]]
  private var hiddenColumns = 0

  /// For a clip of at most so many frames.
  init(config: ModelConfig, frames: Int) {
    rowsOfFrame = max(1, FeatureSample.visionRows / max(1, frames))
    layers = config.layerCount
    hidden = Array(repeating: [], count: config.layerCount + 1)
  }

  /// When the clip is encoded and the length of the first question's prompt is known.
  func choosePositions(of promptTokens: Int) {
    let rows = min(FeatureSample.promptRows, promptTokens)
    // Evenly, and the last one, from which the answer's first token is read.
    positions = Set((0..<rows).map { promptTokens - 1 - $0 * promptTokens / rows })
  }

  func finishClip(_ tokens: VisualTokens) {}

  func see(_ event: FrameEvent<EncodedFrame>) {
    switch event {
    case .begin, .repeated: break
    case .frame(let frame): add(frame)
    case .restart: (features, projected) = ([], [])
    }
  }

  private func add(_ frame: EncodedFrame) {
    featureColumns = frame.features.columns
    projectedColumns = frame.projected.columns
    let count = min(rowsOfFrame, frame.features.rows)
    for index in 0..<count {
      let row = index * frame.features.rows / count
      features += UnsafeBufferPointer(start: frame.features.row(row), count: frame.features.columns)
      projected += UnsafeBufferPointer(start: frame.projected.row(row), count: frame.projected.columns)
    }
  }

  /// As a generator's observer.
  func add(layer: Int, position: Int, _ x: Matrix) {
    hiddenColumns = x.columns
    for row in 0..<x.rows where positions.contains(position + row) {
      hidden[layer] += UnsafeBufferPointer(start: x.row(row), count: x.columns)
    }
  }

  var sample: FeatureSample {
    var stages = [
      FeatureSample.Stage(name: "tower", columns: featureColumns, rows: PackedFloats(features)),
      FeatureSample.Stage(name: "projector", columns: projectedColumns, rows: PackedFloats(projected)),
    ]
    for (layer, values) in hidden.enumerated() {
      let name = layer == 0 ? "embedding" : "layer \(layer)"
      stages.append(.init(name: name, columns: hiddenColumns, rows: PackedFloats(values)))
    }
    return FeatureSample(stages: stages)
  }
}
