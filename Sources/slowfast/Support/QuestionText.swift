import ArgumentParser
import Foundation
import SlowFast
import Support

/// Questions of a command line: text, `-` for standard input, `@FILE` for a file, `@@text` for text that begins with `@`.
enum QuestionText {
  /// More than any context holds.
  private static let limit = 1 << 24

  static func read(_ arguments: [String]) throws -> [String] {
    if arguments.count(where: { $0 == "-" }) > 1 {
      throw ValidationError("--question - is there twice, but standard input can be read once")
    }
    return try arguments.map(read)
  }

  private static func read(_ argument: String) throws -> String {
    let text: String
    let source: String
    if argument == "-" {
      source = "standard input"
      text = try content(of: STDIN_FILENO, source)
    } else if argument.hasPrefix("@"), !argument.hasPrefix("@@") {
      source = String(argument.dropFirst())
      if source.isEmpty { throw ValidationError("--question is '@', expected a file's name after it") }
      let descriptor: Int32
      do throws(SystemError) { descriptor = try SystemCalls.open(source, O_RDONLY) } catch {
        throw SlowFastError.badEvaluation(path: source, line: nil, problem: "cannot read: \(error.message)")
      }
      defer { close(descriptor) }
      text = try content(of: descriptor, source)
    } else {
      source = "--question"
      text = argument.hasPrefix("@@") ? String(argument.dropFirst()) : argument
    }
    if text.hasEscapedBytes { throw ValidationError("\(source.escaped()) is not UTF-8") }
    if text.isBlank { throw ValidationError("\(source.escaped()) is \(text.isEmpty ? "empty" : "blank"), expected a question") }
    return text
  }

  /// Without a byte order mark and the last line's end.
  private static func content(of descriptor: Int32, _ source: String) throws(SlowFastError) -> String {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = read(descriptor, into: &buffer)
      if count == 0 { break }
      if count < 0 {
        if errno == EINTR { continue }
        throw .badEvaluation(path: source, line: nil, problem: "cannot read: \(SystemError().message)")
      }
      bytes += buffer[..<count]
      if bytes.count > limit {
        throw .badEvaluation(path: source, line: nil, problem: "more than \(formatBytes(limit)), expected a question")
      }
    }
    guard var text = String(question: bytes) else { throw .badEvaluation(path: source, line: nil, problem: "is not UTF-8") }
    if text.last?.isNewline == true { text.removeLast() }
    return text
  }

  private static func read(_ descriptor: Int32, into buffer: inout [UInt8]) -> Int {
    buffer.withUnsafeMutableBytes { Foundation.read(descriptor, $0.baseAddress, $0.count) }
  }
}

extension String {
  /// nil where the bytes are not UTF-8; without a byte order mark at the start.
  init?(question bytes: some Collection<UInt8>) {
    let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
    let rest = bytes.starts(with: mark) ? bytes.dropFirst(mark.count) : bytes[...]
    guard let text = String(validating: rest, as: UTF8.self) else { return nil }
    self = text
  }

  var isBlank: Bool { allSatisfy(\.isWhitespace) }
}
