import Foundation
import SlowFast
import Support

/// A conversation as it is saved.
struct Transcript: Encodable {
  struct Turn: Encodable {
    var question: String
    var answer: String
    var endReason: String
  }
  var model: String
  var clip: ClipNames
  var turns: [Turn] = []

  mutating func add(_ question: String, _ answer: Answer) {
    turns.append(Turn(question: question, answer: answer.text, endReason: answer.endReason.words))
  }

  /// JSON where the name ends so, text otherwise; not over anything.
  func save(to path: String) throws {
    let bytes: [UInt8]
    if path.lowercased().hasSuffix(".json") {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      encoder.keyEncodingStrategy = .convertToSnakeCase
      bytes = Array(try encoder.encode(self)) + [UInt8(ascii: "\n")]
    } else {
      bytes = Array(text.utf8)
    }
    let file = try OutputFile(path, replacing: false)
    try file.write(bytes)
    try file.publish()
  }

  private var text: String {
    let heading = clip.names.isEmpty ? "" : clip.names.map { $0.escaped() }.joined(separator: ", ") + "\n\n"
    return heading + turns.map { "\($0.question.quotedLines)\n\($0.answer)\n" }.joined(separator: "\n")
  }
}
