import Foundation

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
