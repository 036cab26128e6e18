import ArgumentParser
import Foundation
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

  /// A JSON schema: a file's content, or standard input's.
  static func schema(_ name: String) throws(SlowFastError) -> String {
    if name == "-" { return try content(of: STDIN_FILENO, inputName, expected: "a schema") }
    let descriptor: Int32
    do throws(SystemError) { descriptor = try SystemCalls.open(name, O_RDONLY) } catch {
      throw SlowFastError.badFile(path: name, problem: "cannot read: \(error.message)")
    }
    defer { close(descriptor) }
    return try content(of: descriptor, name, expected: "a schema")
  }

  private static func read(_ argument: String) throws -> String {
    let text: String
    let source: String
    if argument == "-" {
      source = inputName
      text = try content(of: STDIN_FILENO, source)
    } else if argument.hasPrefix("@"), !argument.hasPrefix("@@") {
      source = String(argument.dropFirst())
      if source.isEmpty { throw ValidationError("--question is '@', expected a file's name after it") }
      let descriptor: Int32
      do throws(SystemError) { descriptor = try SystemCalls.open(source, O_RDONLY) } catch {
        throw SlowFastError.badFile(path: source, problem: "cannot read: \(error.message)")
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
  private static func content(
    of descriptor: Int32, _ source: String, expected: String = "a question"
  ) throws(SlowFastError) -> String {
    let bytes = try bytes(of: descriptor, source, limit: limit, expected: expected)
    guard var text = String(validating: bytes.withoutMark, as: UTF8.self) else {
      throw .badFile(path: source, problem: "is not UTF-8")
    }
    if text.last?.isNewline == true { text.removeLast() }
    return text
  }

  /// A text of standard input as it is, whatever its length.
  static func standardInput() throws(SlowFastError) -> String {
    guard let text = String(validating: try bytes(of: STDIN_FILENO, inputName, limit: Int.max), as: UTF8.self) else {
      throw .badFile(path: inputName, problem: "is not UTF-8")
    }
    return text
  }

  /// Standard input cannot be read.
  static func unreadable(_ error: SystemError) -> SlowFastError {
    .badFile(path: inputName, problem: "cannot read: \(error.message)")
  }

  private static let inputName = "standard input"

  private static func bytes(
    of descriptor: Int32, _ source: String, limit: Int, expected: String = "a question"
  ) throws(SlowFastError) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = read(descriptor, into: &buffer)
      if count == 0 { return bytes }
      if count < 0 {
        if errno == EINTR { continue }
        throw .badFile(path: source, problem: "cannot read: \(SystemError().message)")
      }
      bytes += buffer[..<count]
      if bytes.count > limit {
        throw .badFile(path: source, problem: "more than \(formatBytes(limit)), expected \(expected)")
      }
    }
  }

  private static func read(_ descriptor: Int32, into buffer: inout [UInt8]) -> Int {
    buffer.withUnsafeMutableBytes { Foundation.read(descriptor, $0.baseAddress, $0.count) }
  }
}
