import Foundation
import Support

/// A file of a checkpoint's directory.
struct CheckpointFile {
  let path: String

  /// Larger than any tokenizer's file; read whole, so bounded.
  private static let maximumLength = 1 << 29

  init(_ directory: String, _ name: String) {
    path = directory.hasSuffix("/") ? directory + name : directory + "/" + name
  }

  /// A link that leads nowhere counts: reading it says so.
  var exists: Bool { FileKind.isThere(path) }

  func read() throws(TokenizerError) -> [UInt8] {
    if let instead = FileKind(path: path).instead { throw .unreadable(file: path, reason: instead) }
    let bytes: [UInt8]?
    do throws(SystemError) { bytes = try SystemCalls.contents(of: path, limit: Self.maximumLength) } catch {
      throw .unreadable(file: path, reason: error.message)
    }
    guard let bytes else { throw .unreadable(file: path, reason: "not a file of at most \(Self.maximumLength) bytes") }
    return bytes
  }

  func decode<T: Decodable>(_ type: T.Type) throws(TokenizerError) -> T {
    let bytes = try read()
    do {
      // Foundation's decoder takes one of two equal keys, and does not say where a text is wrong.
      try JSONReader.check(bytes)
      return try JSONDecoder().decode(type, from: Data(bytes))
    } catch let error as JSONError {
      throw .malformed(file: path, reason: error.description)
    } catch let error as DecodingError {
      throw .malformed(file: path, reason: Self.describe(error))
    } catch {
      throw .malformed(file: path, reason: error.localizedDescription)
    }
  }

  private static func describe(_ error: DecodingError) -> String {
    func place(_ context: DecodingError.Context) -> String {
      let path = context.codingPath.map { key in key.intValue.map { "[\($0)]" } ?? "." + key.stringValue }.joined()
      return path.isEmpty ? "the file" : String(path.drop { $0 == "." })
    }
    switch error {
    case .typeMismatch(let type, let context): return "\(place(context)) is not of the type \(type)"
    case .valueNotFound(_, let context): return "\(place(context)) is null"
    case .keyNotFound(let key, let context): return "\(place(context)) has no \"\(key.stringValue)\""
    // It is JSON; Foundation does not say where.
    case .dataCorrupted(let context): return "a number in \(place(context)) is not a whole one"
    @unknown default: return "\(error)"
    }
  }
}
