import Conversion
import Foundation
import Runtime

/// Adds up the records of one model.
struct Tally {
  /// What one clip adds.
  private struct ClipSums {
    var right = 0
    var questions = 0
    var closedRight = 0
    var closed = 0
    var divergence = 0.0
    var tokens = 0
    /// Questions gained less questions lost.
    var change = 0
  }

  /// Kinds of questions that have more than one right answer.
  let descriptions: Set<String>
  private var clips = 0
  private var sums: [ClipSums] = []
  private var divergences: [Double] = []
  private var agreements = 0
  private var logProbability = 0.0
  private var tokens = 0
  private var kinds: [String: (right: Int, total: Int)] = [:]
  private var changes: [AnswerChange] = []
  private var features: [(stage: String, cosine: Double, relative: Double, count: Int)] = []
  private var times = StageTimes()
  private var peakEncoding: Int?
  private var peakAnswering: Int?
  private var speeds: [Double] = []

  init(descriptions: Set<String>) { self.descriptions = descriptions }

  /// `baseline` is the baseline's record of the same clip; nil for the baseline itself.
  mutating func add(_ record: ClipRecord, of clip: EvaluationSet.Clip, baseline: ClipRecord?) {
    clips += clip.path == nil ? 0 : 1
    var sum = ClipSums()
    for (question, result) in zip(clip.questions, record.questions) {
      let right = result.isRight ? 1 : 0
      sum.questions += 1
      sum.right += right
      if !descriptions.contains(question.kind) {
        sum.closed += 1
        sum.closedRight += right
      }
      kinds[question.kind, default: (0, 0)].total += 1
      kinds[question.kind, default: (0, 0)].right += right
      tokens += result.logProbabilities.values.count
      logProbability += result.logProbabilities.values.reduce(0) { $0 + Double($1) }
      let found = result.divergences?.values.map(Double.init) ?? []
      divergences += found
      sum.divergence += found.reduce(0, +)
      sum.tokens += found.count
      agreements += result.agreements ?? 0
    }
    for ((question, result), before) in zip(zip(clip.questions, record.questions), baseline?.questions ?? [])
    where result.isRight != before.isRight {
      sum.change += result.isRight ? 1 : -1
      changes.append(
        AnswerChange(
          isGained: result.isRight, video: clip.video, question: question.question, answer: question.answer, kind: question.kind,
          line: question.line))
    }
    sums.append(sum)
    for error in record.featureErrors ?? [] { add(error) }
    times.add(record.times)
    peakEncoding = [peakEncoding, record.peakEncodingBytes].compactMap { $0 }.max()
    peakAnswering = [peakAnswering, record.peakAnsweringBytes].compactMap { $0 }.max()
    if let speed = record.tokensPerSecond { speeds.append(speed) }
  }

  private mutating func add(_ error: FeatureError) {
    guard let place = features.firstIndex(where: { $0.stage == error.stage }) else {
      return features.append((error.stage, error.cosine, error.relative, 1))
    }
    features[place].cosine += error.cosine
    features[place].relative += error.relative
    features[place].count += 1
  }

  func result(_ name: String, isBaseline: Bool) -> ModelResult {
    let intervals = ClipBootstrap.intervals([
      sums.map { (Double($0.right), Double($0.questions)) }, sums.map { (Double($0.closedRight), Double($0.closed)) },
      sums.map { ($0.divergence, Double($0.tokens)) }, sums.map { (Double($0.change), Double($0.questions)) },
    ])
    let right = sums.reduce(0) { $0 + $1.right }
    let closed = sums.reduce(0) { $0 + $1.closed }
    let closedRight = sums.reduce(0) { $0 + $1.closedRight }
    var result = ModelResult(
      name: name, clips: clips, exactMatch: Proportion(right, of: questionCount), closed: Proportion(closedRight, of: closed),
      kinds: kinds.sorted { $0.key < $1.key }.map {
        KindResult(kind: $0.key, isDescription: descriptions.contains($0.key), exactMatch: Proportion($0.value.right, of: $0.value.total))
      },
      features: features.map {
        FeatureError(stage: $0.stage, cosine: $0.cosine / Double($0.count), relative: $0.relative / Double($0.count))
      },
      stages: times.stages.map { StageResult(stage: $0.name, seconds: $0.seconds) })
    result.exactMatchInterval = intervals[0]
    result.closedInterval = intervals[1]
    if closed < questionCount { result.descriptions = Proportion(right - closedRight, of: questionCount - closed) }
    result.perplexity = tokens > 0 ? exp(-logProbability / Double(tokens)).orNil : nil
    result.tokensPerSecond = speeds.sorted().quantile(0.5)
    result.peakEncodingBytes = peakEncoding
    result.peakAnsweringBytes = peakAnswering
    if isBaseline { return result }
    result.divergence = Divergence(divergences, meanInterval: intervals[2])
    result.topAgreement = Proportion(agreements, of: divergences.count)
    let gained = changes.count(where: \.isGained)
    result.gained = gained
    result.lost = changes.count - gained
    result.pValue = PairedTest.probability(gained: gained, lost: changes.count - gained)
    result.change = intervals[3]
    result.changes = changes
    return result
  }

  var questionCount: Int { sums.reduce(0) { $0 + $1.questions } }
  var tokenCount: Int { tokens }
}

extension Divergence {
  init(_ values: [Double], meanInterval: Interval? = nil) {
    let sorted = values.sorted()
    self.init(mean: values.isEmpty ? nil : (values.reduce(0, +) / Double(values.count)).orNil)
    self.meanInterval = meanInterval
    median = sorted.quantile(0.5)
    percentile99 = sorted.quantile(0.99)
    maximum = sorted.last?.orNil
  }
}

extension Double {
  /// nil for what JSON has no number for.
  fileprivate var orNil: Double? { isFinite ? self : nil }
}

extension StageTimes {
  private static var all: [(name: String, path: WritableKeyPath<StageTimes, Double>)] {
    [
      ("load tower", \.loadVision), ("decode", \.decode), ("wait for frames", \.frameWait), ("resize", \.resize), ("tower", \.tower),
      ("projector", \.projector),
      ("load decoder", \.loadDecoder), ("cross keys/values", \.crossKeyValues), ("prompts", \.prefill), ("answers", \.generate),
    ]
  }

  var stages: [(name: String, seconds: Double)] { Self.all.map { ($0.name, self[keyPath: $0.path]) } }

  mutating func add(_ other: StageTimes) {
    for (_, path) in Self.all { self[keyPath: path] += other[keyPath: path] }
  }
}
