import Foundation
import Runtime

/// Where a figure of all clips lies with 95 % confidence.
public struct Interval: Codable, Sendable, Equatable {
  /// Lower end.
  public var low: Double
  /// Upper end.
  public var high: Double

  package init(low: Double, high: Double) {
    self.low = low
    self.high = high
  }
}

/// Whether two models' answers to the same questions differ by more than chance.
package enum PairedTest {
  /// McNemar's exact test, two-sided: the probability that of the questions which only one of two equally good models answers, one side
  /// gets so few or fewer.
  package static func probability(gained: Int, lost: Int) -> Double {
    let count = gained + lost
    guard count > 0 else { return 1 }
    /// ln of `count` over `k`, over 2 to the power of `count`.
    func term(_ k: Int) -> Double {
      lgamma(Double(count + 1)) - lgamma(Double(k + 1)) - lgamma(Double(count - k + 1)) - Double(count) * log(2)
    }
    return min(1, 2 * (0...min(gained, lost)).reduce(0) { $0 + exp(term($1)) })
  }

  /// Below this, chance is no explanation.
  package static let level = 0.05
}

/// Intervals from clips drawn anew, with repetition. Questions about one clip are right and wrong together: it is clips that were drawn at
/// random, not questions. Always the same draws, so the same records give the same intervals.
package enum ClipBootstrap {
  /// What a clip adds to a figure, which is the sum of the values over that of the weights.
  package typealias Share = (value: Double, weight: Double)

  private static let rounds = 2000
  private static let fewestClips = 3

  /// Of each figure, given all clips' shares; nil where there are too few clips or something is infinite.
  package static func intervals(_ figures: [[Share]]) -> [Interval?] {
    let clips = figures.first?.count ?? 0
    guard clips >= fewestClips else { return figures.map { _ in nil } }
    var random = SplitMix64(state: 0x5EED)
    var samples = figures.map { _ in [Double]() }
    var times = [Double](repeating: 0, count: clips)
    for _ in 0..<rounds {
      for clip in times.indices { times[clip] = 0 }
      for _ in 0..<clips { times[Int(random.nextUnit() * Double(clips))] += 1 }
      for (index, shares) in figures.enumerated() {
        var (value, weight) = (0.0, 0.0)
        for clip in 0..<clips where times[clip] > 0 {
          value += times[clip] * shares[clip].value
          weight += times[clip] * shares[clip].weight
        }
        if weight > 0 { samples[index].append(value / weight) }
      }
    }
    return samples.map { sample in
      let sorted = sample.sorted()
      guard let low = sorted.quantile(0.025), let high = sorted.quantile(0.975) else { return nil }
      return Interval(low: low, high: high)
    }
  }
}

extension [Double] {
  /// Of sorted values, by linear interpolation between neighbours; nil where there is none or it is not finite.
  func quantile(_ share: Double) -> Double? {
    guard let last = indices.last else { return nil }
    let place = share * Double(last)
    let below = Int(place)
    let above = Swift.min(last, below + 1)
    let value = self[below] + (place - Double(below)) * (self[above] - self[below])
    return value.isFinite ? value : nil
  }
}

/// Which variant to take.
public struct Choice: Codable, Sendable, Equatable {
  /// nil: each differs from the baseline by more than chance.
  public var name: String?
  /// A sentence.
  public var reason: String
}

extension Choice {
  /// Sizes this near count as the same.
  private static let tolerance = 1.02

  /// The smallest whose answers do not differ from the baseline's by more than chance, and of those of that size the one that diverges
  /// least.
  package init?(among variants: [ModelResult], questions: Int) {
    let usable = variants.filter { $0.hasFloatInputs != true && $0.isAnotherModel != true && $0.fileBytes != nil }
    guard !usable.isEmpty else { return nil }
    let alike = usable.filter { $0.isWithinChance == true }
    guard let least = alike.compactMap(\.fileBytes).min() else {
      let nearest = usable.min { ($0.divergence?.mean ?? .infinity) < ($1.divergence?.mean ?? .infinity) }
      self.init(
        name: nil,
        reason: "Answers of each variant differ from the unquantized model's by more than chance"
          + (nearest.map { "; nearest to it is \($0.name) (\(Self.facts($0, questions)))" } ?? "") + ".")
      return
    }
    let candidates = alike.filter { Double($0.fileBytes ?? 0) <= Self.tolerance * Double(least) }
    guard let best = candidates.min(by: { ($0.divergence?.mean ?? .infinity) < ($1.divergence?.mean ?? .infinity) }) else { return nil }
    self.init(
      name: best.name,
      reason: "Choose \(best.name), the smallest whose answers do not differ from the unquantized model's by more than chance: "
        + "\(Self.facts(best, questions)).\(Self.caution(best))")
  }

  /// Where the questions are too few to show a loss that matters.
  private static func caution(_ result: ModelResult) -> String {
    guard let change = result.change, change.low < -0.02 else { return "" }
    return " With so few questions a loss of up to \(Numbers.fixed(-100 * change.low, 1)) points would not show."
  }

  private static func facts(_ result: ModelResult, _ questions: Int) -> String {
    var parts: [String] = []
    if let bytes = result.fileBytes { parts.append(Numbers.gigabytes(bytes)) }
    if let bits = result.bitsPerWeight { parts.append("\(Numbers.fixed(bits, 2)) bits a weight") }
    if let gained = result.gained, let lost = result.lost {
      parts.append("\(gained) won and \(lost) lost of \(questions)" + (result.pValue.map { ", p = \(Numbers.probability($0))" } ?? ""))
    }
    if let change = result.change { parts.append("right answers \(Numbers.points(change))") }
    return parts.joined(separator: "; ")
  }
}

extension ComparisonReport {
  /// What the differences between answers are worth, in a sentence; nil where nothing is compared.
  var verdict: String? {
    let tested = variants.filter { $0.pValue != nil }
    guard !tested.isEmpty else { return nil }
    let differing = tested.filter { $0.isWithinChance == false }
    let names = differing.map(\.name).joined(separator: ", ")
    if differing.isEmpty { return "Differences between answers are noise: chance explains those of all \(tested.count)." }
    if differing.count == tested.count { return "Answers differ by more than chance in each: \(names)." }
    return "Answers differ by more than chance in \(differing.count) of \(tested.count): \(names). The other differences are noise."
  }
}
