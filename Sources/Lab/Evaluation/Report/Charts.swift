import Foundation

/// Points of size and quality, the best of which make the Pareto front.
struct ScatterChart {
  struct Point {
    var name: String
    var x: Double
    var y: Double
    /// Where the true value lies.
    var interval: ClosedRange<Double>?
  }

  var points: [Point]
  var xTitle: String
  var yTitle: String
  var yIsLogarithmic: Bool
  /// Whether more is better; less is, otherwise.
  var prefersHigh: Bool
  /// The baseline's value and its interval.
  var reference: (value: Double, interval: ClosedRange<Double>)?
  var yLabel: (Double) -> String = { Numbers.small($0) }
  var yLimits: ClosedRange<Double>?

  /// Points that no other is at least as good as in both ways, by size.
  var front: [Point] {
    func isBetter(_ a: Double, _ b: Double) -> Bool { prefersHigh ? a > b : a < b }
    var front: [Point] = []
    for point in points.sorted(by: { $0.x != $1.x ? $0.x < $1.x : isBetter($0.y, $1.y) }) {
      if let last = front.last, !isBetter(point.y, last.y) { continue }
      front.append(point)
    }
    return front
  }

  func svg(width: Double = 520, height: Double = 380) -> String {
    var svg = SVG(width: width, height: height)
    let (left, right, top, bottom) = (58.0, width - 18, 34.0, height - 46)
    let x = Axis(bits: points.map(\.x), start: left, end: right)
    let values = points.flatMap { [$0.y, $0.interval?.lowerBound, $0.interval?.upperBound].compactMap { $0 } }
    let all = values + (reference.map { [$0.value, $0.interval.lowerBound, $0.interval.upperBound] } ?? [])
    let y =
      yIsLogarithmic
      ? Axis(logarithmic: all, start: bottom, end: top) : Axis(linear: all, start: bottom, end: top, limits: yLimits)
    for tick in y.ticks {
      svg.line(left, y.place(tick), right, y.place(tick), "grid")
      svg.text(yIsLogarithmic ? y.label(tick) : yLabel(tick), left - 8, y.place(tick) + 4, "tick", .end)
    }
    for tick in x.ticks { svg.text(x.label(tick), x.place(tick), bottom + 18, "tick", .middle) }
    svg.line(left, bottom, right, bottom, "axis")
    svg.text(xTitle, (left + right) / 2, height - 8, "axis-title", .middle)
    svg.text(yTitle, left - 46, 14, "axis-title")
    if let reference {
      let high = y.place(reference.interval.upperBound)
      svg.rectangle(left, high, right - left, y.place(reference.interval.lowerBound) - high, "band")
      svg.line(left, y.place(reference.value), right, y.place(reference.value), "reference")
    }
    let front = front
    // Steps: until the next size nothing better is to be had.
    var steps: [(x: Double, y: Double)] = []
    for point in front {
      if let last = steps.last { steps.append((x.place(point.x), last.y)) }
      steps.append((x.place(point.x), y.place(point.y)))
    }
    if let last = steps.last { steps.append((right, last.y)) }
    svg.path(steps, "front")
    var labels = LabelPlaces(bounds: left...right)
    for point in points {
      let (px, py) = (x.place(point.x), y.place(point.y))
      labels.avoid(x: px, y: py, radius: 5)
      if let interval = point.interval {
        svg.line(px, y.place(interval.lowerBound), px, y.place(interval.upperBound), "whisker")
      }
      let isBest = front.contains { $0.name == point.name }
      svg.circle(
        px, py, 4.5, isBest ? "point best" : "point", title: "\(point.name): \(yLabel(point.y)) at \(Numbers.fixed(point.x, 2)) bits")
    }
    for point in points {
      let (px, py) = (x.place(point.x), y.place(point.y))
      let isBest = front.contains { $0.name == point.name }
      let name = point.name.count > 28 ? String(point.name.prefix(27)) + "…" : point.name
      let text = y.isBelow(point.y) ? "\(name) (\(yLabel(point.y)))" : name
      let size = 6.3 * Double(text.count)
      let offsets = [0.0, -12, 12, -24, 24, -36, 36, -48, 48]
      let heights = offsets.map { py + 4 + $0 }.filter { $0 > top - 4 && $0 < bottom - 2 }
      let places = heights.flatMap { height -> [(x: Double, y: Double)] in [(px + 9, height), (px - 9 - size, height)] }
      let place = labels.place(size, at: places)
      svg.text(text, place.x, place.y, isBest ? "label best" : "label")
    }
    return svg.text(label: "\(yTitle) against \(xTitle)")
  }
}

/// One line for each model over stages in order, on a logarithmic scale.
struct LineChart {
  struct Line {
    var name: String
    /// By stage.
    var values: [String: Double]
  }

  var stages: [String]
  var lines: [Line]
  var title: String

  static let colorCount = HTMLStyle.seriesColors.count
  static func color(_ index: Int) -> String { "var(--series\(index % colorCount))" }

  func svg(width: Double = 1060, height: Double = 360) -> String {
    var svg = SVG(width: width, height: height)
    let (left, right, top, bottom) = (58.0, width - 190, 34.0, height - 64)
    let y = Axis(logarithmic: lines.flatMap { $0.values.values }, start: bottom, end: top)
    func place(_ index: Int) -> Double {
      stages.count < 2 ? (left + right) / 2 : left + 14 + (right - left - 28) * Double(index) / Double(stages.count - 1)
    }
    for tick in y.ticks {
      svg.line(left, y.place(tick), right, y.place(tick), "grid")
      svg.text(y.label(tick), left - 8, y.place(tick) + 4, "tick", .end)
    }
    svg.text(title, left - 46, 14, "axis-title")
    svg.line(left, bottom, right, bottom, "axis")
    let layers = stages.filter { $0.hasPrefix("layer ") }.count
    // Of many layers only some are named.
    let step = max(1, (layers + 15) / 16)
    for (index, stage) in stages.enumerated() {
      if stage.hasPrefix("layer ") {
        let number = Int(stage.dropFirst(6)) ?? 0
        if number % step == 0 || number == layers { svg.text("\(number)", place(index), bottom + 18, "tick", .middle) }
      } else {
        let isCrowded = stages.count > 1 && place(1) - place(0) < 70
        svg.text(stage, place(index), bottom + (isCrowded && index % 2 == 1 ? 34 : 18), "tick", .middle)
      }
    }
    if let first = stages.firstIndex(where: { $0.hasPrefix("layer ") }) {
      svg.text("after layer …", (place(first) + place(stages.count - 1)) / 2, bottom + 40, "axis-title", .middle)
    }
    var ends: [(index: Int, y: Double)] = []
    for (index, line) in lines.enumerated() {
      let points = stages.enumerated().compactMap { place, stage in line.values[stage].map { (place, $0) } }
      let drawn = points.map { (x: place($0.0), y: y.place($0.1)) }
      svg.path(drawn, index >= Self.colorCount ? "series dashed" : "series", color: Self.color(index))
      for (point, value) in zip(drawn, points) {
        svg.circle(
          point.x, point.y, 2.6, "dot", color: Self.color(index), title: "\(line.name), \(stages[value.0]): \(Numbers.small(value.1))")
      }
      if let last = drawn.last { ends.append((index, last.y)) }
    }
    // Names at the lines' ends, at least a line's height apart.
    ends.sort { $0.y < $1.y }
    let least = 15.0
    for index in ends.indices.dropFirst() { ends[index].y = max(ends[index].y, ends[index - 1].y + least) }
    if let last = ends.last, last.y > bottom {
      ends[ends.count - 1].y = bottom
      for index in ends.indices.dropLast().reversed() { ends[index].y = min(ends[index].y, ends[index + 1].y - least) }
    }
    for end in ends { svg.text(lines[end.index].name, right + 6, end.y + 4, "label strong", color: Self.color(end.index)) }
    return svg.text(label: title)
  }
}

/// A row for each thing, its value as a dot on a logarithmic scale.
struct DotChart {
  struct Row {
    var name: String
    /// Small, under the name.
    var note: String
    var value: Double
    /// Begins a group that stands apart from what is above it.
    var beginsGroup = false
  }

  var rows: [Row]
  var title: String

  func svg(width: Double = 1060) -> String {
    let (left, right, top, rowHeight) = (250.0, width - 110, 30.0, 34.0)
    let gaps = rows.filter(\.beginsGroup).count
    let height = top + rowHeight * Double(rows.count) + 14 * Double(gaps) + 44
    let bottom = height - 44
    var svg = SVG(width: width, height: height)
    let x = Axis(logarithmic: rows.map(\.value), start: left, end: right)
    for tick in x.ticks {
      svg.line(x.place(tick), top - 8, x.place(tick), bottom, "grid")
      svg.text(x.label(tick), x.place(tick), bottom + 18, "tick", .middle)
    }
    svg.text(title, (left + right) / 2, height - 6, "axis-title", .middle)
    var y = top + rowHeight / 2 - 6
    for row in rows {
      if row.beginsGroup { y += 14 }
      let end = x.place(row.value)
      svg.line(left, y, end, y, "stem")
      svg.circle(end, y, 5.5, "point best", title: "\(row.name): \(Numbers.small(row.value))")
      svg.text(row.name, left - 14, row.note.isEmpty ? y + 4 : y, "label strong", .end)
      if !row.note.isEmpty { svg.text(row.note, left - 14, y + 13, "tick", .end) }
      svg.text(Numbers.small(row.value), end + 11, y + 4, "label")
      y += rowHeight
    }
    return svg.text(label: title)
  }
}

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
      "<line x1=\"\(Self.number(x1))\" y1=\"\(Self.number(y1))\" "
      + "x2=\"\(Self.number(x2))\" y2=\"\(Self.number(y2))\" class=\"\(style)\"\(Self.stroke(color))/>\n"
  }

  mutating func path(_ points: [(x: Double, y: Double)], _ style: String, color: String? = nil) {
    let text = points.map { "\(Self.number($0.x)),\(Self.number($0.y))" }.joined(separator: " ")
    body += "<polyline points=\"\(text)\" class=\"\(style)\"\(Self.stroke(color))/>\n"
  }

  mutating func circle(_ x: Double, _ y: Double, _ radius: Double, _ style: String, color: String? = nil, title: String = "") {
    let fill = color.map { " style=\"fill:\($0)\"" } ?? ""
    body +=
      "<circle cx=\"\(Self.number(x))\" cy=\"\(Self.number(y))\" r=\"\(Self.number(radius))\" "
      + "class=\"\(style)\"\(fill)><title>\(title.html)</title></circle>\n"
  }

  mutating func rectangle(_ x: Double, _ y: Double, _ width: Double, _ height: Double, _ style: String) {
    body +=
      "<rect x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" width=\"\(Self.number(width))\" "
      + "height=\"\(Self.number(height))\" class=\"\(style)\"/>\n"
  }

  enum Anchor: String { case start, middle, end }

  mutating func text(_ text: String, _ x: Double, _ y: Double, _ style: String, _ anchor: Anchor = .start, color: String? = nil) {
    let fill = color.map { " style=\"fill:\($0)\"" } ?? ""
    body +=
      "<text x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" text-anchor=\"\(anchor.rawValue)\" "
      + "class=\"\(style)\"\(fill)>\(text.html)</text>\n"
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
