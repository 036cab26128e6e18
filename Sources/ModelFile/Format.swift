import CXXHash
import Support
import Tensors

/// The numbers of the format, as `Formats/sfq.md` gives them.
enum Format {
  /// A byte above 127, the name, both line ends and the end-of-file mark of old systems: any text-mode copy changes it.
  static let magic: [UInt8] = [0x89, 0x53, 0x46, 0x51, 0x0D, 0x0A, 0x1A, 0x0A]
  static let major: UInt16 = 1
  /// The newest that is read. A file has the least that it needs: 2 where uneven levels are in it, 1 where codes of 3 bits are, else 0.
  static let minor: UInt16 = 2
  /// Bits of the prelude's flags that a reader must know, and those that this one does.
  static let requiredFlags: UInt32 = 0xFFFF
  static let knownFlags: UInt32 = hasCodesOf3Bits | hasUnevenLevels
  /// A tensor has codes of 3 bits, which came with version 1.1.
  static let hasCodesOf3Bits: UInt32 = 1
  /// A tensor has codes with uneven levels, which came with version 1.2.
  static let hasUnevenLevels: UInt32 = 2

  static let preludeLength = 64
  static let tableHeaderLength = 16
  /// What a tensor's record takes before its shape, and a section's before its plane.
  static let tensorFixedLength = 16
  static let sectionFixedLength = 8
  static let planeLength = 24
  static let chunkLength = 16
  static let recordAlignment = 8

  /// Where a chunk, a short plane and the table begin.
  static let alignment = 64
  /// Where a plane of `pageAlignedFrom` bytes or more begins.
  static let pageAlignment = 4096
  static let pageAlignedFrom = 65536

  /// Raw bytes of all chunks of a plane but the last: a multiple of 4096 within these.
  static let chunkSizes = 4096...(4 << 20)

  static let maximumTableLength = 256 << 20
  static let maximumTensors = 65536
  static let maximumSections = 256
  static let maximumTensorName = 512
  static let maximumSectionName = 64
  static let maximumSectionLength = 64 << 20
  static let maximumRank = 8
  /// Of one tensor, padding included.
  static let maximumElements = QuantizedLayout.elementLimit

  static func alignment(ofPlaneWith length: Int) -> Int { length >= pageAlignedFrom ? pageAlignment : alignment }

  /// Chunks that a plane of this length has.
  static func chunkCount(_ length: Int, chunkSize: Int) -> Int { length / chunkSize + (length % chunkSize == 0 ? 0 : 1) }
}

/// Reads a part of a model file.
typealias FileBytes = ByteReader<ModelFileError>

extension FileBytes {
  /// `bytes` begin at `base` of the file.
  init(_ bytes: ArraySlice<UInt8>, at base: Int, path: String) {
    self.init(bytes, at: base) { .tableBounds(path: path, offset: $0, needed: $1, available: $2) }
  }
}

extension [UInt8] {
  /// `withUnsafeBytes` with this module's errors.
  func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws(ModelFileError) -> R) throws(ModelFileError) -> R {
    try withUnsafeBufferPointer { buffer throws(ModelFileError) in try body(UnsafeRawBufferPointer(buffer)) }
  }

  mutating func withMutableBytes<R>(_ body: (UnsafeMutableRawBufferPointer) throws(ModelFileError) -> R) throws(ModelFileError) -> R {
    try withUnsafeMutableBufferPointer { buffer throws(ModelFileError) in try body(UnsafeMutableRawBufferPointer(buffer)) }
  }

  /// Zeros up to a multiple of `alignment`.
  mutating func pad(to alignment: Int) {
    append(contentsOf: repeatElement(0, count: aligned(count, to: alignment) - count))
  }
}

/// `value` up to the next multiple of a power of two. Callers keep `value` far from the largest integer.
func aligned(_ value: Int, to alignment: Int) -> Int { (value + alignment - 1) & ~(alignment - 1) }

/// The first 64 bytes of a file: that it is one, of which version, and where its table is.
struct Prelude: Equatable {
  var major = Format.major
  var minor: UInt16 = 0
  var flags: UInt32 = 0
  var tableOffset: Int
  var tableLength: Int
  var tableChecksum: UInt64

  var fileLength: Int { tableOffset + tableLength }

  /// Of a file with these tensors, whose table is at `tableOffset`.
  init(_ tensors: [StoredTensor], tableOffset: Int, table bytes: [UInt8]) {
    if tensors.contains(where: { $0.descriptor.encoding.bits == 3 }) { (minor, flags) = (1, Format.hasCodesOf3Bits) }
    if tensors.contains(where: { $0.descriptor.encoding.isUneven }) { (minor, flags) = (2, flags | Format.hasUnevenLevels) }
    self.tableOffset = tableOffset
    tableLength = bytes.count
    tableChecksum = checksum(bytes)
  }

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
    var reader = FileBytes(start[...], at: 0, path: path)
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
    guard flags & Format.requiredFlags & ~Format.knownFlags == 0 else { throw .unknownFlags(path: path, flags: flags) }
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

/// XXH3-64, without seed.
package func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
  guard let base = bytes.baseAddress else { return sfq_xxh3_64([0], 0) }
  return sfq_xxh3_64(base, bytes.count)
}

package func checksum(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { checksum($0) } }
package func checksum(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.withUnsafeBytes { checksum($0) } }
