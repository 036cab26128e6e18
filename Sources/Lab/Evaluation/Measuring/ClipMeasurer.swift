import Conversion
import Foundation
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
    sampling = SamplingRequest(frames: options.frames ?? model.defaultFrameCount, rule: options.sampling)
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
