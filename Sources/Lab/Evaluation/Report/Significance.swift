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
  /// McNemar's exact test, two-sided: the probability that of the questions which only one of two equally good models answers, one side gets
  /// so few or fewer.
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
