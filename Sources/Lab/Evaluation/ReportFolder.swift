import Foundation
import ModelFile
import Safetensors
import Support
import Synchronization

/// Where a comparison writes: reports, and below them what was measured so far.
final class ReportFolder {
  let path: String
  private var lock: Int32 = -1

  private var measurements: String { path + "/measurements" }

  /// Makes the folder if it is not there, and holds it for this run alone.
  init(_ path: String) throws(SlowFastError) {
    self.path = path
    if let status = FileStatus(path: path), status.kind != .directory {
      throw .badFile(path: path, problem: "is a file, expected a folder for the report")
    }
    do throws(SystemError) { try SystemCalls.makeDirectory(measurements) } catch {
      throw .badFile(path: path, problem: "cannot make the folder: \(error.message)")
    }
    do throws(SystemError) {
      lock = try SystemCalls.open(measurements + "/lock", O_RDWR | O_CREAT | O_NOFOLLOW)
      guard try SystemCalls.lock(lock) else { throw SystemError(EWOULDBLOCK) }
    } catch {
      throw .badFile(
        path: path, problem: error.code == EWOULDBLOCK ? "another comparison is writing there" : "cannot be written to: \(error.message)")
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
    try MeasurementJournal(path: "\(measurements)/\(Self.key(identity)).jsonl")
  }

  /// A place for a model file that is needed for a while.
  func modelFile(_ identity: [String]) -> String { "\(measurements)/\(Self.key(identity)).sfq" }

  /// Takes away model files, and halves of them, that a run left which was killed while it needed one.
  func removeModelFiles() {
    for name in (try? SystemCalls.entries(of: measurements)) ?? [] where name.contains(".sfq") {
      SystemCalls.remove(measurements + "/" + name)
    }
  }

  static func key(_ identity: [String]) -> String { checksum(Array(identity.joined(separator: "\n").utf8)).hexadecimal() }
}

/// What tells one model from another without reading all of it.
enum ModelIdentity {
  static func of(_ path: String) throws(SlowFastError) -> String {
    guard let status = FileStatus(path: path) else { throw .badModel(path: path, reason: "no such file or directory") }
    do throws(CheckpointError) {
      guard status.kind == .directory else { return try describe(SourceFile(path: path)) }
      let checkpoint = try Checkpoint(model: path, tower: nil)
      var parts = [checkpoint.configurationIdentity]
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

/// The records of one model on the disk, by clip. For several threads.
final class MeasurementJournal: Sendable {
  let path: String
  /// Lines, from 1, that are whole and yet not what was written: their clips are measured again.
  let damagedLines: [Int]
  private let journal: Mutex<RecordJournal>

  /// Opens the file, made if it is not there, and finds what is in it.
  init(path: String) throws(SlowFastError) {
    let journal = try RecordJournal(path: path)
    (self.path, damagedLines) = (path, journal.damagedLines)
    self.journal = Mutex(journal)
  }

  /// The clip's record; nil where there is none that can be read.
  func record(_ clip: Int) -> ClipRecord? {
    guard let json = journal.withLock({ $0.record(clip) }),
      let record = try? JSONReader.decode(ClipRecord.self, json, takesNonfinite: true)
    else { return nil }
    return record.isPlausible ? record : nil
  }

  /// Adds a record; on the disk when this returns.
  func append(_ record: ClipRecord) throws(SlowFastError) {
    let encoder = JSONEncoder()
    encoder.nonConformingFloatEncodingStrategy = .convertToString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    let json: [UInt8]
    do { json = [UInt8](try encoder.encode(record)) } catch { throw .badFile(path: path, problem: "cannot write: \(error)") }
    try journal.withLock { journal throws(SlowFastError) in try journal.append(record.clip, json) }
  }
}

/// The facts on the disk, beside the records.
struct FactsFile {
  let path: String

  func read() -> ModelFacts? {
    (try? SystemCalls.contents(of: path, limit: 1 << 20)).flatMap { try? JSONReader.decode(ModelFacts.self, $0) }
  }

  func write(_ facts: ModelFacts) throws(SlowFastError) {
    do {
      let json = [UInt8](try JSONEncoder().encode(facts))
      try json.withUnsafeBytes { try OutputFile.write($0, to: path, replacing: true) }
    } catch { throw .badFile(path: path, problem: "cannot write: \((error as? OutputError).map { "\($0)" } ?? "\(error)")") }
  }
}
