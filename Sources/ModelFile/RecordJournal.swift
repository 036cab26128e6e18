import Foundation
import Support

/// Records on the disk that long work adds one after the other and finds again when it goes on, one a line: the record's number, a tab,
/// the checksum of what follows in 16 hexadecimal digits, a tab, JSON. A line without an end was cut off and does not count; neither does
/// one that is damaged. Of several with one number the last counts.
package final class RecordJournal {
  package let path: String
  /// Lines, from 1, that are whole and yet not what was written.
  package private(set) var damagedLines: [Int] = []
  /// Where each record's JSON lies in the file.
  private var places: [Int: Range<Int>] = [:]
  private var length = 0
  private let file: FileHandle

  /// Opens the file, made if it is not there, and finds what is in it. Throws where another process has it open.
  package init(path: String) throws(SlowFastError) {
    self.path = path
    do {
      file = try Self.locked(path)
      // Its name too: a record is on the disk only where the file is found again.
      try SystemCalls.synchronizeDirectory(of: path)
      index(try file.readToEnd() ?? Data())
      try file.truncate(atOffset: UInt64(length))
    } catch {
      let problem = (error as? SystemError).map { $0.code == EWOULDBLOCK ? "another process is writing it" : $0.message } ?? "\(error)"
      throw .badFile(path: path, problem: "cannot be opened for writing: \(problem)")
    }
  }

  private static func locked(_ path: String) throws -> FileHandle {
    while true {
      let descriptor = try SystemCalls.open(path, O_RDWR | O_CREAT | O_NOFOLLOW)
      let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
      guard try SystemCalls.lock(descriptor) else { throw SystemError(EWOULDBLOCK) }
      // Between opening and locking, the process that held it may have removed it: what is written to it then is lost.
      let status = try FileStatus(descriptor: descriptor)
      if let named = FileStatus(path: path, followingLinks: false), named.isSameFile(as: status) { return file }
    }
  }

  private func index(_ data: Data) {
    data.withUnsafeBytes { bytes in
      var start = 0
      var line = 1
      while start < bytes.count, let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
        let fields = bytes[start..<end].split(separator: UInt8(ascii: "\t"), maxSplits: 2, omittingEmptySubsequences: false)
        if fields.count == 3, let number = Int(String(decoding: fields[0], as: UTF8.self)),
          String(decoding: fields[1], as: UTF8.self) == checksum(UnsafeRawBufferPointer(rebasing: fields[2])).hexadecimal()
        {
          places[number] = fields[2].startIndex..<end
        } else {
          damagedLines.append(line)
        }
        start = end + 1
        line += 1
      }
      length = start
    }
  }

  /// Records, each number once.
  package var count: Int { places.count }

  /// Whether there is a record of that number.
  package func contains(_ number: Int) -> Bool { places[number] != nil }

  /// The record's JSON; nil where there is none that can be read.
  package func record(_ number: Int) -> [UInt8]? {
    guard let place = places[number] else { return nil }
    guard (try? file.seek(toOffset: UInt64(place.lowerBound))) != nil, let data = try? file.read(upToCount: place.count) else { return nil }
    return [UInt8](data)
  }

  /// Adds a record, JSON on one line; on the disk when this returns.
  package func append(_ number: Int, _ json: [UInt8]) throws(SlowFastError) { try append([(number, json)]) }

  /// Adds several records, which are written together. Those that cost nothing to find again need not be on the disk when this returns.
  package func append(_ records: [(number: Int, json: [UInt8])], isDurable: Bool = true) throws(SlowFastError) {
    if records.isEmpty { return }
    do {
      var lines = Data()
      var added: [(number: Int, place: Range<Int>)] = []
      for (number, json) in records {
        lines.append(contentsOf: "\(number)\t\(checksum(json).hexadecimal())\t".utf8)
        added.append((number, length + lines.count..<length + lines.count + json.count))
        lines.append(contentsOf: json)
        lines.append(UInt8(ascii: "\n"))
      }
      try file.seek(toOffset: UInt64(length))
      try file.write(contentsOf: lines)
      if isDurable { try file.synchronize() }
      length += lines.count
      for (number, place) in added { places[number] = place }
    } catch {
      try? file.truncate(atOffset: UInt64(length))
      throw .badFile(path: path, problem: "cannot write: \((error as NSError).localizedFailureReason ?? error.localizedDescription)")
    }
  }
}
