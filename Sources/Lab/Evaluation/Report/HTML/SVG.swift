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
