/// What a comparison found: `report.json`.
public struct ComparisonReport: Codable, Sendable {
  /// Name and version.
  public var program: String
  /// When the report was written, in UTC: `2026-01-31T12:00:00Z`.
  public var date: String
  /// Its processors and its memory.
  public var machine: String
  /// The last component of the checkpoint's path.
  public var checkpoint: String
  /// Weights of the checkpoint.
  public var parameters: Int
  public var data: String
  /// Clips that every number is about.
  public var clips: Int
  public var questions: Int
  /// Tokens of the answers, ends included.
  public var tokens: Int
  public var frames: Int
  public var slowAttention: SlowAttention
  public var kernels: String
  public var threads: Int
  public var baseline: ModelResult
  public var variants: [ModelResult]
  /// Each part of the model quantized alone, and the halves of the int8 scheme.
  public var parts: [ModelResult]
  /// Bits of the parts; nil where none were measured.
  public var partBits: Int?
  public var failures: [ClipFailure]
  /// Which variant to take, and why; nil where there is none to choose.
  public var choice: Choice?
  /// What to know of the models before believing the numbers: which of them are of other weights.
  public var notes: [String]
}

/// A clip that could not be measured.
public struct ClipFailure: Codable, Sendable, Equatable {
  public var video: String
  /// The model that it failed with; nothing after the baseline tries a clip that the baseline could not.
  public var model: String
  public var reason: String
}

/// One model beside the baseline.
public struct ModelResult: Codable, Sendable {
  public var name: String
  /// The name in words.
  public var description: String?
  /// Its weights are not the baseline's: what sets it apart is not bits alone.
  public var isAnotherModel: Bool?
  /// nil where no file was made: the baseline's is the checkpoint's weights.
  public var fileBytes: Int?
  /// Of the weights in memory.
  public var residentBytes: Int?
  /// In memory, all tensors together.
  public var bitsPerWeight: Double?
  public var storedBitsPerWeight: Double?
  /// Of a part: its share of all weights.
  public var shareOfWeights: Double?
  public var conversionSeconds: Double?
  /// The inputs of its quantized weights stay floats: to measure, not to use.
  public var hasFloatInputs: Bool?
  public var clips: Int
  /// In nats; nil for the baseline.
  public var divergence: Divergence?
  /// Tokens at which the likeliest one is the baseline's.
  public var topAgreement: Proportion?
  /// Of the right answers' tokens.
  public var perplexity: Double?
  /// Of all questions.
  public var exactMatch: Proportion
  /// The same share's interval, by clip; nil where clips are too few.
  public var exactMatchInterval: Interval?
  /// Of the questions with one right answer: all but descriptions.
  public var closed: Proportion
  public var closedInterval: Interval?
  /// Of descriptions, which can be right in other words too; nil where there are none.
  public var descriptions: Proportion?
  public var kinds: [KindResult]
  /// Questions that it answers and the baseline does not, and the other way round.
  public var gained: Int?
  public var lost: Int?
  /// McNemar's exact test on these: how likely chance alone makes so many of one sort.
  public var pValue: Double?
  /// What its share of right answers is above the baseline's, by clip.
  public var change: Interval?
  /// The questions gained and lost.
  public var changes: [AnswerChange]?
  /// Tokens that it makes one after the other, with a short context.
  public var tokensPerSecond: Double?
  public var features: [FeatureError]
  public var stages: [StageResult]
  public var peakEncodingBytes: Int?
  public var peakAnsweringBytes: Int?

  package init(
    name: String, clips: Int, exactMatch: Proportion, closed: Proportion, kinds: [KindResult], features: [FeatureError],
    stages: [StageResult]
  ) {
    self.name = name
    self.clips = clips
    self.exactMatch = exactMatch
    self.closed = closed
    self.kinds = kinds
    self.features = features
    self.stages = stages
  }

  /// Of the share of closed questions: by clip, or, of few clips, Wilson's.
  var closedBounds: Interval { closedInterval ?? Interval(low: closed.low, high: closed.high) }

  /// Chance alone explains how its answers differ from the baseline's; nil for the baseline.
  public var isWithinChance: Bool? {
    pValue.map { $0 >= PairedTest.level && (change.map { $0.low <= 0 && $0.high >= 0 } ?? true) }
  }
}

/// A question that one of the baseline and another model answers rightly.
public struct AnswerChange: Codable, Sendable, Equatable {
  /// The baseline's answer is wrong; else the other model's.
  public var isGained: Bool
  /// nil where the question is about no clip.
  public var video: String?
  public var question: String
  /// The right one.
  public var answer: String
  public var kind: String
  /// Where it stands in the data, from 1.
  public var line: Int
}

/// Kullback–Leibler divergence from the baseline's next-token distribution, over all tokens of all answers.
public struct Divergence: Codable, Sendable, Equatable {
  /// nil where some value is infinite.
  public var mean: Double?
  /// By clip.
  public var meanInterval: Interval?
  public var median: Double?
  public var percentile99: Double?
  public var maximum: Double?

  package init(mean: Double?) { self.mean = mean }
}

public struct KindResult: Codable, Sendable, Equatable {
  public var kind: String
  /// Its answers are sentences that could be put in other words.
  public var isDescription: Bool
  public var exactMatch: Proportion
}

public struct StageResult: Codable, Sendable, Equatable {
  public var stage: String
  public var seconds: Double
}

/// So many of so many, and where the true share lies with 95 % confidence (Wilson's interval).
public struct Proportion: Codable, Sendable, Equatable {
  public var count: Int
  public var total: Int
  public var low: Double
  public var high: Double

  public var share: Double { total > 0 ? Double(count) / Double(total) : 0 }

  public init(_ count: Int, of total: Int) {
    self.count = count
    self.total = total
    guard total > 0 else {
      (low, high) = (0, 1)
      return
    }
    let (z, n, p) = (1.959964, Double(total), Double(count) / Double(total))
    let center = (p + z * z / (2 * n)) / (1 + z * z / n)
    let half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)).squareRoot()
    // At the ends only rounding keeps the interval from them.
    low = count == 0 ? 0 : max(0, center - half)
    high = count == total ? 1 : min(1, center + half)
  }
}
