import Models
import Support

/// How an answer's tokens are chosen. A model's own are its `generationDefaults`.
public struct GenerationOptions: Sendable, Equatable {
  /// The most tokens of an answer.
  public var maximumTokens = 256
  /// 0 is greedy: always the likeliest token.
  public var temperature: Float = 0
  /// Among the likeliest tokens that together have this probability; 1 is all.
  public var topP: Float = 1
  /// Among this many likeliest tokens; 0 is all.
  public var topK = 0
  /// Divides (or multiplies, below zero) the logits of tokens that the answer has already; 1 is none. Tokens of the prompt do not count,
  /// as in the published inference code, which generates from embeddings.
  public var repetitionPenalty: Float = 1
  /// Where drawing starts from: the same seed, the same answer.
  public var seed: UInt64 = 0
  /// Whether tokens are drawn, so that the seed counts.
  public var isDrawn: Bool { temperature > 0 && topK != 1 }
  /// Tokens that end an answer.
  public var stopTokens: Set<Int32> = []

  /// Greedy, 256 tokens at most. A model's own defaults are `VideoLanguageModel.generationDefaults`.
  public init() {}

  package static let tokenLimit = Limits.tokens

  /// Always the likeliest token, no penalty: what golden outputs are made with.
  public mutating func makeGreedy() {
    temperature = 0
    topP = 1
    topK = 0
    repetitionPenalty = 1
  }

  /// Throws `badOption` for a value out of range.
  public func validate() throws(SlowFastError) {
    func check(_ ok: Bool, _ name: String, _ found: Any, _ expected: String) throws(SlowFastError) {
      if !ok { throw .badOption(name, found: "\(found)", expected: .text(expected)) }
    }
    try check((1...Self.tokenLimit).contains(maximumTokens), "maximumTokens", maximumTokens, "1 to \(Self.tokenLimit)")
    try check(temperature >= 0 && temperature.isFinite, "temperature", temperature, "0 or more")
    try check(topP > 0 && topP <= 1, "topP", topP, "more than 0 and at most 1")
    try check(topK >= 0, "topK", topK, "0 or more")
    try check(repetitionPenalty > 0 && repetitionPenalty.isFinite, "repetitionPenalty", repetitionPenalty, "more than 0")
  }
}

extension GenerationOptions {
  /// A model's own; `stopTokens` end an answer.
  package init(_ record: GenerationRecord, stopTokens: Set<Int32>) {
    self.init()
    maximumTokens = record.maximumTokens
    temperature = record.temperature
    topP = record.topP
    topK = record.topK
    repetitionPenalty = record.repetitionPenalty
    self.stopTokens = stopTokens
  }
}
