import Foundation

/// The records of one model on the disk, one a line: the clip's number, a tab, JSON. A line without an end was cut off and does not count.
final class MeasurementJournal {
  let path: String
  /// Where each clip's JSON lies in the file.
  private var places: [Int: Range<Int>] = [:]
  private var length = 0
  private let file: FileHandle

  /// Opens the file, made if it is not there, and finds what is in it.
  init(path: String) throws(SlowFastError) {
    self.path = path
    do {
      if !FileManager.default.fileExists(atPath: path) { try Data().write(to: URL(fileURLWithPath: path)) }
      file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
      index(try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped))
      try file.truncate(atOffset: UInt64(length))
    } catch { throw .badReport(path: path, reason: "cannot be opened for writing") }
  }

  private func index(_ data: Data) {
    data.withUnsafeBytes { bytes in
      var start = 0
      while start < bytes.count, let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
        if let tab = bytes[start..<end].firstIndex(of: UInt8(ascii: "\t")),
          let clip = Int(String(decoding: bytes[start..<tab], as: UTF8.self))
        {
          places[clip] = tab + 1..<end
        }
        start = end + 1
      }
      length = start
    }
  }

  func has(_ clip: Int) -> Bool { places[clip] != nil }

  /// The clip's record; nil where there is none that can be read.
  func record(_ clip: Int) -> ClipRecord? {
    guard let place = places[clip] else { return nil }
    do {
      try file.seek(toOffset: UInt64(place.lowerBound))
      guard let data = try file.read(upToCount: place.count) else { return nil }
      let decoder = JSONDecoder()
      decoder.nonConformingFloatDecodingStrategy = .convertFromString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
      return try decoder.decode(ClipRecord.self, from: data)
    } catch { return nil }
  }

  /// Adds a record; on the disk when this returns.
  func append(_ record: ClipRecord) throws(SlowFastError) {
    do {
      let encoder = JSONEncoder()
      encoder.nonConformingFloatEncodingStrategy = .convertToString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
      let json = try encoder.encode(record)
      let line = Data("\(record.clip)\t".utf8) + json + Data("\n".utf8)
      try file.seek(toOffset: UInt64(length))
      try file.write(contentsOf: line)
      try file.synchronize()
      let end = length + line.count
      places[record.clip] = end - 1 - json.count..<end - 1
      length = end
    } catch {
      try? file.truncate(atOffset: UInt64(length))
      throw .badReport(path: path, reason: "cannot write: is the disk full?")
    }
  }
}
