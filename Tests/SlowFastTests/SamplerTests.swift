import Foundation
import Runtime
import Support
import Testing

/// The choice of the next token against a plain reading of the published processors: penalty, temperature, top-k, top-p.
@Suite struct SamplerTests {
  private func options(_ set: (inout GenerationOptions) -> Void) -> GenerationOptions {
    var options = GenerationOptions()
    set(&options)
    return options
  }

  private func next(_ sampler: inout Sampler, _ logits: [Float]) -> Int32 { logits.withUnsafeBufferPointer { sampler.next($0) } }

  /// Some logits of either sign, without ties.
  private func logits(_ count: Int, step: Int = 0) -> [Float] {
    (0..<count).map { index -> Float in
      let wave = sin(Double(index * 37 + step * 11))
      return Float(wave * 3) + Float(index) * 1e-3
    }
  }

  /// Each token's probability; 0 for those that may not be drawn.
  private func reference(_ logits: [Float], _ options: GenerationOptions) -> [Double] {
    var values = logits.map { Double($0) / Double(options.temperature) }
    if options.topK > 0 {
      let least = values.sorted(by: >)[min(options.topK, values.count) - 1]
      values = values.map { $0 < least ? -.infinity : $0 }
    }
    func softmax(_ values: [Double]) -> [Double] {
      let weights = values.map(exp)
      let total = weights.reduce(0, +)
      return weights.map { $0 / total }
    }
    let probabilities = softmax(values)
    if options.topP < 1 {
      var before = 0.0
      for index in probabilities.indices.sorted(by: { probabilities[$0] > probabilities[$1] }) {
        if before >= Double(options.topP) { values[index] = -.infinity }
        before += probabilities[index]
      }
    }
    return softmax(values)
  }

  @Test func greedyTakesTheLikeliest() {
    var sampler = Sampler(GenerationOptions())
    #expect(next(&sampler, [0.5, -1, 3, 2.9]) == 2)
    #expect(next(&sampler, [-5, -1, -3]) == 1)
    #expect(next(&sampler, [1, 1, 1]) == 0)
    #expect(next(&sampler, [.nan, 1, .nan, 2, .nan]) == 3)
    #expect(next(&sampler, [.nan, .nan]) == 0)
  }

  /// A bias is added before all else, to tokens that penalties and draws then see; what has none is as it was.
  @Test func biases() {
    let some = logits(50)
    for temperature in [0, 0.8] as [Float] {
      for bias in [[3: -100, 7: 2.5, 60: 9], [1: 100], [:]] as [[Int32: Float]] {
        var added = some
        for (token, value) in bias where token < 50 { added[Int(token)] += value }
        let plain = options { ($0.temperature, $0.repetitionPenalty, $0.seed) = (temperature, 1.3, 4) }
        var one = Sampler(plain)
        var other = Sampler(
          options {
            $0 = plain
            $0.logitBias = bias
          })
        for _ in 0..<30 { #expect(next(&one, added) == next(&other, some)) }
      }
    }
    #expect(throws: SlowFastError.self) { try options { $0.logitBias = [1: 101] }.validate() }
    #expect(throws: SlowFastError.self) { try options { $0.logitBias = [-1: 1] }.validate() }
  }

  /// Temperature, top-k, top-p.
  static let ways: [(Float, Int, Float)] = [
    (1, 0, 1), (0.7, 0, 1), (1.5, 0, 1), (1, 5, 1), (1, 1, 1), (1, 0, 0.8), (1, 0, 0.05), (0.7, 20, 0.8), (1, 1000, 1),
  ]

  @Test(arguments: ways)
  func drawsFollowTheDistribution(temperature: Float, topK: Int, topP: Float) {
    let options = options {
      $0.temperature = temperature
      $0.topK = topK
      $0.topP = topP
      $0.seed = 42
    }
    let logits = logits(40)
    let expected = reference(logits, options)
    var sampler = Sampler(options)
    var counts = [Int](repeating: 0, count: logits.count)
    let draws = 20000
    for _ in 0..<draws { counts[Int(next(&sampler, logits))] += 1 }
    for (count, probability) in zip(counts, expected) {
      if probability == 0 {
        #expect(count == 0)
      } else {
        // Five standard deviations.
        let deviation = (probability * (1 - probability) / Double(draws)).squareRoot()
        #expect(abs(Double(count) / Double(draws) - probability) <= 5 * deviation + 1e-9)
      }
    }
  }

  /// Tokens that the answer has are divided by the penalty where positive, multiplied where negative; both below and above 1.
  @Test(arguments: [1.05, 1.5, 3, 0.7] as [Float])
  func penaltyAgainstTheReference(penalty: Float) {
    var sampler = Sampler(options { $0.repetitionPenalty = penalty })
    var seen: Set<Int> = []
    for step in 0..<30 {
      let logits = logits(20, step: step / 4).map { $0 - (step % 3 == 0 ? 4 : 0) }
      let values = logits.indices.map { index -> Float in
        guard seen.contains(index) else { return logits[index] }
        return logits[index] > 0 ? logits[index] / penalty : logits[index] * penalty
      }
      let expected = values.indices.max { values[$0] < values[$1] } ?? 0
      #expect(next(&sampler, logits) == Int32(expected), "step \(step)")
      seen.insert(expected)
    }
  }

  /// With the penalty, a second draw of a token gets rarer by what the penalty says.
  @Test func penaltyWhenDrawing() {
    let logits: [Float] = [2, 1]
    var repeats = 0
    var firsts = 0
    for seed in 0..<4000 {
      var sampler = Sampler(
        options {
          $0.temperature = 1
          $0.repetitionPenalty = 2
          $0.seed = UInt64(seed)
        })
      guard next(&sampler, logits) == 0 else { continue }
      firsts += 1
      if next(&sampler, logits) == 0 { repeats += 1 }
    }
    // First e² / (e² + e), then token 0 has 2 / 2 = 1 as token 1 has.
    #expect(abs(Double(firsts) / 4000 - 1 / (1 + exp(-1))) < 0.04)
    #expect(abs(Double(repeats) / Double(firsts) - 0.5) < 0.05)
  }

  /// However near to 0 a temperature is, and however large logits are, no number overflows: what is left is the likeliest token.
  @Test(arguments: [.leastNonzeroMagnitude, 1e-38, 1e-30, 1e-10, 1e-3] as [Float])
  func tinyTemperaturesAreGreedy(temperature: Float) {
    for logits in [
      [1, 3, 2.5], [-7, -3, -3.5], [3e38, 3.4e38, -3.4e38], [-3e38, -1e38, -2e38], [0, .infinity, 1], [-.infinity, -2, -.infinity],
      [.nan, 1, 0.5],
    ] as [[Float]] {
      for penalty: Float in [1, 1.05, 0.9] {
        var sampler = Sampler(options { ($0.temperature, $0.repetitionPenalty, $0.seed) = (temperature, penalty, 9) })
        #expect(next(&sampler, logits) == 1, "\(logits)")
      }
    }
  }

  /// As 20 shifted logits are drawn, so are they beside 2²⁰.
  @Test func largeLogitsAreDrawnAsTheirDifferences() {
    let small = logits(20).map { ($0 * 8).rounded() / 8 }
    func draw(_ shift: Float) -> [Int32] {
      var sampler = Sampler(options { ($0.temperature, $0.seed) = (0.7, 5) })
      return (0..<200).map { _ in next(&sampler, small.map { $0 + shift }) }
    }
    #expect(draw(0) == draw(0x1p20) && Set(draw(0)).count > 3)
  }

  /// OpenAI's penalties: off the logit of what the answer has, once, and once for each time.
  @Test(arguments: [(1, 0), (0, 0.5), (0.7, 1.1), (-1, 0), (0, -0.25), (2, 2)] as [(Float, Float)])
  func presenceAndFrequencyAgainstTheReference(presence: Float, frequency: Float) {
    for repetition: Float in [1, 1.3] {
      var sampler = Sampler(options { ($0.presencePenalty, $0.frequencyPenalty, $0.repetitionPenalty) = (presence, frequency, repetition) })
      var counts: [Int: Int] = [:]
      for step in 0..<40 {
        let logits = logits(20, step: step / 8).map { $0 - (step % 3 == 0 ? 4 : 0) }
        let values = logits.indices.map { index -> Float in
          guard let count = counts[index] else { return logits[index] }
          let repeated = logits[index] > 0 ? logits[index] / repetition : logits[index] * repetition
          return repeated - presence - Float(count) * frequency
        }
        let expected = values.indices.max { values[$0] < values[$1] } ?? 0
        #expect(next(&sampler, logits) == Int32(expected), "step \(step)")
        counts[expected, default: 0] += 1
      }
    }
  }

  @Test func minPKeepsWhatIsLikelyBesideTheLikeliest() {
    let logits = [0.9, 0.5, 0.1, 0.05].map { Float(log($0)) }
    func drawn(_ minP: Float) -> Set<Int32> {
      var sampler = Sampler(options { ($0.temperature, $0.minP, $0.seed) = (1, minP, 4) })
      return Set((0..<500).map { _ in next(&sampler, logits) })
    }
    #expect(drawn(0) == [0, 1, 2, 3] && drawn(0.06) == [0, 1, 2] && drawn(0.2) == [0, 1] && drawn(1) == [0])
  }

  /// Even numbers, no more than so many; some of them are refused when they are chosen.
  private struct EvenNumbers: AnswerConstraint {
    var left: Int
    var refused: Set<Int32> = []
    var isForced = false
    func allowedTokens() -> [UInt64] { left > 0 ? (isForced ? [1 << 6] : [0x5555, 0]) : [] }
    var mayEnd: Bool { left <= 1 }
    var isFinished: Bool { left == 0 }
    mutating func accept(_ token: Int32) -> Bool {
      #expect(token % 2 == 0 && token < 16)
      if refused.contains(token) { return false }
      left -= 1
      return true
    }
    mutating func takeForced(atMost limit: Int) -> [Int32] {
      guard isForced, left > 1 else { return [] }
      let count = min(limit, left - 1)
      left -= count
      return Array(repeating: 6, count: count)
    }
  }

  @Test func formsMask() {
    let logits: [Float] = [0, 9, 3, 8, 2.5, 7, 1, 5, .nan, 5, 0, 5, 0, 5, 0, 5, 4]
    let stop = options { $0.stopTokens = [16] }
    var sampler = Sampler(stop, constraint: EvenNumbers(left: 3))
    #expect([next(&sampler, logits), next(&sampler, logits)] == [2, 2] && !sampler.isFinished)
    // The stop token may come now, and is the likeliest of what may.
    #expect(next(&sampler, logits) == 16)
    sampler = Sampler(stop, constraint: EvenNumbers(left: 3, refused: [2, 4]))
    #expect([next(&sampler, logits), next(&sampler, logits)] == [6, 6])
    // However unlikely all of them are.
    sampler = Sampler(stop, constraint: EvenNumbers(left: 3))
    #expect(next(&sampler, [Float](repeating: -.infinity, count: 17)) == 0)
    sampler = Sampler(options { $0.repetitionPenalty = 1e38 }, constraint: EvenNumbers(left: 9))
    for _ in 0..<3 { #expect(next(&sampler, [Float](repeating: -.infinity, count: 17)) % 2 == 0) }
    for seed: UInt64 in 0..<50 {
      var sampler = Sampler(options { ($0.temperature, $0.seed) = (3, seed) }, constraint: EvenNumbers(left: 4, refused: [0, 2]))
      for _ in 0..<4 { #expect([4, 6, 8, 10, 12, 14].contains(next(&sampler, logits))) }
      #expect(sampler.isFinished)
    }
  }

  /// Tokens without alternative, taken together or one by one: the same numbers are drawn for the others, the same penalties hold.
  @Test func forcedTokensChangeNoAnswer() {
    let logits = logits(16)
    let options = options { ($0.temperature, $0.seed, $0.frequencyPenalty) = (1, 8, 0.5) }
    var together = Sampler(options, constraint: EvenNumbers(left: 5, isForced: true))
    var oneByOne = Sampler(options, constraint: EvenNumbers(left: 5, isForced: true))
    #expect([next(&together, logits)] + together.forced(atMost: 2) == (0..<3).map { _ in next(&oneByOne, logits) })
    #expect(together.forced(atMost: 0) == [] && together.forced(atMost: 9) == [6] && next(&oneByOne, logits) == 6)
    #expect(!together.isFinished && next(&together, logits) == 6 && together.isFinished)
  }

  @Test func seedsRepeat() {
    func draw(_ seed: UInt64) -> [Int32] {
      var sampler = Sampler(
        options {
          $0.temperature = 1
          $0.seed = seed
        })
      return (0..<50).map { next(&sampler, logits(100, step: $0)) }
    }
    #expect(draw(7) == draw(7))
    #expect(draw(7) != draw(8))
  }

  @Test func optionsOutOfRange() throws {
    let wrong: [(String, (inout GenerationOptions) -> Void)] = [
      ("maximumTokens", { $0.maximumTokens = 0 }), ("maximumTokens", { $0.maximumTokens = .max }), ("temperature", { $0.temperature = -1 }),
      ("temperature", { $0.temperature = .nan }), ("temperature", { $0.temperature = .infinity }), ("topP", { $0.topP = 0 }),
      ("topP", { $0.topP = 1.5 }), ("topP", { $0.topP = .nan }), ("topK", { $0.topK = -1 }),
      ("repetitionPenalty", { $0.repetitionPenalty = 0 }), ("repetitionPenalty", { $0.repetitionPenalty = .nan }),
      ("minP", { $0.minP = 1.1 }), ("presencePenalty", { $0.presencePenalty = 2.1 }), ("presencePenalty", { $0.presencePenalty = .nan }),
      ("frequencyPenalty", { $0.frequencyPenalty = -3 }), ("topLogProbabilities", { $0.topLogProbabilities = -1 }),
      ("topLogProbabilities", { $0.topLogProbabilities = 101 }), ("stopTexts", { $0.stopTexts = [""] }),
      ("stopTexts", { $0.stopTexts = Array(repeating: "a", count: 65) }),
      ("stopTexts", { $0.stopTexts = [String(repeating: "a", count: 1025)] }),
    ]
    for (name, change) in wrong {
      guard failure({ try options(change).validate() })?.isA(.invalidOption, name) == true else {
        Issue.record("\(name)")
        continue
      }
    }
    try GenerationOptions().validate()
  }
}
