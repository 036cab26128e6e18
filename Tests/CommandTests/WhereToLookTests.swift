import Foundation
import Testing

/// What CONTRIBUTING.md says of where things are is where they are.
struct WhereToLookTests {
  private static func text() throws -> String { try String(contentsOfFile: Repository.root + "/CONTRIBUTING.md", encoding: .utf8) }

  /// Twenty questions, each answered by paths of the repository.
  @Test func everyAnswerExists() throws {
    let table = try #require(Self.text().components(separatedBy: "## Where would I change").dropFirst().first)
    let rows = table.split(separator: "\n").filter { $0.hasPrefix("| ") }.dropFirst()
    #expect(rows.count >= 20)
    for row in rows {
      let cells = row.split(separator: "|")
      let paths = try #require(cells.last).matches(of: /`([^`]+)`/).map { String($0.1) }
      #expect(!paths.isEmpty, "\(row)")
      for path in paths { #expect(exists("\(Repository.root)/\(path)"), "\(path), of: \(row)") }
    }
  }

  /// Whatever looks like a path of the sources or tests in the layout, the rules and the recipes.
  @Test func everyPathExists() throws {
    let paths = try Self.text().matches(
      of: /(?:Sources|Tests|Formats|Examples|benchmarks|packaging|docs)\/[A-Za-z0-9_\/.+-]*[A-Za-z0-9_\/]/)
    #expect(paths.count > 20)
    for path in Set(paths.map { String($0.output) }) { #expect(exists("\(Repository.root)/\(path)"), "\(path)") }
  }
}
