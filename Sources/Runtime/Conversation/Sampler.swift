import Foundation
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

/// Chooses the next token from logits, in the order of HuggingFace's processors: repetition penalty, temperature, top-k, top-p.
package struct Sampler {
  package let options: GenerationOptions
  private var generator: SplitMix64
  private var seen: Set<Int32> = []

  package init(_ options: GenerationOptions) {
    self.options = options
    generator = SplitMix64(state: options.seed)
  }

  /// The next token; NaN logits are never chosen. `logits` are left as they are.
  package mutating func next(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
    let token = options.temperature == 0 ? likeliest(logits) : drawn(logits)
    seen.insert(token)
    return token
  }

  private func penalised(_ logit: Float, _ token: Int32) -> Float {
    guard options.repetitionPenalty != 1, seen.contains(token) else { return logit }
    return logit > 0 ? logit / options.repetitionPenalty : logit * options.repetitionPenalty
  }

  private func likeliest(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
    var best: Int32 = 0
    var bestLogit = -Float.infinity
    for (index, logit) in logits.enumerated() {
      // A penalty of 1 or more only lowers: the set is only asked about a logit that could win.
      guard logit > bestLogit || options.repetitionPenalty < 1 else { continue }
      let value = penalised(logit, Int32(index))
      if value > bestLogit {
        bestLogit = value
        best = Int32(index)
      }
    }
    return best
  }

  private mutating func drawn(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
    // Tokens e⁻³⁰ times as likely as the best one are never drawn in practice; leaving them out spares sorting a whole vocabulary.
    let temperature = Double(options.temperature)
    var candidates: [(token: Int32, logit: Float)] = []
    var best = -Float.infinity
    func isTooLow(_ logit: Float) -> Bool { logit < best && Double(logit) - Double(best) < -30 * temperature }
    for (index, logit) in logits.enumerated() where !logit.isNaN {
      // A penalty of 1 or more only lowers, so the set need not be asked about a logit that is too low without it.
      if options.repetitionPenalty >= 1, isTooLow(logit) { continue }
      let value = penalised(logit, Int32(index))
      best = max(best, value)
      candidates.append((Int32(index), value))
    }
    guard !candidates.isEmpty else { return 0 }
    candidates.removeAll { isTooLow($0.logit) }
    // Ties go to the lower token, so that a seed means one answer everywhere.
    candidates.sort { $0.logit != $1.logit ? $0.logit > $1.logit : $0.token < $1.token }
    if options.topK > 0, candidates.count > options.topK { candidates.removeLast(candidates.count - options.topK) }
    // The best is subtracted before the division, which then overflows to −∞ at most. Of equals the difference is 0, be they infinite.
    var weights = candidates.map { $0.logit == best ? 1 : exp((Double($0.logit) - Double(best)) / temperature) }
    if options.topP < 1 {
      let total = weights.reduce(0, +)
      var sum = 0.0
      var kept = 0
      while kept < weights.count, kept == 0 || sum < Double(options.topP) * total {
        sum += weights[kept]
        kept += 1
      }
      weights.removeLast(weights.count - kept)
    }
    var remaining = generator.nextUnit() * weights.reduce(0, +)
    for (index, weight) in weights.enumerated() {
      remaining -= weight
      if remaining < 0 { return candidates[index].token }
    }
    return candidates[weights.count - 1].token
  }
}

/// Sebastiano Vigna's splitmix64: small, and the same on every machine.
package struct SplitMix64 {
  package var state: UInt64

  package init(state: UInt64) {
    self.state = state
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// In 0 ..< 1.
  package mutating func nextUnit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
