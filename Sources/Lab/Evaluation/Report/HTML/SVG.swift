import Foundation

/// A picture in the text of a page. Lengths are in pixels; styles are classes of the page.
struct SVG {
  let width: Double
  let height: Double
  private var body = ""

  init(width: Double, height: Double) {
    self.width = width
    self.height = height
  }

  /// `label` is what a screen reader says.
  func text(label: String) -> String {
    """
    <svg viewBox="0 0 \(Self.number(width)) \(Self.number(height))" role="img" aria-label="\(label.html)">
    \(body)</svg>
    """
  }

  mutating func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String, color: String? = nil) {
    body +=
      "<line x1=\"\(Self.number(x1))\" y1=\"\(Self.number(y1))\" x2=\"\(Self.number(x2))\" y2=\"\(Self.number(y2))\" class=\"\(style)\"\(Self.stroke(color))/>\n"
  }

  mutating func path(_ points: [(x: Double, y: Double)], _ style: String, color: String? = nil) {
    let text = points.map { "\(Self.number($0.x)),\(Self.number($0.y))" }.joined(separator: " ")
    body += "<polyline points=\"\(text)\" class=\"\(style)\"\(Self.stroke(color))/>\n"
  }

  mutating func circle(_ x: Double, _ y: Double, _ radius: Double, _ style: String, color: String? = nil, title: String = "") {
    let fill = color.map { " style=\"fill:\($0)\"" } ?? ""
    body +=
      "<circle cx=\"\(Self.number(x))\" cy=\"\(Self.number(y))\" r=\"\(Self.number(radius))\" class=\"\(style)\"\(fill)><title>\(title.html)</title></circle>\n"
  }

  mutating func rectangle(_ x: Double, _ y: Double, _ width: Double, _ height: Double, _ style: String) {
    body +=
      "<rect x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" width=\"\(Self.number(width))\" height=\"\(Self.number(height))\" class=\"\(style)\"/>\n"
  }

  enum Anchor: String { case start, middle, end }

  mutating func text(_ text: String, _ x: Double, _ y: Double, _ style: String, _ anchor: Anchor = .start, color: String? = nil) {
    let fill = color.map { " style=\"fill:\($0)\"" } ?? ""
    body +=
      "<text x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" text-anchor=\"\(anchor.rawValue)\" class=\"\(style)\"\(fill)>\(text.html)</text>\n"
  }

  private static func stroke(_ color: String?) -> String { color.map { " style=\"stroke:\($0)\"" } ?? "" }
  private static func number(_ value: Double) -> String { Numbers.fixed(value.isFinite ? value : 0, 1) }
}

extension String {
  /// As text of a page.
  var html: String {
    var result = ""
    for character in escaped(limit: 4000) {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default: result.append(character)
      }
    }
    return result
  }
}

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
