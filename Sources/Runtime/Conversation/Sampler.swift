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
  /// Only tokens at least this many times as likely as the likeliest; 0 is all.
  public var minP: Float = 0
  /// Taken off the logits of tokens that the answer has already, as OpenAI's parameter of the name; 0 is none.
  public var presencePenalty: Float = 0
  /// The same for each time that the answer has the token.
  public var frequencyPenalty: Float = 0
  /// Added to the logits of tokens, before all else; -100 forbids one, 100 leaves no other. Choices are weighed without.
  public var logitBias: [Int32: Float] = [:]
  /// Where drawing starts from: the same seed, the same answer.
  public var seed: UInt64 = 0
  /// Whether tokens are drawn, so that the seed counts.
  public var isDrawn: Bool { temperature > 0 && topK != 1 }
  /// Tokens that end an answer.
  public var stopTokens: Set<Int32> = []
  /// Texts that end an answer, which ends before the first of them.
  public var stopTexts: [String] = []
  /// With each of the answer's tokens, how likely it was, and so many of the likeliest ones; nil: nothing of that.
  public var topLogProbabilities: Int?
  /// What the answer may be.
  public var form = AnswerForm.text
  /// Tokens at most that are guessed from what was said before, and checked in one pass: the same answer, sooner where it repeats what
  /// is there. Guesses that do not pay are left off by themselves. 0: none.
  public var draftTokens = Drafts.most

  /// Greedy, 256 tokens at most. A model's own defaults are `VideoLanguageModel.generationDefaults`.
  public init() {}

  package static let tokenLimit = Limits.tokens
  /// Of `topLogProbabilities`, `stopTexts` and the bytes of one: more than anybody asks for, and cheap beside a token.
  package static let (topLimit, stopLimit, stopLength) = (100, 64, 1024)
  /// Of `logitBias`: tokens.
  package static let biasLimit = 4096

  /// Always the likeliest token, no penalty: what golden outputs are made with.
  public mutating func makeGreedy() {
    temperature = 0
    topP = 1
    topK = 0
    repetitionPenalty = 1
    (minP, presencePenalty, frequencyPenalty) = (0, 0, 0)
    logitBias = [:]
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
    try check(minP >= 0 && minP <= 1, "minP", minP, "0 to 1")
    try check(abs(presencePenalty) <= 2, "presencePenalty", presencePenalty, "-2 to 2")
    try check(abs(frequencyPenalty) <= 2, "frequencyPenalty", frequencyPenalty, "-2 to 2")
    try check(logitBias.count <= Self.biasLimit, "logitBias", counted(logitBias.count, "token"), "at most \(Self.biasLimit)")
    for (token, bias) in logitBias {
      try check(token >= 0, "logitBias", "token \(token)", "tokens of 0 or more")
      try check(abs(bias) <= 100, "logitBias", bias, "-100 to 100")
    }
    if let count = topLogProbabilities {
      try check((0...Self.topLimit).contains(count), "topLogProbabilities", count, "0 to \(Self.topLimit)")
    }
    try check((0...Drafts.most).contains(draftTokens), "draftTokens", draftTokens, "0 to \(Drafts.most)")
    try check(stopTexts.count <= Self.stopLimit, "stopTexts", counted(stopTexts.count, "text"), "at most \(Self.stopLimit)")
    let longest = stopTexts.map(\.utf8.count).max() ?? 1
    try check(longest <= Self.stopLength, "stopTexts", counted(longest, "byte"), "at most \(Self.stopLength) each")
    try check(!stopTexts.contains(""), "stopTexts", "empty", "at least one character")
    try form.validate()
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

/// What an answer may be: which tokens may come next.
package protocol AnswerConstraint {
  /// Tokens that may come next, a bit each, the lowest bits first; stop tokens are not among them.
  mutating func allowedTokens() -> [UInt64]
  /// The answer may end here.
  var mayEnd: Bool { get }
  /// Nothing may follow.
  var isFinished: Bool { get }
  /// Takes one of the allowed tokens, or says that it does not fit after all; then nothing has changed.
  mutating func accept(_ token: Int32) -> Bool
  /// Takes the next tokens for as long as there is no choice, so many at most.
  mutating func takeForced(atMost limit: Int) -> [Int32]
}

/// Chooses the next token from logits, in the order of HuggingFace's processors: biases, penalties, temperature, top-k, top-p, min-p, among
/// the tokens that the answer's form allows.
package struct Sampler {
  package let options: GenerationOptions
  private var generator: SplitMix64
  /// How often the answer has a token.
  private var counts: [Int32: Int32] = [:]
  private var constraint: (any AnswerConstraint)?
  /// A copy of the logits, -∞ where a token may not come.
  private var masked: [Float] = []
  /// Another, with the biases added.
  private var biased: [Float] = []
  private let hasPenalties: Bool
  /// No penalty raises a logit.
  private let onlyLowers: Bool

  package init(_ options: GenerationOptions, constraint: (any AnswerConstraint)? = nil) {
    self.options = options
    self.constraint = constraint
    generator = SplitMix64(state: options.seed)
    let (repetition, presence, frequency) = (options.repetitionPenalty, options.presencePenalty, options.frequencyPenalty)
    hasPenalties = repetition != 1 || presence != 0 || frequency != 0
    onlyLowers = repetition >= 1 && presence >= 0 && frequency >= 0
  }

  /// The next token; NaN logits are never chosen. `logits` are left as they are.
  package mutating func next(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
    let token = options.logitBias.isEmpty ? chosen(logits) : withBiases(logits)
    if hasPenalties { counts[token, default: 0] += 1 }
    return token
  }

  private mutating func chosen(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
    constraint == nil ? choice(logits) : constrained(logits)
  }

  private mutating func withBiases(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
    var biased = biased
    self.biased = []
    defer { self.biased = biased }
    biased.removeAll(keepingCapacity: true)
    biased.append(contentsOf: logits)
    for (token, bias) in options.logitBias where Int(token) < biased.count { biased[Int(token)] += bias }
    return biased.withUnsafeBufferPointer { chosen($0) }
  }

  /// Tokens that must follow, so many at most: what `next` would choose whatever the logits. They are taken.
  package mutating func forced(atMost limit: Int) -> [Int32] {
    // Whoever asks how likely each token was wants the logits before each.
    guard limit > 0, options.topLogProbabilities == nil else { return [] }
    let tokens = constraint?.takeForced(atMost: limit) ?? []
    if hasPenalties { for token in tokens { counts[token, default: 0] += 1 } }
    return tokens
  }

  /// The answer's form lets nothing follow.
  package var isFinished: Bool { constraint?.isFinished ?? false }

  private mutating func choice(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
    options.temperature == 0 ? likeliest(logits) : drawn(logits)
  }

  private mutating func constrained(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
    guard let allowed = constraint?.allowedTokens(), let ends = constraint?.mayEnd else { return choice(logits) }
    var masked = masked
    self.masked = []
    defer { self.masked = masked }
    if masked.count == logits.count {
      masked.withUnsafeMutableBufferPointer { $0.update(repeating: -.infinity) }
    } else {
      masked = [Float](repeating: -.infinity, count: logits.count)
    }
    var candidates = 0
    var first: Int32 = 0
    func allow(_ token: Int) {
      guard token < logits.count else { return }
      // Also the least likely token is one where there is no other.
      masked[token] = logits[token].isNaN ? -1e30 : max(logits[token], -1e30)
      if candidates == 0 { first = Int32(token) }
      candidates += 1
    }
    for (index, word) in allowed.enumerated() {
      var rest = word
      while rest != 0 {
        allow(index * 64 + rest.trailingZeroBitCount)
        rest &= rest - 1
      }
    }
    if ends { for token in options.stopTokens { allow(Int(token)) } }
    while true {
      // Where there is no choice nothing is drawn, so that tokens that are taken without logits change no answer.
      var token = candidates == 1 ? first : masked.withUnsafeBufferPointer { choice($0) }
      // Penalties can make of all logits -∞.
      if masked[Int(token)] == -.infinity { token = masked.firstIndex { $0 > -.infinity }.map(Int32.init) ?? first }
      if options.stopTokens.contains(token) || candidates < 1 || constraint?.accept(token) == true { return token }
      masked[Int(token)] = -.infinity
      candidates -= 1
      if candidates == 1 { first = masked.firstIndex { $0 > -.infinity }.map(Int32.init) ?? first }
    }
  }

  private func penalised(_ logit: Float, _ token: Int32) -> Float {
    guard hasPenalties, let count = counts[token] else { return logit }
    let repeated = logit > 0 ? logit / options.repetitionPenalty : logit * options.repetitionPenalty
    return repeated - options.presencePenalty - Float(count) * options.frequencyPenalty
  }

  private func likeliest(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
    var best: Int32 = 0
    var bestLogit = -Float.infinity
    for (index, logit) in logits.enumerated() {
      // A penalty of 1 or more only lowers: the set is only asked about a logit that could win.
      guard logit > bestLogit || !onlyLowers else { continue }
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
      if onlyLowers, isTooLow(logit) { continue }
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
    if options.minP > 0 { weights.removeLast(weights.count - weights.prefix { $0 >= Double(options.minP) * weights[0] }.count) }
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
