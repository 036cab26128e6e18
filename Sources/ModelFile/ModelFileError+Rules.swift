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
