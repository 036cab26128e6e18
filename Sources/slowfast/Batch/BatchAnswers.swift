import Foundation
import ModelFile
import SlowFast
import Support
import Synchronization

/// The answers of a batch: kept one by one beside the output while it runs, and written in the order of the questions when all are there.
/// Each is found again by what it answers, so that a batch goes on when lines or clips were added, taken away or changed.
final class BatchAnswers: Sendable {
  private struct State {
    var journal: RecordJournal
    /// Of errors of an earlier run: what kept a clip from being read may be over.
    var retried: Set<Int>
  }
  private let state: Mutex<State>
  private let path: String
  /// Whether an earlier run was cut off.
  let isContinued: Bool
  /// Answers of an earlier run that none of the questions asks for.
  let unusedCount: Int

  /// Of the first record, which says what all of them are answers of.
  private static let identityNumber = 0

  /// What was kept of an earlier run is taken over where `identity` is its own and one of `questions` at least asks for it; with
  /// `replacing` another's is forgotten.
  init(_ output: String, _ questions: [BatchQuestion], identity: [String], replacing: Bool) throws(SlowFastError) {
    path = output + ".partial"
    let own = [UInt8](JSONValue.array(identity.map { .string($0) }).compact.utf8)
    var found = try RecordJournal(path: path)
    func used(_ journal: RecordJournal) -> [BatchQuestion] { questions.filter { journal.contains($0.key) } }
    let identity = found.record(Self.identityNumber)
    let problem: String? =
      if identity == nil, found.count > 0 {
        "is damaged: what its answers were made with is lost"
      } else if let identity, identity != own {
        "holds answers of another model or with other options"
      } else if found.count > 1, used(found).isEmpty {
        "holds answers to other questions, or about clips that were changed since"
      } else { nil }
    if let problem {
      guard replacing else { throw .badFile(path: path, problem: problem + "; remove it, or use --force") }
      SystemCalls.remove(path)
      found = try RecordJournal(path: path)
    }
    isContinued = found.count > 0
    if found.record(Self.identityNumber) == nil { try found.append(Self.identityNumber, own) }
    let kept = used(found)
    unusedCount = found.count - 1 - kept.count
    let errors = kept.filter { question in found.record(question.key).flatMap { try? JSONValue($0) }?.object?["error"] != nil }
    state = Mutex(State(journal: found, retried: Set(errors.map(\.key))))
  }

  /// Whether the question is done with.
  func has(_ question: BatchQuestion) -> Bool {
    question.problem != nil || state.withLock { $0.journal.contains(question.key) && !$0.retried.contains(question.key) }
  }

  /// On the disk when this returns.
  func keep(_ record: BatchRecord) throws { try keep([record], isDurable: true) }

  /// Of questions that are asked again in any case when the work goes on.
  func keep(errors: [BatchRecord]) throws { try keep(errors, isDurable: false) }

  private func keep(_ records: [BatchRecord], isDurable: Bool) throws {
    let kept = try records.map { (number: $0.question.key, json: try $0.json()) }
    try state.withLock { state throws(SlowFastError) in
      try state.journal.append(kept, isDurable: isDurable)
      state.retried.subtract(kept.map(\.number))
    }
  }

  /// Writes all answers. Returns how many of them are errors.
  func publish(_ questions: [BatchQuestion], to output: String, asCSV: Bool, replacing: Bool) throws(SlowFastError) -> Int {
    do throws(OutputError) {
      let file = try OutputFile(output, replacing: replacing)
      let errors = try forEachPiece(questions, asCSV: asCSV) { (piece) throws(OutputError) in try file.write(piece) }
      try file.publish()
      return errors
    } catch { throw SlowFastError(error) }
  }

  /// How many answers in a file are errors, where it holds all of these and nothing else; nil where it does not.
  func errors(in output: String, _ questions: [BatchQuestion], asCSV: Bool) -> Int? {
    let isWhole = state.withLock { state in questions.allSatisfy { $0.problem != nil || state.journal.contains($0.key) } }
    guard isWhole, let file = FileHandle(forReadingAtPath: output) else { return nil }
    var isSame = true
    let errors = forEachPiece(questions, asCSV: asCSV) { (piece) throws(Never) in
      isSame = isSame && (try? file.read(upToCount: piece.count)) == Data(piece)
    }
    return isSame && (try? file.readToEnd()) ?? Data() == Data() ? errors : nil
  }

  /// Forgets what was kept.
  func forget() { SystemCalls.remove(path) }

  /// The file of answers, in the order of the questions. Returns how many of them are errors.
  private func forEachPiece<E: Error>(_ questions: [BatchQuestion], asCSV: Bool, _ body: ([UInt8]) throws(E) -> Void) throws(E) -> Int {
    var errors = 0
    if asCSV { try body(Array(BatchTable.head.utf8)) }
    for question in questions {
      let kept = question.problem.map { try? BatchRecord(question: question, error: $0).json() }
      guard let kept = kept ?? state.withLock({ $0.journal.record(question.key) }) else { continue }
      let json = question.head + kept.dropFirst()
      let fields = (try? JSONValue(json))?.object ?? [:]
      if fields["error"] != nil { errors += 1 }
      try body(asCSV ? Array(BatchTable.row(fields).utf8) : json + [UInt8(ascii: "\n")])
    }
    return errors
  }
}

/// What is kept of a question: what is written, but for where it stands.
struct BatchRecord: Encodable {
  var question: BatchQuestion
  var answer: AnswerRecord?
  var error: String?

  private enum CodingKeys: CodingKey { case clip, question, error }

  func encode(to encoder: any Encoder) throws {
    try answer?.encode(to: encoder)
    guard let error else { return }
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(ClipNames(names: question.clip?.names ?? []), forKey: .clip)
    try container.encode(question.text, forKey: .question)
    try container.encode(error, forKey: .error)
  }

  /// An object with a member at least.
  fileprivate func json() throws -> [UInt8] { [UInt8](try Printing.json(self, onOneLine: true).utf8) }
}

extension BatchQuestion {
  /// How the object of its answer begins.
  fileprivate var head: [UInt8] {
    let id: JSONValue =
      switch id {
      case .number(let number): .number("\(number)")
      case .text(let text): .string(text)
      }
    return [UInt8]("{\"id\":\(id.compact),\"line\":\(line),".utf8)
  }
}

/// Answers as a table (RFC 4180).
enum BatchTable {
  private static let columns = ["id", "line", "clip", "question", "answer", "probability", "end_reason", "error"]

  static let head = columns.joined(separator: ",") + "\r\n"

  static func row(_ record: JSONValue.Object) -> String {
    let chosen = record["choices"]?.array?.first { $0.object?["text"] == record["answer"] }
    let values = columns.map { column -> String in
      switch column == "probability" ? chosen?.object?[column] ?? .null : record[column] ?? .null {
      case .null: ""
      case .array(let values): cell(values.map { "\($0)" }.joined(separator: " "))
      case let value: cell("\(value)")
      }
    }
    return values.joined(separator: ",") + "\r\n"
  }

  private static func cell(_ text: String) -> String {
    text.contains(where: { ",\"\r\n".contains($0) || $0.isNewline }) ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
  }
}
