import Compute
import Conversion
import Foundation
import Models
import Runtime
import Support
import Video

/// Runs one model over clips and their questions.
struct ClipMeasurer {
  let session: Session
  let sampling: SamplingRequest
  let maximumTokens: Int
  let isCancelled: @Sendable () -> Bool

  private static let timedTokens = 16

  init(_ model: VideoLanguageModel, _ options: ComparisonOptions, isCancelled: @escaping @Sendable () -> Bool) throws(SlowFastError) {
    var session = SessionOptions()
    session.threads = options.threads
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

  /// The baseline's record: distributions, and features if `keepsFeatures`.
  func measureBaseline(_ clip: EvaluationSet.Clip, index: Int, keepsFeatures: Bool) throws(SlowFastError) -> ClipRecord {
    var distributions: [[SparseDistribution]] = clip.questions.map { _ in [] }
    var record = try measure(clip, index: index, keepsFeatures: keepsFeatures) { question, _, logits in
      distributions[question].append(SparseDistribution(logits))
    }
    for question in record.questions.indices { record.questions[question].distributions = distributions[question] }
    return record
  }

  /// Another model's record beside the baseline's of the same clip, which has not failed.
  func measure(_ clip: EvaluationSet.Clip, beside baseline: ClipRecord) throws(SlowFastError) -> ClipRecord {
    var divergences: [[Float]] = clip.questions.map { _ in [] }
    var agreements = clip.questions.map { _ in 0 }
    var record = try measure(clip, index: baseline.clip, keepsFeatures: baseline.features != nil) { question, _, logits in
      let place = divergences[question].count
      guard let known = baseline.questions[question].distributions, place < known.count else { return }
      divergences[question].append(Float(known[place].divergence(of: logits)))
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
    _ clip: EvaluationSet.Clip, index: Int, keepsFeatures: Bool, onLogits: (Int, Int32, UnsafeBufferPointer<Float>) -> Void
  ) throws(SlowFastError) -> ClipRecord {
    do throws(SlowFastError) {
      return try measureWhole(clip, index: index, keepsFeatures: keepsFeatures, onLogits: onLogits)
    } catch {
      guard error.kind == .invalidClip || error.kind == .promptTooLong else { throw error }
      return ClipRecord(clip: index, failure: "\(error)")
    }
  }

  private func measureWhole(
    _ clip: EvaluationSet.Clip, index: Int, keepsFeatures: Bool, onLogits: (Int, Int32, UnsafeBufferPointer<Float>) -> Void
  ) throws(SlowFastError) -> ClipRecord {
    var record = ClipRecord(clip: index)
    let sources = try clip.source().map { [$0] } ?? []
    var sampler: FeatureSampler?
    let plan = clip.questions.first.map { session.plan(sources, sampling: sampling, question: $0.question, maximumTokens: 1) }
    if keepsFeatures, let plan { sampler = FeatureSampler(config: session.model.config, frames: plan.frames) }
    PeakMemory.reset()
    try session.watch(sources, sampling: sampling, isCancelled: isCancelled, observer: sampler)
    // The plan knows the most frames that there may be.
    if let plan { sampler?.choosePositions(of: plan.promptTokens - plan.fastTokens + session.statistics.fastTokens) }
    record.peakEncodingBytes = RunStatistics.peakResidentBytes
    PeakMemory.reset()
    var logProbabilities: [[Float]] = clip.questions.map { _ in [] }
    let answers = try session.score(
      clip.questions, maximumTokens: maximumTokens, observer: sampler.map { sampler in { sampler.add(layer: $0, position: $1, $2) } },
      isCancelled: isCancelled
    ) { question, token, logits in
      logProbabilities[question].append(Float(Double(logits[Int(token)]) - LogSum(logits).value))
      onLogits(question, token, logits)
    }
    record.peakAnsweringBytes = RunStatistics.peakResidentBytes
    record.questions = zip(answers, logProbabilities).map { QuestionRecord(isRight: $0.isRight, logProbabilities: PackedFloats($1)) }
    record.features = sampler?.sample
    record.times = session.statistics.times
    if keepsFeatures { record.tokensPerSecond = try session.generationSpeed(tokens: Self.timedTokens) }
    return record
  }
}

/// What a model makes of a question whose answer is given.
package struct ScoredAnswer {
  /// The given answer's tokens and the token that ends a turn.
  package var tokens: [Int32]
  /// Whether the model's own answer, always its likeliest token, is the given one.
  package var isRight: Bool
}

extension Session {
  /// Asks about the clips one question after the other, each as if it were the only one, with the answer given: `onLogits` gets, for the
  /// question of that index, the logits `[vocabulary]` from which each token of its answer would be chosen (the end included), valid
  /// during the call. The prompt up to the questions goes through the decoder once.
  ///
  /// To be called after `watch`, before any question. `observer` sees the first question's prompt, as a generator's does.
  package func score(
    _ questions: [EvaluationSet.Question], maximumTokens: Int, observer: ((_ layer: Int, _ position: Int, _ x: Matrix) -> Void)? = nil,
    isCancelled: @escaping @Sendable () -> Bool = { false },
    onLogits: (_ question: Int, _ token: Int32, _ logits: UnsafeBufferPointer<Float>) -> Void
  ) throws(SlowFastError) -> [ScoredAnswer] {
    let endOfTurn = try endOfTurnToken()
    let prompts = questions.map { conversation.promptHalves($0.question) }.map {
      (opening: Prompt(pieces: $0.before), rest: Prompt(pieces: $0.after, followsVisual: !conversation.clips.isEmpty))
    }
    let lengths = prompts.map { $0.opening.tokenCount + $0.rest.tokenCount }
    let answers = questions.map { model.tokenizer.encode($0.answer) + [endOfTurn] }
    let longest = zip(lengths, answers).map { $0 + max($1.count, maximumTokens) }.max() ?? 0
    for (length, answer) in zip(lengths, answers) where length + answer.count > model.config.contextLength {
      throw .promptTooLong(tokens: length + answer.count, limit: model.config.contextLength)
    }
    let room = min(longest, model.config.maximumPositions)
    let generator = try conversation.readyGenerator(capacity: room, progress: { _ in })
    try generator.reserve(room)
    generator.truncate(to: 0)
    generator.isCancelled = isCancelled
    generator.observer = observer
    defer {
      generator.isCancelled = { false }
      generator.observer = nil
      generator.truncate(to: 0)
    }
    var results: [ScoredAnswer] = []
    var shared = 0
    for (index, prompt) in prompts.enumerated() {
      if index == 0, prompt.opening.tokenCount > 0 {
        _ = try statistics.times.measure(\.prefill) { () throws(SlowFastError) in try generator.prefill(prompt.opening) }
        shared = generator.position
      }
      generator.truncate(to: shared)
      let first = try statistics.times.measure(\.prefill) { () throws(SlowFastError) in try generator.prefill(prompt.rest) }
      generator.observer = nil
      let answer = answers[index]
      results.append(
        try statistics.times.measure(\.generate) { () throws(SlowFastError) in
          try score(answer, text: questions[index].answer, after: first, on: generator, maximumTokens: maximumTokens) {
            onLogits(index, $0, $1)
          }
        })
    }
    return results
  }

  /// One answer, after its prompt.
  private func score(
    _ answer: [Int32], text: String, after first: UnsafeBufferPointer<Float>, on generator: Generator, maximumTokens: Int,
    onLogits: (_ token: Int32, _ logits: UnsafeBufferPointer<Float>) -> Void
  ) throws(SlowFastError) -> ScoredAnswer {
    let start = generator.position
    var greedy = Sampler(GenerationOptions())
    // Where the model's own answer leaves the given one, and with which token.
    var parting: (index: Int, token: Int32)?
    var index = 0
    func take(_ logits: UnsafeBufferPointer<Float>) {
      onLogits(answer[index], logits)
      let own = greedy.next(logits)
      if own != answer[index], parting == nil { parting = (index, own) }
      index += 1
    }
    take(first)
    try generator.force(answer.dropLast(), body: take)
    guard let parting else { return ScoredAnswer(tokens: answer, isRight: true) }
    // Other tokens may still spell the same text.
    generator.truncate(to: start + parting.index)
    var said = Array(answer[..<parting.index])
    var next = parting.token
    while !model.generationDefaults.stopTokens.contains(next) {
      said.append(next)
      // A character that is not whole yet is no other character.
      let spelled = model.tokenizer.decode(said, skipSpecial: true).trimmedOfSpace.prefix(while: { $0 != "\u{FFFD}" })
      guard said.count < maximumTokens, generator.position < generator.capacity, text.trimmedOfSpace.hasPrefix(spelled) else {
        return ScoredAnswer(tokens: answer, isRight: false)
      }
      next = greedy.next(try generator.step(next))
    }
    return ScoredAnswer(tokens: answer, isRight: model.tokenizer.decode(said, skipSpecial: true).trimmedOfSpace == text.trimmedOfSpace)
  }

  private func endOfTurnToken() throws(SlowFastError) -> Int32 {
    let end = model.config.promptTemplate.turnEnd
    guard let token = model.tokenizer.id(of: end) else { throw .missingToken(end) }
    return token
  }
}

extension String {
  /// Without white space at both ends.
  var trimmedOfSpace: String {
    let start = drop { $0.isWhitespace }
    let end = start.lastIndex { !$0.isWhitespace }
    return end.map { String(start[...$0]) } ?? ""
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
  /// Forgets the peak so far, where the system can do that; else later peaks are at least the former ones.
  static func reset() {
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
