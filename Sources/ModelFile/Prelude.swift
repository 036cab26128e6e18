/// The first 64 bytes of a file: that it is one, of which version, and where its table is.
struct Prelude: Equatable {
  var major = Format.major
  var minor = Format.minor
  var flags: UInt32 = 0
  var tableOffset: Int
  var tableLength: Int
  var tableChecksum: UInt64

  var fileLength: Int { tableOffset + tableLength }

  /// A newer minor version may have put something where this one has zeros.
  var isNewer: Bool { minor > Format.minor }

  var bytes: [UInt8] {
    var result = Format.magic
    result.append(littleEndian: major)
    result.append(littleEndian: minor)
    result.append(littleEndian: flags)
    result.append(littleEndian: UInt64(tableOffset))
    result.append(littleEndian: UInt64(tableLength))
    result.append(littleEndian: tableChecksum)
    result.append(littleEndian: UInt64(fileLength))
    result.append(littleEndian: UInt64(0))
    result.append(littleEndian: checksum(result))
    return result
  }
}

extension Prelude {
  /// Of an open file, checked against its length.
  init(of file: SystemFile) throws(ModelFileError) {
    let found = try file.status().byteCount
    let start = try file.read(min(found, Format.preludeLength), at: 0)
    try self.init(start, fileLength: found, path: file.path)
  }

  /// `start`: the file's first 64 bytes, or all where it has fewer.
  init(_ start: [UInt8], fileLength found: Int, path: String) throws(ModelFileError) {
    try Prelude.checkMagic(start, path: path)
    guard start.count >= Format.preludeLength else {
      throw .tooShort(path: path, expected: Format.preludeLength, found: start.count)
    }
    var reader = ByteReader(start[...], at: 0, path: path)
    _ = try reader.bytes(Format.magic.count)
    major = try reader.integer(UInt16.self)
    minor = try reader.integer(UInt16.self)
    guard major == Format.major else {
      throw .unsupportedVersion(path: path, major: major, minor: minor, supported: Format.major)
    }
    flags = try reader.integer(UInt32.self)
    let offset = try reader.integer(UInt64.self)
    let length = try reader.integer(UInt64.self)
    tableChecksum = try reader.integer(UInt64.self)
    let fileLength = try reader.integer(UInt64.self)
    let reserved = try reader.integer(UInt64.self)
    let expected = try reader.integer(UInt64.self)
    let computed = checksum(start[..<(Format.preludeLength - 8)])
    guard computed == expected else { throw .preludeChecksum(path: path, expected: expected, found: computed) }
    guard flags & Format.requiredFlags == 0 else { throw .unknownFlags(path: path, flags: flags) }
    guard reserved == 0 || minor > Format.minor else { throw .reservedNotZero(path: path, offset: 48, found: reserved) }
    guard fileLength == UInt64(found) else { throw .fileLength(path: path, expected: fileLength, found: found) }
    // The table is the last thing in the file; what is left between the prelude and it is the chunks' room.
    guard
      offset >= UInt64(Format.preludeLength), offset <= fileLength, offset % UInt64(Format.alignment) == 0,
      length == fileLength - offset, length >= UInt64(Format.tableHeaderLength), length <= UInt64(Format.maximumTableLength)
    else { throw .tableRange(path: path, offset: offset, length: length, fileLength: found) }
    tableOffset = Int(offset)
    tableLength = Int(length)
  }

  private static func checkMagic(_ start: [UInt8], path: String) throws(ModelFileError) {
    if start.starts(with: Format.magic) { return }
    if start.isEmpty { throw .tooShort(path: path, expected: Format.preludeLength, found: 0) }
    let found = Array(start.prefix(16))
    // The three letters survive what a text-mode copy does: bytes above 127 changed or encoded, line ends converted.
    let letters = Array(Format.magic[1..<4])
    let isMangled = (0...3).contains { start.dropFirst($0).starts(with: letters) }
    throw isMangled ? .mangledAsText(path: path, found: found) : .notModelFile(path: path, found: found)
  }
}
