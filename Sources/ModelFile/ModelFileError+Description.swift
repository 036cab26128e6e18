import Support

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
      (path, "no room for \(byteCount) bytes at byte \(offset): the disk is full, or a quota or a limit of file sizes is reached")
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
      (path, "its first 64 bytes are damaged: checksum \(hexadecimal(found)), expected \(hexadecimal(expected))")
    case .unknownFlags(let path, let flags): (path, "needs features that this program does not know (flags 0x\(String(flags, radix: 16)))")
    case .fileLength(let path, let expected, let found):
      (path, "is \(UInt64(found) < expected ? "truncated" : "too long"): \(found) bytes where it should have \(expected)")
    case .tableRange(let path, let offset, let length, let fileLength):
      (path, "its table cannot be \(length) bytes at byte \(offset) of a file of \(fileLength)")
    case .tableChecksum(let path, let expected, let found):
      (path, "its table is damaged: checksum \(hexadecimal(found)), expected \(hexadecimal(expected))")
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
      (path, "\(part): damaged in bytes \(text(range)): checksum \(hexadecimal(found)), expected \(hexadecimal(expected))")
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

private func hexadecimal(_ value: UInt64) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
}
