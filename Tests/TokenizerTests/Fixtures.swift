import Foundation
import Testing
import Tokenizer

/// The files under Data, and checkpoints made of them with something changed.
enum Fixture {
  static let directory = Bundle.module.resourceURL!.appendingPathComponent("Data")

  static func data(_ path: String) throws -> Data { try Data(contentsOf: directory.appendingPathComponent(path)) }

  static func decode<T: Decodable>(_ path: String, as type: T.Type = T.self) throws -> T {
    try JSONDecoder().decode(type, from: data(path))
  }

  static func tokenizer(_ name: String) throws -> Tokenizer {
    try Tokenizer(checkpoint: directory.appendingPathComponent(name).path)
  }

  /// The object in a JSON file.
  static func object(_ path: String) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: data(path)) as? [String: Any])
  }

  /// The reduced Qwen2 tokenizer with the fields of another file instead of its own.
  static func tokenizer(changedBy path: String) throws -> Tokenizer {
    let json = try object("qwen2/tokenizer.json").merging(object(path)) { _, new in new }
    return try checkpoint(["tokenizer.json": JSONSerialization.data(withJSONObject: json)]) { try Tokenizer(checkpoint: $0) }
  }

  /// Calls `body` with a directory of these files.
  static func checkpoint<R>(_ files: [String: Data], _ body: (String) throws -> R) throws -> R {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("tokenizer-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    for (name, data) in files { try data.write(to: directory.appendingPathComponent(name)) }
    return try body(directory.path)
  }
}

/// Texts and what HuggingFace's `tokenizers` makes of them (Data/make_vectors.py).
struct Vectors: Decodable {
  struct Text: Decodable {
    var text: String
    var ids: [Int32]
    var decoded: String
    var decodedWithoutSpecial: String
    var idsAsText: [Int32]
  }

  /// `unit` repeated `times` times; of its ids only how many there are, and one number that depends on all.
  struct Long: Decodable {
    var unit: String
    var times: Int
    var count: Int
    var digest: UInt64
  }

  var texts: [Text]
  var long: [Long]

  static func digest(_ values: some Sequence<some BinaryInteger>, _ start: UInt64 = 0) -> UInt64 {
    values.reduce(start) { digest, value in
      let (high, low) = digest.multipliedFullWidth(by: 1_000_003)
      let (sum, carry) = low.addingReportingOverflow(UInt64(value))
      return (UInt64(1) << 61).dividingFullWidth((high + (carry ? 1 : 0), sum)).remainder
    }
  }
}

/// Swift takes "é" and "e\u{301}" for equal; these do not.
func expectSame(_ text: String, _ expected: String, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) {
  #expect(Array(text.utf8) == Array(expected.utf8), comment, sourceLocation: sourceLocation)
}
