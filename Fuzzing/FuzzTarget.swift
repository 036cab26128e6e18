import Foundation
import TestSupport

/// A reader of bytes that come from outside, and how what it reads is changed at random.
struct FuzzTarget: Sendable {
  /// As `make fuzz` calls it, and its folder in `Fuzzing/Corpus`.
  var name: String
  /// Inputs to begin with, which the reader takes.
  var seeds: @Sendable () throws -> [[UInt8]]
  /// Changes an input as its format makes sense of it.
  var mutate: @Sendable (inout [UInt8], inout SeededNumbers) -> Void
  /// Makes right what would else keep a changed input from being looked at: lengths and checksums.
  var repair: @Sendable (inout [UInt8]) -> Void = { _ in }
  /// Reads the input as the program would, and uses all that is read. It may throw, and nothing else.
  var read: @Sendable ([UInt8]) throws -> Void

  static let all: [FuzzTarget] = [
    .modelFile, .tokenizerSection, .records, .cache,
    .safetensors, .index, .config, .tokenizerFiles,
    .json, .schema, .question, .evaluation, .batch,
    .chat, .multipart,
    .pictureHeader, .picture, .clip, .report,
  ]
}

/// A property that must hold whatever the input: ends the program where it does not.
func require(
  _ condition: Bool, _ message: @autoclosure () -> String = "a property does not hold", file: StaticString = #fileID, line: UInt = #line
) {
  if !condition { fatalError(message(), file: file, line: line) }
}

/// Readers take names of files: a folder for them, which is in memory if `TMPDIR` is.
enum Scratch {
  static let folder: String = {
    let path = NSTemporaryDirectory() + "/slowfast-fuzz-\(getpid())"
    try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }()

  /// The path of a file that holds the bytes.
  static func file(_ name: String, _ bytes: some Collection<UInt8>) -> String {
    let path = "\(folder)/\(name)"
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    precondition(descriptor >= 0, "\(path) cannot be written")
    let bytes = Array(bytes)
    precondition(write(descriptor, bytes, bytes.count) == bytes.count)
    close(descriptor)
    return path
  }

  static func remove(_ name: String) { unlink("\(folder)/\(name)") }
}

/// Files of the repository, whose root the program is started in.
enum Repository {
  static func bytes(_ path: String) throws -> [UInt8] { try [UInt8](Data(contentsOf: URL(fileURLWithPath: path))) }

  /// The files of a folder that have one of these endings, and no more bytes than that.
  static func files(
    _ folder: String, _ endings: [String], limit: Int = 1 << 16, _ isWanted: (String) -> Bool = { _ in true }
  ) throws -> [[UInt8]] {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    return try names.filter { name in endings.contains { name.hasSuffix($0) } && isWanted(name) }.map { try bytes("\(folder)/\($0)") }
      .filter { $0.count <= limit }
  }
}

/// Several texts are one input, with a zero between them.
enum Parts {
  static func join(_ parts: [[UInt8]]) -> [UInt8] { Array(parts.joined(separator: [0])) }
  static func split(_ bytes: [UInt8]) -> [[UInt8]] { bytes.split(separator: 0, omittingEmptySubsequences: false).map(Array.init) }
}
