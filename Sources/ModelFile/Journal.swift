/// What is whole in a partial file: a sidecar that grows by a record each time a tensor is done, so that an interrupted run goes on where
/// it was. No part of the format: no reader but the writer's next run sees it.
///
/// A header (what is being written, and how), then for each tensor its record as in the table and the record's checksum. Nothing is
/// flushed: after a crash the tensors' own checksums decide what to believe.
struct Journal {
  /// What must be the same for a run to go on with another's work.
  struct Setup: Equatable {
    var fingerprint: String
    var chunkSize: Int
    var compression: ChunkCompression

    var header: [UInt8] {
      var bytes = Array("SFQJ".utf8)
      bytes.append(littleEndian: UInt32(1))
      bytes.append(littleEndian: UInt32(chunkSize))
      if case .zstd(let level, let codes) = compression {
        bytes.append(littleEndian: Int64(level))
        bytes.append(codes ? 1 : 2)
      } else {
        bytes.append(littleEndian: Int64(0))
        bytes.append(0)
      }
      bytes.append(littleEndian: UInt64(fingerprint.utf8.count))
      bytes.append(contentsOf: fingerprint.utf8)
      bytes.append(littleEndian: checksum(bytes))
      return bytes
    }
  }

  /// What an earlier run of the same setup left: whole records, up to the first that is not, and where each ends.
  static func entries(_ bytes: [UInt8], setup: Setup, dataLength: Int, path: String) -> [(tensor: StoredTensor, end: Int)]? {
    let header = setup.header
    guard bytes.starts(with: header) else { return nil }
    var reader = ByteReader(bytes[header.count...], at: header.count, path: path)
    let room = Format.preludeLength..<max(Format.preludeLength, dataLength)
    var parser = TableParser(path: path, chunkSize: setup.chunkSize, room: room)
    var entries: [(StoredTensor, Int)] = []
    do throws(ModelFileError) {
      while reader.available > 0 {
        let start = reader.offset
        let tensor = try parser.tensor(&reader)
        let found = checksum(bytes[start..<reader.offset])
        guard try reader.integer(UInt64.self) == found else { break }
        entries.append((tensor, reader.offset))
      }
    } catch {
      // The run was interrupted while it wrote this record; those before it count.
    }
    return entries
  }

  static func entry(_ tensor: StoredTensor) -> [UInt8] {
    var bytes = tensor.record
    bytes.append(littleEndian: checksum(bytes))
    return bytes
  }
}
