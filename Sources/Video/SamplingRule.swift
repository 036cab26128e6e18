/// Which frames of a clip a sampling takes.
public enum SamplingRule: Sendable, Equatable {
  /// As many as are asked for, evenly from the first to the last: what the published demonstration does.
  case uniform
  /// So many a second, and no more than are asked for: what the evaluation behind the published numbers does, with 2. A short clip has
  /// fewer frames than are asked for.
  case rate(Double)

  /// Every so many frames one is taken, before it is looked whether these are too many: `max(round(rate / wanted), 1)`, halves to even.
  static func step(_ rate: FrameRate, wanted: Double) -> Int {
    // As Python computes it: with fractions where the wanted rate is a whole number, otherwise in doubles.
    if let whole = Int32(exactly: wanted) {
      let divisor = rate.denominator * Int(whole)
      let (quotient, rest) = rate.numerator.quotientAndRemainder(dividingBy: divisor)
      let isUp = 2 * rest > divisor || (2 * rest == divisor && quotient % 2 == 1)
      return max(1, quotient + (isUp ? 1 : 0))
    }
    let step = (Double(rate.numerator) / Double(rate.denominator) / wanted).rounded(.toNearestOrEven)
    return step < 1e9 ? max(1, Int(step)) : 1_000_000_000
  }
}

/// Frames a second, as a fraction of positive numbers that fit into 32 bits.
struct FrameRate {
  var numerator: Int
  var denominator: Int
}
