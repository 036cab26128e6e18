/// A table whose cells are parts of a page.
struct HTMLTable {
  private let header: [String]
  private var rows: [(cells: [String], style: String)] = []

  /// Titles of the columns, as plain text.
  init(_ header: [String]) { self.header = header }

  static func strong(_ text: String) -> String { "<b>\(breakable(text))</b>" }

  /// A long name may go on in the next line after its parts.
  private static func breakable(_ text: String) -> String {
    text.count < 14 ? text.html : [":", "/"].reduce(text.html) { $0.replacing($1, with: $1 + "<wbr>") }
  }

  mutating func add(_ cells: [String], style: String = "") { rows.append((cells, style)) }

  var text: String {
    let head = header.map { "<th>\(Self.breakable($0))</th>" }.joined()
    let body = rows.map { row in
      "<tr\(row.style.isEmpty ? "" : " class=\"\(row.style)\"")>" + row.cells.map { "<td>\($0)</td>" }.joined() + "</tr>"
    }
    return "<div class=\"scroll\"><table><thead><tr>\(head)</tr></thead><tbody>\(body.joined(separator: "\n"))</tbody></table></div>"
  }
}
