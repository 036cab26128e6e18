import Foundation

/// What is asked of the newest frames of streams without a request, and whom the answers are told.
public struct Rule: Sendable, Equatable {
  /// As events call it.
  public var name: String
  /// Those that are watched; empty: all.
  public var streams: [String] = []
  /// What is asked.
  public var question: String
  /// What the answer is one of.
  public var choices: [String]
  /// Answers that are told each time that they begin; empty: every other answer than the one before.
  public var when: [String] = []
  /// An answer counts that so many windows in a row have given.
  public var holds = 1
  /// Seconds after an event in which no other one of the stream is told.
  public var pause = 0.0
  /// An address that events are posted to.
  public var webhook: String?
  /// A file to which they are appended, a line each.
  public var file: String?

  /// Of what all rules have; the others are as they are where nothing is said.
  public init(name: String, question: String, choices: [String]) { (self.name, self.question, self.choices) = (name, question, choices) }
}

/// Which of a stream's answers are events: debounced.
public struct RuleState: Sendable {
  private let rule: Rule
  /// The newest answer, and how many windows in a row gave it.
  private var run: (answer: String, count: Int)?
  /// The one that counts; nil before there is one.
  private var settled: String?
  private var lastEvent = -Double.infinity
  /// Came during a pause.
  private var isDue = false

  /// Before the first answer.
  public init(_ rule: Rule) { self.rule = rule }

  /// Whether the answer of the next window, at `seconds` on any clock that goes forward, is to be told.
  public mutating func isEvent(_ answer: String, at seconds: Double) -> Bool {
    let count = run?.answer == answer ? (run?.count ?? 0) + 1 : 1
    run = (answer, count)
    if count >= rule.holds, answer != settled {
      // Where changes are told, the first answer is none.
      isDue = rule.when.isEmpty ? settled != nil : rule.when.contains(answer)
      settled = answer
    }
    guard isDue, answer == settled, seconds - lastEvent >= rule.pause else { return false }
    (isDue, lastEvent) = (false, seconds)
    return true
  }
}

#if Server
  import SlowFast
  import Yams

  extension Rule {
    /// Of a file in YAML: a list of rules, or one.
    ///
    /// - Parameter streams: Names that there are.
    public static func read(yaml: String, streams: [String]) throws(ServerOptions.ConfigurationError) -> [Rule] {
      let node: Node?
      do { node = try Yams.compose(yaml: yaml) } catch {
        throw .init(description: "\(error)".split(whereSeparator: \.isNewline).joined(separator: " "))
      }
      var rules: [Rule] = []
      for node in node?.sequence.map({ Array($0) }) ?? node.map({ [$0] }) ?? [] {
        rules.append(try Rule(node, number: rules.count + 1, streams))
      }
      for (number, rule) in rules.enumerated() where rules[..<number].contains(where: { $0.name == rule.name }) {
        throw .init(description: "two rules are called \(rule.name), expected a name for each")
      }
      if rules.isEmpty { throw .init(description: "there is no rule, expected a question, choices, and a webhook or a file") }
      return rules
    }

    private init(_ node: Node, number: Int, _ known: [String]) throws(ServerOptions.ConfigurationError) {
      func wrong(_ node: Node, _ problem: String) -> ServerOptions.ConfigurationError {
        .init(description: (node.mark.map { "line \($0.line): " } ?? "") + problem)
      }
      guard let mapping = node.mapping else { throw wrong(node, "a rule is names and values, as question: Is anybody there?") }
      func texts(_ value: Node, _ name: String) throws(ServerOptions.ConfigurationError) -> [String] {
        let found = value.sequence.map { $0.map(\.string) } ?? [value.string]
        let texts = found.compactMap { $0 }.filter { !$0.isBlank }
        guard texts.count == found.count, !texts.isEmpty else {
          let list = value.sequence.map { $0.isEmpty ? "an empty list" : "a list of other things" }
          let shown = list ?? value.string?.quoted ?? "a mapping"
          throw wrong(value, "\(name) is \(shown), expected a text or a list of texts")
        }
        return texts
      }
      self.init(name: "\(number)", question: "", choices: [])
      for (key, value) in mapping {
        let key = key.string ?? ""
        func text() throws(ServerOptions.ConfigurationError) -> String {
          guard let text = value.string, !text.isBlank else {
            throw wrong(value, "\(key) is \(value.string?.quoted ?? "no text"), expected a text")
          }
          return text
        }
        switch key {
        case "name":
          name = try text()
          guard name.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control }) else {
            throw wrong(value, "name has a control character, expected a line of text")
          }
        case "question": question = try text()
        case "choices": choices = try texts(value, key)
        case "stream", "streams":
          streams = try texts(value, key)
          if let unknown = streams.first(where: { !known.contains($0) }) {
            throw wrong(
              value, "\(key) is \(unknown), expected \(known.isEmpty ? "a stream that is watched" : known.joined(separator: ", "))")
          }
        case "when": if value.string != "changes" { when = try texts(value, key) }
        case "holds":
          guard let number = value.int, (1...1000).contains(number) else {
            throw wrong(value, "holds is \(value.string ?? "no number"), expected 1 to 1000 windows")
          }
          holds = number
        case "pause":
          guard let seconds = value.float, (0...1e6).contains(seconds) else {
            throw wrong(value, "pause is \(value.string ?? "no number"), expected seconds")
          }
          pause = seconds
        case "webhook":
          webhook = try text()
          let parts = webhook.flatMap { URLComponents(string: $0) }
          guard let scheme = parts?.scheme, ["http", "https"].contains(scheme), parts?.host?.isEmpty == false else {
            throw wrong(value, "webhook is no address, expected one as http://host/path or https://host/path")
          }
        case "file":
          let path = try text()
          if let problem = Self.problem(ofFile: path) { throw wrong(value, "file is \(path), \(problem)") }
          file = path
        default: throw wrong(value, "\(key) is nothing that a rule has")
        }
      }
      if question.isEmpty { throw wrong(node, "rule \(name) has no question") }
      if choices.count < 2 { throw wrong(node, "rule \(name) has \(choices.isEmpty ? "no choices" : "one choice"), expected two or more") }
      // No model tells them apart that differ in the space around them.
      let trimmed = choices.map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }
      if let twice = trimmed.first(where: { choice in trimmed.count { $0 == choice } > 1 }) {
        throw wrong(node, "rule \(name) has the choice \(twice) twice, expected different ones")
      }
      if let other = when.first(where: { !choices.contains($0) }) {
        let known = choices.joined(separator: ", ")
        throw wrong(node, "rule \(name) is told when the answer is \(other), expected one of its choices: \(known)")
      }
      if webhook == nil, file == nil { throw wrong(node, "rule \(name) tells nobody, expected a webhook or a file") }
    }

    /// Why events cannot be appended to it, as far as that is known before there are any.
    private static func problem(ofFile path: String) -> String? {
      var isDirectory = ObjCBool(false)
      func isThere(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) }
      if isThere(path) { return isDirectory.boolValue ? "which is a directory, expected a file" : nil }
      // URL would take "~" for somebody's home, which opening the file does not.
      let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
      return isThere(directory) && isDirectory.boolValue ? nil : "and there is no directory \(directory)"
    }
  }

  extension String {
    fileprivate var isBlank: Bool { allSatisfy(\.isWhitespace) }
    fileprivate var quoted: String { JSON.string(self).text }
  }
#endif
