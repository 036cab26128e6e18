import Foundation
import ModelFile
import SlowFast
import Support
import Synchronization

/// The answers of a batch: kept one by one beside the output while it runs, and written in the order of the questions when all are there.
final class BatchAnswers: Sendable {
  private let journal: Mutex<RecordJournal>
  private let path: String

  /// Of the first record, which says what all of them are answers of.
  private static let identityNumber = 0

  /// What was kept of an earlier run is taken over where `identity` is its own; with `replacing` another's is forgotten.
  init(_ output: String, identity: [String], replacing: Bool) throws(SlowFastError) {
    path = output + ".partial"
    let own = [UInt8](JSONValue.array(identity.map { .string($0) }).compact.utf8)
    var found = try RecordJournal(path: path)
    if let other = found.record(Self.identityNumber), other != own {
      guard replacing else {
        throw .badFile(
          path: path, problem: "holds answers to other questions, of another model or with other options; remove it, or use --force")
      }
      SystemCalls.remove(path)
      found = try RecordJournal(path: path)
    }
    if found.record(Self.identityNumber) == nil { try found.append(Self.identityNumber, own) }
    journal = Mutex(found)
  }

  /// Whether the question of that line is done with.
  func has(_ line: Int) -> Bool { journal.withLock { $0.contains(line) } }

  /// On the disk when this returns.
  func keep(_ record: BatchRecord) throws {
    let json = [UInt8](try Printing.json(record, onOneLine: true).utf8)
    try journal.withLock { journal throws(SlowFastError) in try journal.append(record.question.line, json) }
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
    guard questions.allSatisfy({ has($0.line) }), let file = FileHandle(forReadingAtPath: output) else { return nil }
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
      guard let json = journal.withLock({ $0.record(question.line) }) else { continue }
      let fields = (try? JSONValue(json))?.object ?? [:]
      if fields["error"] != nil { errors += 1 }
      try body(asCSV ? Array(BatchTable.row(fields).utf8) : json + [UInt8(ascii: "\n")])
    }
    return errors
  }
}

/// What is written of a question.
struct BatchRecord: Encodable {
  var question: BatchQuestion
  var answer: AnswerRecord?
  var error: String?

  private enum CodingKeys: CodingKey { case id, line, clip, question, error }

  func encode(to encoder: any Encoder) throws {
    try answer?.encode(to: encoder)
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(question.id, forKey: .id)
    try container.encode(question.line, forKey: .line)
    guard let error else { return }
    try container.encode(ClipNames(names: question.clip?.names ?? []), forKey: .clip)
    try container.encode(question.text, forKey: .question)
    try container.encode(error, forKey: .error)
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
