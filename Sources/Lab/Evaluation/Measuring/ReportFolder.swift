import Foundation
import ModelFile
import Safetensors
import Support

/// Where a comparison writes: reports, and below them what was measured so far.
final class ReportFolder {
  let path: String
  private var lock: Int32 = -1

  var cache: String { path + "/measurements" }

  /// Makes the folder if it is not there, and holds it for this run alone.
  init(_ path: String) throws(SlowFastError) {
    self.path = path
    if let status = FileStatus(path: path), status.kind != .directory {
      throw .badReport(path: path, reason: "is a file, expected a folder for the report")
    }
    do throws(SystemError) { try SystemCalls.makeDirectory(cache) } catch {
      throw .badReport(path: path, reason: "cannot make the folder: \(error.message)")
    }
    do throws(SystemError) {
      lock = try SystemCalls.open(cache + "/lock", O_RDWR | O_CREAT | O_NOFOLLOW)
      guard try SystemCalls.lock(lock) else { throw SystemError(EWOULDBLOCK) }
    } catch {
      throw .badReport(
        path: path, reason: error.code == EWOULDBLOCK ? "another comparison is writing there" : "cannot be written to: \(error.message)")
    }
  }

  deinit { if lock >= 0 { close(lock) } }

  /// A file in the folder, under its name only when it is whole.
  func write(_ bytes: [UInt8], as name: String) throws(SlowFastError) {
    do throws(OutputError) {
      let file = try OutputFile(path + "/" + name, replacing: true)
      try file.write(bytes)
      try file.publish()
    } catch { throw SlowFastError(error) }
  }

  /// The records of what `identity` says.
  func journal(_ identity: [String]) throws(SlowFastError) -> MeasurementJournal {
    try MeasurementJournal(path: "\(cache)/\(Self.key(identity)).jsonl")
  }

  /// A place for a model file that is needed for a while.
  func modelFile(_ identity: [String]) -> String { "\(cache)/\(Self.key(identity)).sfq" }

  static func key(_ identity: [String]) -> String { checksum(Array(identity.joined(separator: "\n").utf8)).hexadecimal() }
}

/// What tells one model from another without reading all of it.
enum ModelIdentity {
  static func of(_ path: String) throws(SlowFastError) -> String {
    guard let status = FileStatus(path: path) else { throw .badModel(path: path, reason: "no such file or directory") }
    do throws(CheckpointError) {
      guard status.kind == .directory else { return try describe(SourceFile(path: path)) }
      let checkpoint = try Checkpoint(directory: path)
      var parts = ["\(checksum(checkpoint.config))"]
      for shard in checkpoint.shards { parts.append(try describe(shard.file)) }
      return parts.joined(separator: " ")
    } catch { throw SlowFastError(error) }
  }

  private static func describe(_ file: SourceFile) throws(CheckpointError) -> String {
    let first = try file.bytes(0..<min(4096, file.byteCount))
    let last = try file.bytes(max(0, file.byteCount - 4096)..<file.byteCount)
    return "\(file.byteCount) \(file.modified) \(checksum(first)) \(checksum(last))"
  }
}
