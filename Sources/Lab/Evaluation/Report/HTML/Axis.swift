import Foundation

/// From values to places along one side of a chart.
struct Axis {
  let low: Double
  let high: Double
  let isLogarithmic: Bool
  /// Where `low` and `high` stand.
  var start: Double
  var end: Double
  let ticks: [Double]

  /// Whole steps around the values.
  init(linear values: [Double], start: Double, end: Double, limits: ClosedRange<Double>? = nil, marks: Int = 5) {
    let least = values.min() ?? 0
    let most = values.max() ?? 1
    let span = max(most - least, 1e-9)
    let rough = span / Double(marks)
    let power = pow(10, log10(rough).rounded(.down))
    let step = [1, 2, 2.5, 5, 10].map { $0 * power }.first { $0 >= rough } ?? rough
    var low = (least / step).rounded(.down) * step
    var high = (most / step).rounded(.up) * step
    if let limits { (low, high) = (max(low, limits.lowerBound), min(high, limits.upperBound)) }
    if high <= low { high = low + step }
    self.low = low
    self.high = high
    isLogarithmic = false
    (self.start, self.end) = (start, end)
    ticks = (0...Int(((high - low) / step).rounded())).map { low + Double($0) * step }
  }

  /// Bits, of which the fewer are farther apart: half as many are as far as twice as many.
  init(bits values: [Double], start: Double, end: Double) {
    low = log10(min(3.8, values.min() ?? 4) * 0.97)
    high = log10((values.max() ?? 8) * 1.06)
    isLogarithmic = true
    (self.start, self.end) = (start, end)
    let (low, high) = (low, high)
    ticks = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32].filter { low <= log10($0) && log10($0) <= high }
  }

  /// Powers of ten around the positive values, no more than five of them: what is far below the rest stands at the end.
  init(logarithmic values: [Double], start: Double, end: Double) {
    let positive = values.filter { $0 > 0 && $0.isFinite }
    let most = Int(log10(positive.max() ?? 1).rounded(.up))
    let least = max(Int(log10(positive.min() ?? 0.1).rounded(.down)), most - 5)
    low = Double(min(least, most - 1))
    high = Double(most)
    isLogarithmic = true
    (self.start, self.end) = (start, end)
    ticks = (Int(low)...most).map { pow(10, Double($0)) }
  }

  /// Values below a logarithmic axis stand at its end.
  func place(_ value: Double) -> Double {
    let x = isLogarithmic ? (value > 0 ? max(log10(value), low) : low) : value
    return start + (min(x, high) - low) / (high - low) * (end - start)
  }

  /// Whether a value is too small for a logarithmic axis.
  func isBelow(_ value: Double) -> Bool { isLogarithmic && (value <= 0 || log10(value) < low) }

  func label(_ tick: Double) -> String {
    guard isLogarithmic, tick < 1 else { return tick == tick.rounded() ? Numbers.fixed(tick, 0) : Numbers.fixed(tick, 1) }
    let power = Int(log10(tick).rounded())
    switch power {
    case -1: return "0.1"
    case -2: return "0.01"
    default: return "10" + Numbers.superscript(power)
    }
  }
}

/// Labels beside points of a chart, moved apart where they would stand upon each other.
struct LabelPlaces {
  private var taken: [(x: ClosedRange<Double>, y: ClosedRange<Double>)] = []
  let bounds: ClosedRange<Double>

  init(bounds: ClosedRange<Double>) { self.bounds = bounds }

  /// Marks a place that labels keep away from.
  mutating func avoid(x: Double, y: Double, radius: Double) { taken.append((x - radius...x + radius, y - radius...y + radius)) }

  /// Of these places for the text's left end and base line, the first that is free; else the one that covers the least.
  mutating func place(_ width: Double, at candidates: [(x: Double, y: Double)]) -> (x: Double, y: Double) {
    func cost(_ place: (x: Double, y: Double)) -> Double {
      let x = place.x...place.x + width
      let y = place.y - 10...place.y + 2
      let outside = max(0, bounds.lowerBound - x.lowerBound) + max(0, x.upperBound - bounds.upperBound)
      return taken.reduce(1000 * outside) { sum, other in
        let across = min(x.upperBound, other.x.upperBound) - max(x.lowerBound, other.x.lowerBound)
        let along = min(y.upperBound, other.y.upperBound) - max(y.lowerBound, other.y.lowerBound)
        return sum + (across > 0 && along > 0 ? across * along : 0)
      }
    }
    let best = candidates.min { cost($0) < cost($1) } ?? (0, 0)
    taken.append((best.x...best.x + width, best.y - 10...best.y + 2))
    return best
  }
}
