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
