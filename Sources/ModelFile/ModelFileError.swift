import Support

/// How reading or writing a model file can fail: one case for each way to be wrong. Offsets are bytes from the start of the file.
package enum ModelFileError: Error, Equatable, Sendable {
  // The system. `code` is an errno.
  case cannotOpen(path: String, code: Int32)
  case cannotCreate(path: String, code: Int32)
  case notRegularFile(path: String)
  case readFailed(path: String, offset: Int, code: Int32)
  /// It was written to while it was in use.
  case changed(path: String)
  /// The file became shorter after it was opened.
  case endedEarly(path: String, offset: Int, missing: Int)
  case writeFailed(path: String, offset: Int, code: Int32)
  case diskFull(path: String, offset: Int, byteCount: Int)
  case outOfMemory(path: String, byteCount: Int)
  case cancelled(path: String)

  // The prelude.
  case tooShort(path: String, expected: Int, found: Int)
  case notModelFile(path: String, found: [UInt8])
  case mangledAsText(path: String, found: [UInt8])
  case unsupportedVersion(path: String, major: UInt16, minor: UInt16, supported: UInt16)
  case preludeChecksum(path: String, expected: UInt64, found: UInt64)
  case unknownFlags(path: String, flags: UInt32)
  case fileLength(path: String, expected: UInt64, found: Int)
  case tableRange(path: String, offset: UInt64, length: UInt64, fileLength: Int)
  case tableChecksum(path: String, expected: UInt64, found: UInt64)

  // The table.
  case tableBounds(path: String, offset: Int, needed: Int, available: Int)
  case trailingBytes(path: String, offset: Int, count: Int)
  case recordLength(path: String, offset: Int, expected: Int, found: Int)
  case reservedNotZero(path: String, offset: Int, found: UInt64)
  case chunkSize(path: String, found: Int)
  case tooManyTensors(path: String, found: Int, limit: Int)
  case tooManySections(path: String, found: Int, limit: Int)
  case tensorName(path: String, name: [UInt8])
  case sectionName(path: String, name: [UInt8])
  case duplicateTensor(path: String, tensor: String)
  case duplicateSection(path: String, section: String)
  case unknownEncoding(path: String, tensor: String, code: Int)
  case unsupportedBits(path: String, tensor: String, bits: Int)
  case invalidGroup(path: String, tensor: String, group: Int)
  case invalidRank(path: String, tensor: String, rank: Int, allowed: ClosedRange<Int>)
  case invalidDimension(path: String, tensor: String, axis: Int, found: UInt64)
  case tooManyElements(path: String, tensor: String, limit: Int)
  case sectionTooLong(path: String, section: String, found: UInt64, limit: Int)
  case planeCount(path: String, tensor: String, expected: Int, found: Int)
  case planeLength(path: String, part: FilePart, expected: Int, found: UInt64)
  case chunkCount(path: String, part: FilePart, expected: Int, found: Int)
  case misalignedPlane(path: String, part: FilePart, offset: UInt64, alignment: Int)
  /// Stored bytes before the end of what precedes them, or beyond the start of the table.
  case outOfPlace(path: String, part: FilePart, offset: UInt64, byteCount: Int, allowed: Range<Int>)
  case unknownCodec(path: String, part: FilePart, chunk: Int, code: UInt8)
  case storedLength(path: String, part: FilePart, chunk: Int, rawLength: Int, found: Int)

  // The chunks.
  case chunkChecksum(path: String, part: FilePart, range: Range<Int>, expected: UInt64, found: UInt64)
  case invalidFrame(path: String, part: FilePart, range: Range<Int>, reason: String)
  case frameLength(path: String, part: FilePart, range: Range<Int>, expected: Int, found: UInt64)
  case paddingNotZero(path: String, range: Range<Int>)

  // What was asked of a reader.
  case noSuchTensor(path: String, tensor: String)
  case noSuchSection(path: String, section: String)
  case noRows(path: String, tensor: String, encoding: TensorEncoding)
  case noSuchRow(path: String, tensor: String, row: Int, rows: Int)

  // What was asked of a writer.
  /// What keeps the finished file from its name.
  case output(OutputError)
  case locked(path: String)
  case noOpenTensor(path: String)
  case tensorStillOpen(path: String, tensor: String)
  case noSuchPlane(path: String, part: FilePart)
  case planeOverfull(path: String, part: FilePart, expected: Int, found: Int)
  case planeIncomplete(path: String, part: FilePart, expected: Int, found: Int)
  case compressionFailed(path: String, part: FilePart, reason: String)
  /// The writer has finished, was aborted, or has failed before.
  case writerClosed(path: String)
}

/// What some bytes of a model file belong to.
package enum FilePart: Hashable, Sendable, CustomStringConvertible {
  case tensor(String, PlaneKind)
  case section(String)

  package var description: String {
    switch self {
    case .tensor(let name, .values): "tensor '\(name.escaped())'"
    case .tensor(let name, let plane): "the \(plane) of tensor '\(name.escaped())'"
    case .section(let name): "section '\(name.escaped())'"
    }
  }
}

extension ModelFileError {
  /// The name of the rule in `Formats/sfq.md` that the file breaks; nil where the file is not to blame.
  package var rule: String? {
    switch self {
    case .tooShort: "prelude-short"
    case .notModelFile: "magic"
    case .mangledAsText: "mangled"
    case .unsupportedVersion: "major-version"
    case .preludeChecksum: "prelude-checksum"
    case .unknownFlags: "required-flag"
    case .fileLength: "file-length"
    case .tableRange: "table-range"
    case .tableChecksum: "table-checksum"
    case .tableBounds: "table-bounds"
    case .trailingBytes: "table-trailing"
    case .recordLength: "record-length"
    case .reservedNotZero: "reserved"
    case .chunkSize: "chunk-size"
    case .tooManyTensors, .tooManySections: "count-limit"
    case .tensorName: "tensor-name"
    case .sectionName: "section-name"
    case .duplicateTensor, .duplicateSection: "duplicate-name"
    case .unknownEncoding: "encoding"
    case .unsupportedBits: "bits"
    case .invalidGroup: "group"
    case .invalidRank: "rank"
    case .invalidDimension: "dimension"
    case .tooManyElements: "element-limit"
    case .sectionTooLong: "section-limit"
    case .planeCount: "plane-count"
    case .planeLength: "plane-length"
    case .chunkCount: "chunk-count"
    case .misalignedPlane: "plane-alignment"
    case .outOfPlace: "placement"
    case .unknownCodec: "codec"
    case .storedLength: "stored-length"
    case .chunkChecksum: "chunk-checksum"
    case .invalidFrame: "frame"
    case .frameLength: "frame-length"
    case .paddingNotZero: "padding"
    default: nil
    }
  }

  /// Whether it is a chunk's or a gap's bytes that are wrong.
  var isDamage: Bool {
    switch self {
    case .chunkChecksum, .invalidFrame, .frameLength, .paddingNotZero: true
    default: false
    }
  }
}

extension ModelFileError: CustomStringConvertible {
  /// One line: the file, where in it, what was expected and what was found.
  package var description: String {
    if case .output(let error) = self { return error.description }
    let (path, text) = words
    return "\(path.escaped(limit: 4096)): \(text)"
  }

  private var words: (String, String) {
    systemWords ?? preludeWords ?? tableWords ?? planeWords ?? requestWords ?? writerWords ?? ("", "")
  }

  private var systemWords: (String, String)? {
    switch self {
    case .cannotOpen(let path, let code): (path, "cannot be opened: \(SystemError(code).message)")
    case .cannotCreate(let path, let code): (path, "cannot be written: \(SystemError(code).message)")
    case .notRegularFile(let path): (path, "is not a regular file")
    case .changed(let path): (path, "was changed while it was used")
    case .readFailed(let path, let offset, let code): (path, "reading at byte \(offset) failed: \(SystemError(code).message)")
    case .endedEarly(let path, let offset, let missing):
      (path, "ends at byte \(offset), where \(missing) more were expected: it became shorter while it was read")
    case .writeFailed(let path, let offset, let code): (path, "writing at byte \(offset) failed: \(SystemError(code).message)")
    case .diskFull(let path, let offset, let byteCount):
      // Some disks tell only when the bytes are to be durable.
      (
        path,
        "no room for \(byteCount > 0 ? "\(byteCount) bytes at byte \(offset)" : "what was written"): the disk is full, "
          + "or a quota or a limit of file sizes is reached"
      )
    case .outOfMemory(let path, let byteCount): (path, "no memory for \(byteCount) bytes of it")
    case .cancelled(let path): (path, "stopped on request")
    default: nil
    }
  }

  private var preludeWords: (String, String)? {
    switch self {
    case .tooShort(let path, let expected, let found):
      (path, found == 0 ? "is empty" : "is too short for a model file: \(found) bytes, at least \(expected) expected")
    case .notModelFile(let path, let found): (path, "is not a model file (.sfq): it begins with \(hexadecimal(found))")
    case .mangledAsText(let path, let found):
      (path, "was a model file before a text-mode copy changed it: it begins with \(hexadecimal(found)); copy it again as binary")
    case .unsupportedVersion(let path, let major, let minor, let supported):
      (path, "has format version \(major).\(minor); this program reads version \(supported)")
    case .preludeChecksum(let path, let expected, let found):
      (path, "its first 64 bytes are damaged: checksum \(found.hexadecimal()), expected \(expected.hexadecimal())")
    case .unknownFlags(let path, let flags): (path, "needs features that this program does not know (flags 0x\(String(flags, radix: 16)))")
    case .fileLength(let path, let expected, let found):
      (path, "is \(UInt64(found) < expected ? "truncated" : "too long"): \(found) bytes where it should have \(expected)")
    case .tableRange(let path, let offset, let length, let fileLength):
      (path, "its table cannot be \(length) bytes at byte \(offset) of a file of \(fileLength)")
    case .tableChecksum(let path, let expected, let found):
      (path, "its table is damaged: checksum \(found.hexadecimal()), expected \(expected.hexadecimal())")
    default: nil
    }
  }

  private var tableWords: (String, String)? {
    switch self {
    case .tableBounds(let path, let offset, let needed, let available):
      (path, "table, byte \(offset): \(needed) bytes expected, \(available) left")
    case .trailingBytes(let path, let offset, let count): (path, "table, byte \(offset): \(count) bytes after its last record")
    case .recordLength(let path, let offset, let expected, let found):
      (path, "table, byte \(offset): a record of \(found) bytes, \(expected) expected")
    case .reservedNotZero(let path, let offset, let found): (path, "byte \(offset) is reserved and holds \(found) instead of 0")
    case .chunkSize(let path, let found): (path, "a chunk size of \(found) bytes; a multiple of 4096 up to 4 MiB expected")
    case .tooManyTensors(let path, let found, let limit): (path, "\(found) tensors; at most \(limit) are allowed")
    case .tooManySections(let path, let found, let limit): (path, "\(found) sections; at most \(limit) are allowed")
    case .tensorName(let path, let name):
      (path, "a tensor's name is not 1 to \(Format.maximumTensorName) bytes of UTF-8: \(text(name))")
    case .sectionName(let path, let name):
      (path, "a section's name is not 1 to \(Format.maximumSectionName) printable ASCII characters: \(text(name))")
    case .duplicateTensor(let path, let tensor): (path, "\(quoted(tensor)) is there twice")
    case .duplicateSection(let path, let section): (path, "section '\(section.escaped())' is there twice")
    case .unknownEncoding(let path, let tensor, let code): (path, "\(quoted(tensor)) has the unknown encoding \(code)")
    case .unsupportedBits(let path, let tensor, let bits):
      (path, "\(quoted(tensor)) has codes of \(bits) bits, which its encoding does not have")
    case .invalidGroup(let path, let tensor, let group):
      (path, "\(quoted(tensor)) has groups of \(group); a multiple of 32 up to 65536 expected, or 0 for floats")
    case .invalidRank(let path, let tensor, let rank, let allowed):
      (path, "\(quoted(tensor)) has \(rank) dimensions; \(allowed.lowerBound) to \(allowed.upperBound) expected")
    case .invalidDimension(let path, let tensor, let axis, let found):
      (path, "\(quoted(tensor)) has dimension \(axis) of size \(found); 1 to \(Format.maximumElements) expected")
    case .tooManyElements(let path, let tensor, let limit): (path, "\(quoted(tensor)) has more than \(limit) values")
    case .sectionTooLong(let path, let section, let found, let limit):
      (path, "section '\(section.escaped())' has \(found) bytes; at most \(limit) are allowed")
    default: nil
    }
  }

  private var planeWords: (String, String)? {
    switch self {
    case .planeCount(let path, let tensor, let expected, let found): (path, "\(quoted(tensor)) has \(found) planes, \(expected) expected")
    case .planeLength(let path, let part, let expected, let found):
      (path, "\(part) has \(found) bytes; shape and encoding make it \(expected)")
    case .chunkCount(let path, let part, let expected, let found): (path, "\(part) has \(found) chunks; its length makes it \(expected)")
    case .misalignedPlane(let path, let part, let offset, let alignment):
      (path, "\(part) begins at byte \(offset), which is no multiple of \(alignment)")
    case .outOfPlace(let path, let part, let offset, let byteCount, let allowed):
      (path, "\(part) has \(byteCount) bytes at byte \(offset); only bytes \(allowed.lowerBound) to \(allowed.upperBound) are left for it")
    case .unknownCodec(let path, let part, let chunk, let code): (path, "chunk \(chunk) of \(part) has the unknown codec \(code)")
    case .storedLength(let path, let part, let chunk, let rawLength, let found):
      (path, "chunk \(chunk) of \(part) stores \(rawLength) bytes as \(found), which its codec cannot")
    case .chunkChecksum(let path, let part, let range, let expected, let found):
      (path, "\(part): damaged in bytes \(text(range)): checksum \(found.hexadecimal()), expected \(expected.hexadecimal())")
    case .invalidFrame(let path, let part, let range, let reason): (path, "\(part), bytes \(text(range)): no valid zstd frame: \(reason)")
    case .frameLength(let path, let part, let range, let expected, let found):
      (path, "\(part), bytes \(text(range)): the zstd frame holds \(found) bytes, \(expected) expected")
    case .paddingNotZero(let path, let range): (path, "bytes \(text(range)) belong to nothing and are not zero")
    default: nil
    }
  }

  private var requestWords: (String, String)? {
    switch self {
    case .noSuchTensor(let path, let tensor): (path, "has no \(quoted(tensor))")
    case .noSuchSection(let path, let section): (path, "has no section '\(section.escaped())'")
    case .noRows(let path, let tensor, let encoding): (path, "\(quoted(tensor)) (\(encoding)) has no rows that are stored one by one")
    case .noSuchRow(let path, let tensor, let row, let rows): (path, "\(quoted(tensor)) has no row \(row): there are \(rows)")
    default: nil
    }
  }

  private var writerWords: (String, String)? {
    switch self {
    case .locked(let path): (path, "another process is writing it")
    case .noOpenTensor(let path): (path, "no tensor was begun")
    case .tensorStillOpen(let path, let tensor): (path, "\(quoted(tensor)) was begun and not ended")
    case .noSuchPlane(let path, let part): (path, "there is no plane for \(part)")
    case .planeOverfull(let path, let part, let expected, let found): (path, "\(part) was given \(found) bytes and takes \(expected)")
    case .planeIncomplete(let path, let part, let expected, let found): (path, "\(part) was given only \(found) of \(expected) bytes")
    case .compressionFailed(let path, let part, let reason): (path, "\(part) could not be compressed: \(reason)")
    case .writerClosed(let path): (path, "nothing more can be written: it was finished, given up, or failed before")
    default: nil
    }
  }
}

private func quoted(_ tensor: String) -> String { "tensor '\(tensor.escaped())'" }
private func text(_ range: Range<Int>) -> String { "\(range.lowerBound) to \(range.upperBound)" }
private func text(_ name: [UInt8]) -> String { "'\(String(decoding: name, as: UTF8.self).escaped())'" }

private func hexadecimal(_ bytes: [UInt8]) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
}

extension ModelFileError: ClassifiedError {
  package var kind: SlowFastError.Kind {
    switch self {
    case .output(let error): error.kind
    case .cancelled: .cancelled
    case .outOfMemory: .notEnoughMemory
    case .changed: .modelChanged
    case .cannotCreate, .writeFailed, .diskFull: .unwritableOutput
    default: .invalidModel
    }
  }

  package var whatItIs: String? {
    switch self {
    case .notModelFile(let path, _), .notRegularFile(let path), .cannotOpen(let path, _), .tooShort(let path, _, _):
      FileKind(path: path).insteadOfModel(path).map { "\(path.escaped()): \($0)" }
    default: nil
    }
  }
}
