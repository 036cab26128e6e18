/// What a comparison found: `report.json`.
public struct ComparisonReport: Codable, Sendable {
  /// Name and version.
  public var program: String
  /// The last component of the checkpoint's path.
  public var checkpoint: String
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
  /// nil where no file was made: the baseline's is the checkpoint's weights.
  public var fileBytes: Int?
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
  public var exactMatch: Proportion
  public var kinds: [KindResult]
  /// Questions that it answers and the baseline does not, and the other way round.
  public var gained: Int?
  public var lost: Int?
  public var features: [FeatureError]
  public var stages: [StageResult]
  public var peakEncodingBytes: Int?
  public var peakAnsweringBytes: Int?
}

/// Kullback–Leibler divergence from the baseline's next-token distribution, over all tokens of all answers.
public struct Divergence: Codable, Sendable, Equatable {
  /// nil where some value is infinite.
  public var mean: Double?
  public var median: Double?
  public var percentile99: Double?
  public var maximum: Double?
}

public struct KindResult: Codable, Sendable, Equatable {
  public var kind: String
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
