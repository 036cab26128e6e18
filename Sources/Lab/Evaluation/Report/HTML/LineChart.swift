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
