import CLibAV

/// Image formats, told by a file's first bytes.
enum ImageFormat: String {
  case png = "PNG"
  case jpeg = "JPEG"
  case webp = "WebP"
  case bmp = "BMP"
  case tiff = "TIFF"
  case bigTIFF = "BigTIFF"
  case gif = "GIF"
  case heif = "HEIF"
  case bitmap = "PBM"
  case greymap = "PGM"
  case pixmap = "PPM"
  case anymap = "PAM"
  case jpeg2000 = "JPEG 2000"
  case qoi = "QOI"

  init?(_ bytes: [UInt8]) {
    let view = ByteView(bytes)
    if view.begins([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
      self = .png
    } else if view.begins([0xFF, 0xD8, 0xFF]) {
      self = .jpeg
    } else if view.begins("RIFF"), view.begins("WEBP", at: 8) {
      self = .webp
    } else if view.begins("BM"), view.begins([0, 0, 0, 0], at: 6) {
      self = .bmp
    } else if view.begins([0x49, 0x49, 0x2A, 0]) || view.begins([0x4D, 0x4D, 0, 0x2A]) {
      self = .tiff
    } else if view.begins([0x49, 0x49, 0x2B, 0]) || view.begins([0x4D, 0x4D, 0, 0x2B]) {
      self = .bigTIFF
    } else if view.begins("GIF87a") || view.begins("GIF89a") {
      self = .gif
    } else if view.begins("ftyp", at: 4), HEIF.stillBrands.contains(where: { view.begins($0, at: 8) }) {
      self = .heif
    } else if view.begins([0, 0, 0, 12, 0x6A, 0x50, 0x20, 0x20, 0x0D, 0x0A, 0x87, 0x0A]) || view.begins([0xFF, 0x4F, 0xFF, 0x51]) {
      self = .jpeg2000
    } else if view.begins("qoif") {
      self = .qoi
    } else if let kind = PortableMap.kind(view) {
      self = kind
    } else {
      return nil
    }
  }

  var codec: AVCodecID {
    switch self {
    case .png: AV_CODEC_ID_PNG
    case .jpeg: AV_CODEC_ID_MJPEG
    case .webp: AV_CODEC_ID_WEBP
    case .bmp: AV_CODEC_ID_BMP
    case .tiff, .bigTIFF: AV_CODEC_ID_TIFF
    case .gif: AV_CODEC_ID_GIF
    case .heif: AV_CODEC_ID_NONE
    case .bitmap: AV_CODEC_ID_PBM
    case .greymap: AV_CODEC_ID_PGM
    case .pixmap: AV_CODEC_ID_PPM
    case .anymap: AV_CODEC_ID_PAM
    case .jpeg2000: AV_CODEC_ID_JPEG2000
    case .qoi: AV_CODEC_ID_QOI
    }
  }
}

/// Numbers and texts in a file's bytes; nil beyond their end.
struct ByteView {
  let bytes: ArraySlice<UInt8>

  init(_ bytes: [UInt8]) { self.bytes = bytes[...] }

  private init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

  var count: Int { bytes.count }

  subscript(_ offset: Int) -> UInt8? { offset >= 0 && offset < count ? bytes[bytes.startIndex + offset] : nil }

  /// `count` bytes from `offset`.
  func part(_ offset: Int, _ count: Int) -> ByteView? {
    guard offset >= 0, count >= 0, offset <= self.count, count <= self.count - offset else { return nil }
    return ByteView(bytes[(bytes.startIndex + offset)...].prefix(count))
  }

  func big(_ offset: Int, _ count: Int) -> Int? { part(offset, count).map { $0.bytes.reduce(0) { $0 << 8 | Int($1) } } }

  func little(_ offset: Int, _ count: Int) -> Int? { part(offset, count).map { $0.bytes.reversed().reduce(0) { $0 << 8 | Int($1) } } }

  func begins(_ prefix: [UInt8], at offset: Int = 0) -> Bool { part(offset, prefix.count).map { $0.bytes.elementsEqual(prefix) } ?? false }

  func begins(_ prefix: String, at offset: Int = 0) -> Bool { begins(Array(prefix.utf8), at: offset) }
}
