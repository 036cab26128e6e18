import Foundation
import Models
import Support

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
  /// Name of the clips and questions.
  public var data: String
  /// Clips that every number is about.
  public var clips: Int
  /// How many were asked.
  public var questions: Int
  /// Tokens of the answers, ends included.
  public var tokens: Int
  /// Of a clip, at most.
  public var frames: Int
  /// Who reads the slow tokens.
  public var slowAttention: SlowAttention
  /// The instruction set in use.
  public var kernels: String
  /// Threads that computed.
  public var threads: Int
  /// The unquantized model.
  public var baseline: ModelResult
  /// In the order asked for.
  public var variants: [ModelResult]
  /// Each part of the model quantized alone, and the halves of the int8 scheme.
  public var parts: [ModelResult]
  /// Bits of the parts; nil where none were measured.
  public var partBits: Int?
  /// Clips that could not be read.
  public var failures: [ClipFailure]
  /// Which variant to take, and why; nil where there is none to choose.
  public var choice: Choice?
  /// What to know of the models before believing the numbers: which of them are of other weights.
  public var notes: [String]
}

extension ComparisonReport {
  /// With keys in snake case, as the command prints it.
  public func json() throws(SlowFastError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    do { return Array(try encoder.encode(self)) } catch { throw .badFile(path: "report.json", problem: "\(error)") }
  }
}

/// A clip that could not be measured.
public struct ClipFailure: Codable, Sendable, Equatable {
  /// Its path.
  public var video: String
  /// The model that it failed with; nothing after the baseline tries a clip that the baseline could not.
  public var model: String
  /// One line.
  public var reason: String
}

/// One model beside the baseline.
public struct ModelResult: Codable, Sendable {
  /// As it was asked for.
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
  /// In the file.
  public var storedBitsPerWeight: Double?
  /// Of a part: its share of all weights.
  public var shareOfWeights: Double?
  /// nil where the file was there already.
  public var conversionSeconds: Double?
  /// The inputs of its quantized weights stay floats: to measure, not to use.
  public var hasFloatInputs: Bool?
  /// Clips that were measured.
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
  /// 95 %, by clip.
  public var closedInterval: Interval?
  /// Of descriptions, which can be right in other words too; nil where there are none.
  public var descriptions: Proportion?
  /// By kind of question.
  public var kinds: [KindResult]
  /// Questions that it answers and the baseline does not, and the other way round.
  public var gained: Int?
  /// Answers that the baseline has right and this has not.
  public var lost: Int?
  /// McNemar's exact test on these: how likely chance alone makes so many of one sort.
  public var pValue: Double?
  /// What its share of right answers is above the baseline's, by clip.
  public var change: Interval?
  /// The questions gained and lost.
  public var changes: [AnswerChange]?
  /// Tokens that it makes one after the other, with a short context.
  public var tokensPerSecond: Double?
  /// By stage.
  public var features: [FeatureError]
  /// Seconds by stage.
  public var stages: [StageResult]
  /// Of the process while a clip is encoded: the most, of those that were measured one at a time.
  public var peakEncodingBytes: Int?
  /// Of the process while a clip's first question is answered: the most, of the same clips.
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
  /// As it was asked.
  public var question: String
  /// The right one.
  public var answer: String
  /// Of the question.
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
  /// Nats.
  public var median: Double?
  /// Nats.
  public var percentile99: Double?
  /// Nats.
  public var maximum: Double?

  package init(mean: Double?) { self.mean = mean }
}

/// Answers to one kind of question.
public struct KindResult: Codable, Sendable, Equatable {
  /// As the data names it.
  public var kind: String
  /// Its answers are sentences that could be put in other words.
  public var isDescription: Bool
  /// Answers that are the given ones.
  public var exactMatch: Proportion
}

/// Time of one stage.
public struct StageResult: Codable, Sendable, Equatable {
  /// `tower`, `prefill`, …
  public var stage: String
  /// Over all clips.
  public var seconds: Double
}

/// So many of so many, and where the true share lies with 95 % confidence (Wilson's interval).
public struct Proportion: Codable, Sendable, Equatable {
  /// Those that are so.
  public var count: Int
  /// All.
  public var total: Int
  /// Lower end of the 95 % interval.
  public var low: Double
  /// Upper end of the 95 % interval.
  public var high: Double

  /// 0 where there are none.
  public var share: Double { total > 0 ? Double(count) / Double(total) : 0 }

  /// With its interval by Wilson.
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
