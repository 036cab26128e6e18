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
