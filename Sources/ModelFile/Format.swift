import Tensors

/// The numbers of the format, as `Formats/sfq.md` gives them.
enum Format {
  /// A byte above 127, the name, both line ends and the end-of-file mark of old systems: any text-mode copy changes it.
  static let magic: [UInt8] = [0x89, 0x53, 0x46, 0x51, 0x0D, 0x0A, 0x1A, 0x0A]
  static let major: UInt16 = 1
  static let minor: UInt16 = 0
  /// Bits of the prelude's flags that a reader may not ignore. Version 1.0 defines none of them.
  static let requiredFlags: UInt32 = 0xFFFF

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
  static let defaultChunkSize = 2 << 20

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

/// `value` up to the next multiple of a power of two. Callers keep `value` far from the largest integer.
func aligned(_ value: Int, to alignment: Int) -> Int { (value + alignment - 1) & ~(alignment - 1) }
