/// A table whose cells are parts of a page.
struct HTMLTable {
  private let header: [String]
  private var rows: [(cells: [String], style: String)] = []

  /// Titles of the columns, as plain text.
  init(_ header: [String]) { self.header = header }

  static func strong(_ text: String) -> String { "<b>\(text.html)</b>" }

  mutating func add(_ cells: [String], style: String = "") { rows.append((cells, style)) }

  var text: String {
    let head = header.map { "<th>\($0.html)</th>" }.joined()
    let body = rows.map { row in
      "<tr\(row.style.isEmpty ? "" : " class=\"\(row.style)\"")>" + row.cells.map { "<td>\($0)</td>" }.joined() + "</tr>"
    }
    return "<div class=\"scroll\"><table><thead><tr>\(head)</tr></thead><tbody>\(body.joined(separator: "\n"))</tbody></table></div>"
  }
}
