import Support

/// How reading or writing a model file can fail: one case for each way to be wrong. Offsets are bytes from the start of the file.
package enum ModelFileError: Error, Equatable, Sendable {
  // The system. `code` is an errno.
  case cannotOpen(path: String, code: Int32)
  case cannotCreate(path: String, code: Int32)
  case notRegularFile(path: String)
  case readFailed(path: String, offset: Int, code: Int32)
  /// The file became shorter after it was opened.
  /// It was written to while it was in use.
  case changed(path: String)
  case endedEarly(path: String, offset: Int, missing: Int)
  case writeFailed(path: String, offset: Int, code: Int32)
  case diskFull(path: String, offset: Int, byteCount: Int)
  /// The finished file could not be made durable or given its name.
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
