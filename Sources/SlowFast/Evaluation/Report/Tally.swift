import Foundation

/// Adds up the records of one model.
struct Tally {
  private var clips = 0
  private var divergences: [Double] = []
  private var agreements = 0
  private var logProbability = 0.0
  private var tokens = 0
  private var right = 0
  private var questions = 0
  private var kinds: [String: (right: Int, total: Int)] = [:]
  private var gained = 0
  private var lost = 0
  private var features: [(stage: String, cosine: Double, relative: Double, count: Int)] = []
  private var times = StageTimes()
  private var peakEncoding: Int?
  private var peakAnswering: Int?

  /// `baseline` is the baseline's record of the same clip; nil for the baseline itself.
  mutating func add(_ record: ClipRecord, of clip: EvaluationSet.Clip, baseline: ClipRecord?) {
    clips += clip.path == nil ? 0 : 1
    for (index, result) in record.questions.enumerated() {
      questions += 1
      right += result.isRight ? 1 : 0
      let kind = clip.questions[index].kind
      kinds[kind, default: (0, 0)].total += 1
      kinds[kind, default: (0, 0)].right += result.isRight ? 1 : 0
      tokens += result.logProbabilities.values.count
      logProbability += result.logProbabilities.values.reduce(0) { $0 + Double($1) }
      divergences += result.divergences?.values.map(Double.init) ?? []
      agreements += result.agreements ?? 0
      guard let before = baseline?.questions[index].isRight else { continue }
      gained += result.isRight && !before ? 1 : 0
      lost += !result.isRight && before ? 1 : 0
    }
    for error in record.featureErrors ?? [] { add(error) }
    times.add(record.times)
    peakEncoding = [peakEncoding, record.peakEncodingBytes].compactMap { $0 }.max()
    peakAnswering = [peakAnswering, record.peakAnsweringBytes].compactMap { $0 }.max()
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
    ModelResult(
      name: name, clips: clips, divergence: isBaseline ? nil : Divergence(divergences),
      topAgreement: isBaseline ? nil : Proportion(agreements, of: divergences.count),
      perplexity: tokens > 0 ? exp(-logProbability / Double(tokens)).orNil : nil, exactMatch: Proportion(right, of: questions),
      kinds: kinds.sorted { $0.key < $1.key }.map { KindResult(kind: $0.key, exactMatch: Proportion($0.value.right, of: $0.value.total)) },
      gained: isBaseline ? nil : gained, lost: isBaseline ? nil : lost,
      features: features.map {
        FeatureError(stage: $0.stage, cosine: $0.cosine / Double($0.count), relative: $0.relative / Double($0.count))
      },
      stages: times.stages.map { StageResult(stage: $0.name, seconds: $0.seconds) }, peakEncodingBytes: peakEncoding,
      peakAnsweringBytes: peakAnswering)
  }

  var questionCount: Int { questions }
  var tokenCount: Int { tokens }
}

extension Divergence {
  init(_ values: [Double]) {
    let sorted = values.sorted()
    /// By linear interpolation between neighbours.
    func quantile(_ share: Double) -> Double? {
      guard let last = sorted.indices.last else { return nil }
      let place = share * Double(last)
      let below = Int(place)
      let above = min(last, below + 1)
      return (sorted[below] + (place - Double(below)) * (sorted[above] - sorted[below])).orNil
    }
    mean = values.isEmpty ? nil : (values.reduce(0, +) / Double(values.count)).orNil
    median = quantile(0.5)
    percentile99 = quantile(0.99)
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
      ("load tower", \.loadVision), ("decode", \.decode), ("wait for frames", \.frameWait), ("resize", \.resize), ("tower", \.tower), ("projector", \.projector),
      ("load decoder", \.loadDecoder), ("cross keys/values", \.crossKeyValues), ("prompts", \.prefill), ("answers", \.generate),
    ]
  }

  var stages: [(name: String, seconds: Double)] { Self.all.map { ($0.name, self[keyPath: $0.path]) } }

  mutating func add(_ other: StageTimes) {
    for (_, path) in Self.all { self[keyPath: path] += other[keyPath: path] }
  }
}
