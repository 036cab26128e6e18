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
