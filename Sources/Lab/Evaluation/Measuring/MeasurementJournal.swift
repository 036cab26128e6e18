import Foundation
import ModelFile
import Support

/// The records of one model on the disk, one a line: the clip's number, a tab, the checksum of what follows in 16 hexadecimal digits, a tab, JSON.
/// A line without an end was cut off and does not count; neither does one that is damaged.
final class MeasurementJournal {
  let path: String
  /// Lines, from 1, that are whole and yet not what was written: their clips are measured again.
  private(set) var damagedLines: [Int] = []
  /// Where each clip's JSON lies in the file.
  private var places: [Int: Range<Int>] = [:]
  private var length = 0
  private let file: FileHandle

  /// Opens the file, made if it is not there, and finds what is in it.
  init(path: String) throws(SlowFastError) {
    self.path = path
    do {
      file = FileHandle(fileDescriptor: try SystemCalls.open(path, O_RDWR | O_CREAT | O_NOFOLLOW), closeOnDealloc: true)
      index(try file.readToEnd() ?? Data())
      try file.truncate(atOffset: UInt64(length))
    } catch { throw .badReport(path: path, reason: "cannot be opened for writing: \((error as? SystemError)?.message ?? "\(error)")") }
  }

  private func index(_ data: Data) {
    data.withUnsafeBytes { bytes in
      var start = 0
      var line = 1
      while start < bytes.count, let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
        let fields = bytes[start..<end].split(separator: UInt8(ascii: "\t"), maxSplits: 2, omittingEmptySubsequences: false)
        if fields.count == 3, let clip = Int(String(decoding: fields[0], as: UTF8.self)),
          String(decoding: fields[1], as: UTF8.self) == checksum(UnsafeRawBufferPointer(rebasing: fields[2])).hexadecimal()
        {
          places[clip] = fields[2].startIndex..<end
        } else {
          damagedLines.append(line)
        }
        start = end + 1
        line += 1
      }
      length = start
    }
  }

  /// The clip's record; nil where there is none that can be read.
  func record(_ clip: Int) -> ClipRecord? {
    guard let place = places[clip] else { return nil }
    do {
      try file.seek(toOffset: UInt64(place.lowerBound))
      guard let data = try file.read(upToCount: place.count) else { return nil }
      let decoder = JSONDecoder()
      decoder.nonConformingFloatDecodingStrategy = .convertFromString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
      let record = try decoder.decode(ClipRecord.self, from: data)
      return record.isPlausible ? record : nil
    } catch { return nil }
  }

  /// Adds a record; on the disk when this returns.
  func append(_ record: ClipRecord) throws(SlowFastError) {
    do {
      let encoder = JSONEncoder()
      encoder.nonConformingFloatEncodingStrategy = .convertToString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
      let json = try encoder.encode(record)
      let line = Data("\(record.clip)\t\(json.withUnsafeBytes { checksum($0) }.hexadecimal())\t".utf8) + json + Data("\n".utf8)
      try file.seek(toOffset: UInt64(length))
      try file.write(contentsOf: line)
      try file.synchronize()
      let end = length + line.count
      places[record.clip] = end - 1 - json.count..<end - 1
      length = end
    } catch {
      try? file.truncate(atOffset: UInt64(length))
      throw .badReport(path: path, reason: "cannot write: \((error as NSError).localizedFailureReason ?? error.localizedDescription)")
    }
  }
}
