/// What an image file says of its picture, read without decoding it.
struct ImageHeader {
  /// As stored, before it is turned upright; nil where the file does not say.
  var size: (width: Int, height: Int)?
  var orientation = Orientation.upright
  /// How many pictures the file shows one after the other, or two for any number above one.
  var pictures = 1
  var alpha = Alpha.straight
  /// The file ends before its picture does.
  var isCut = false
  /// Why it is not decoded although its format is: libav would give other colours or none.
  var refusal: String?

  /// What a fourth component means.
  enum Alpha {
    case straight
    /// Colours have been multiplied by it.
    case premultiplied
    /// Nothing.
    case ignored
  }

  init() {}

  init(_ bytes: [UInt8], _ format: ImageFormat) {
    let view = ByteView(bytes)
    switch format {
    case .png: readPNG(view)
    case .jpeg: readJPEG(view)
    case .webp: readWebP(view)
    case .bmp: readBMP(view)
    case .tiff: readTIFF(view)
    case .bigTIFF: refusal = "BigTIFF is not supported; save it as TIFF or PNG"
    case .gif: readGIF(view)
    case .heif: readHEIF(view)
    case .jpeg2000: readJPEG2000(view)
    case .qoi:
      size = Self.pair(view.big(4, 4), view.big(8, 4))
      // libav takes what is there for all of it.
      isCut = !view.begins([0, 0, 0, 0, 0, 0, 0, 1], at: view.count - 8)
    case .bitmap, .greymap, .pixmap, .anymap: size = PortableMap.size(view)
    }
  }

  /// A side that libav would take: whoever multiplies two of these need not fear.
  private static let sides = 1...Int(Int32.max)

  static func pair(_ width: Int?, _ height: Int?) -> (width: Int, height: Int)? {
    guard let width, let height, sides.contains(width), sides.contains(height) else { return nil }
    return (width, height)
  }

  /// The tag of an EXIF block, which is a TIFF structure.
  mutating func turn(exif: ByteView?) {
    guard let exif, let tag = TIFFDirectory(exif)?.first(274), let orientation = Orientation(exif: tag) else { return }
    self.orientation = orientation
  }

  // MARK: PNG

  private mutating func readPNG(_ view: ByteView) {
    size = Self.pair(view.big(16, 4), view.big(20, 4))
    var position = 8
    var hasData = false
    while let length = view.big(position, 4), let type = view.part(position + 4, 4) {
      if type.begins("IDAT") { hasData = true }
      // Behind the picture it is no animation any more.
      if type.begins("acTL"), !hasData, let frames = view.big(position + 8, 4) { pictures = frames }
      if type.begins("eXIf") { turn(exif: view.part(position + 8, length)) }
      if type.begins("IEND") { return }
      position += 12 + length
    }
  }

  // MARK: JPEG

  private mutating func readJPEG(_ view: ByteView) {
    isCut = true
    var position = 2
    // Segments: FF, a marker, a length that counts itself.
    while let first = view[position], let marker = view[position + 1] {
      guard first == 0xFF, marker != 0xFF, marker != 0 else {
        position += 1
        continue
      }
      position += 2
      switch marker {
      case 0xD9:
        isCut = false
        return
      case 0x01, 0xD0...0xD8: continue
      default: break
      }
      guard let length = view.big(position, 2), length >= 2 else { continue }
      switch marker {
      case 0xC0...0xCF where ![0xC4, 0xC8, 0xCC].contains(marker):
        guard size == nil else { break }
        size = Self.pair(view.big(position + 5, 2), view.big(position + 3, 2))
        if marker > 0xC8 { refusal = "arithmetic coding in JPEG is not supported; save it as PNG" }
        if let bits = view[position + 2], bits != 8 { refusal = "JPEG of \(bits) bits is not supported; save it as PNG" }
      case 0xF7: refusal = "JPEG-LS is not supported; save it as PNG"
      case 0xE1:
        if orientation == .upright, let body = view.part(position + 2, length - 2), body.begins("Exif\0\0") {
          turn(exif: body.part(6, body.count - 6))
        }
      case 0xDA:
        position = view.endOfScan(position + length)
        continue
      default: break
      }
      position += length
    }
  }

  // MARK: WebP

  private mutating func readWebP(_ view: ByteView) {
    var position = 12
    while let length = view.little(position + 4, 4), let type = view.part(position, 4) {
      let body = position + 8
      if type.begins("VP8X"), let flags = view[body], let width = view.little(body + 4, 3), let height = view.little(body + 7, 3) {
        size = (width + 1, height + 1)
        if flags & 2 != 0 { pictures = 2 }
      } else if type.begins("VP8L"), size == nil, let bits = view.little(body + 1, 4) {
        size = (bits & 0x3FFF + 1, bits >> 14 & 0x3FFF + 1)
      } else if type.begins("VP8 "), size == nil, let width = view.little(body + 6, 2), let height = view.little(body + 8, 2) {
        size = Self.pair(width & 0x3FFF, height & 0x3FFF)
      } else if type.begins("EXIF"), let exif = view.part(body, length) {
        // Some writers copy the beginning of a JPEG's segment too.
        turn(exif: exif.begins("Exif\0\0") ? exif.part(6, exif.count - 6) : exif)
      }
      position = body + length + length % 2
    }
    if pictures > 1 { refusal = "animated WebP is not supported; save it as GIF, animated PNG or video" }
  }

  // MARK: BMP

  private mutating func readBMP(_ view: ByteView) {
    guard let header = view.little(14, 4) else { return }
    if header == 12 {
      size = Self.pair(view.little(18, 2), view.little(20, 2))
    } else {
      // The height is negative where the first row comes first.
      size = Self.pair(view.little(18, 4), view.little(22, 4).map { Int(Int32(truncatingIfNeeded: $0).magnitude) })
      // Without masks the fourth byte has no meaning.
      if view.little(30, 4) == 0 { alpha = .ignored }
    }
  }

  // MARK: GIF

  private mutating func readGIF(_ view: ByteView) {
    size = Self.pair(view.little(6, 2), view.little(8, 2))
    pictures = 0
    var position = 13 + (view[10].map { $0 & 0x80 != 0 ? 3 << (Int($0 & 7) + 1) : 0 } ?? 0)
    while let kind = view[position] {
      switch kind {
      case 0x21: position += 2
      case 0x2C:
        pictures += 1
        position += 11 + (view[position + 9].map { $0 & 0x80 != 0 ? 3 << (Int($0 & 7) + 1) : 0 } ?? 0)
      default: return
      }
      while let length = view[position], length > 0 { position += Int(length) + 1 }
      position += 1
    }
  }

  // MARK: JPEG 2000

  private mutating func readJPEG2000(_ view: ByteView) {
    if view.begins([0xFF, 0x4F, 0xFF, 0x51]) {
      guard let right = view.big(8, 4), let bottom = view.big(12, 4), let left = view.big(16, 4), let top = view.big(20, 4) else { return }
      size = Self.pair(right - left, bottom - top)
    } else if let header = BoxReader(view).first("jp2h"), let image = BoxReader(header).first("ihdr") {
      size = Self.pair(image.big(4, 4), image.big(0, 4))
    }
  }
}

extension ByteView {
  /// Where the marker stands that ends a JPEG's coded data.
  fileprivate func endOfScan(_ start: Int) -> Int {
    bytes.withUnsafeBufferPointer { bytes in
      var position = start
      while position + 1 < bytes.count {
        if bytes[position] == 0xFF {
          switch bytes[position + 1] {
          case 0, 0xD0...0xD7: position += 1
          case 0xFF: break
          default: return position
          }
        }
        position += 1
      }
      return bytes.count
    }
  }
}

/// PBM, PGM, PPM and PAM.
enum PortableMap {
  static func kind(_ view: ByteView) -> ImageFormat? {
    guard view.begins("P"), let digit = view[1], let space = view[2], [9, 10, 13, 32].contains(space) else { return nil }
    switch digit {
    case UInt8(ascii: "1"), UInt8(ascii: "4"): return .bitmap
    case UInt8(ascii: "2"), UInt8(ascii: "5"): return .greymap
    case UInt8(ascii: "3"), UInt8(ascii: "6"): return .pixmap
    case UInt8(ascii: "7"): return .anymap
    default: return nil
    }
  }

  /// The first two numbers, or those behind WIDTH and HEIGHT; comments run from # to the line's end.
  static func size(_ view: ByteView) -> (width: Int, height: Int)? {
    guard let head = view.part(0, min(view.count, 4096)) else { return nil }
    let lines = String(decoding: head.bytes, as: UTF8.self).split(whereSeparator: \.isNewline).map { $0.prefix { $0 != "#" } }
    let words = lines.flatMap { $0.split(whereSeparator: \.isWhitespace) }
    func number(_ index: Int?) -> Int? { index.flatMap { words.indices.contains($0) ? Int(words[$0]) : nil } }
    let isNamed = words.first == "P7"
    let width = number(isNamed ? words.firstIndex(of: "WIDTH").map { $0 + 1 } : 1)
    let height = number(isNamed ? words.firstIndex(of: "HEIGHT").map { $0 + 1 } : 2)
    return ImageHeader.pair(width, height)
  }
}

/// The entries of one directory of a TIFF structure that are numbers.
struct TIFFDirectory {
  private var values: [Int: [Int]] = [:]
  /// Where the next directory is; zero behind the last one.
  private(set) var next = 0

  /// The directory at `offset`; by default the first one.
  init?(_ view: ByteView, at offset: Int? = nil) {
    guard view.begins([0x49, 0x49]) || view.begins([0x4D, 0x4D]) else { return nil }
    let isLittle = view[0] == 0x49
    func number(_ offset: Int, _ count: Int) -> Int? { isLittle ? view.little(offset, count) : view.big(offset, count) }
    guard let start = offset ?? number(4, 4), let entries = number(start, 2) else { return nil }
    for entry in 0..<entries {
      let position = start + 2 + entry * 12
      guard let tag = number(position, 2), let type = number(position + 2, 2), let count = number(position + 4, 4) else { return }
      let width = [1: 1, 3: 2, 4: 4][type] ?? 0
      // Components have one number each; longer lists (strips) are of no interest here.
      guard width > 0, count > 0 else { continue }
      let kept = min(count, 16)
      guard let place = count * width <= 4 ? position + 8 : number(position + 8, 4) else { continue }
      let list = (0..<kept).compactMap { number(place + $0 * width, width) }
      if list.count == kept, values[tag] == nil { values[tag] = list }
    }
    next = number(start + 2 + entries * 12, 4) ?? 0
  }

  func first(_ tag: Int) -> Int? { values[tag]?.first }

  func all(_ tag: Int) -> [Int] { values[tag] ?? [] }
}

extension ImageHeader {
  mutating func readTIFF(_ view: ByteView) {
    guard let directory = TIFFDirectory(view) else { return }
    size = Self.pair(directory.first(256), directory.first(257))
    if let orientation = directory.first(274).flatMap(Orientation.init(exif:)) { self.orientation = orientation }
    switch directory.all(338).first {
    case nil, 2: alpha = .straight
    case 1: alpha = .premultiplied
    default: alpha = .ignored
    }
    refusal = reasonAgainst(directory).map { "TIFF \($0) is not supported; save it as PNG" }
    var seen = 1
    var next = directory.next
    // A damaged file may run in a circle.
    while next > 0, seen < 1000, let further = TIFFDirectory(view, at: next) {
      // Not counted: smaller versions of a page, and masks.
      if (further.first(254) ?? 0) & 5 == 0 { pictures += 1 }
      seen += 1
      next = further.next
    }
  }

  /// What libav decodes to other pixels than are meant, or not at all.
  private func reasonAgainst(_ directory: TIFFDirectory) -> String? {
    if directory.first(50706) != nil { return "of raw sensor data (DNG)" }
    if (directory.first(254) ?? 0) & 1 != 0 { return "whose first picture is a thumbnail (a raw photograph?)" }
    switch directory.first(259) ?? 1 {
    case 1, 2, 3, 4, 5, 8, 32773, 32946, 34925: break
    case 6, 7: return "with JPEG inside"
    case 34712, 33003, 33005: return "with JPEG 2000 inside"
    case 34887: return "with LERC inside"
    case 50000: return "with Zstandard inside"
    case 50001: return "with WebP inside"
    case 50002: return "with JPEG XL inside"
    case let other: return "of compression \(other)"
    }
    if directory.first(322) != nil || directory.first(324) != nil { return "in tiles" }
    switch directory.all(339).first ?? 1 {
    case 1, 4: break
    case 2: return "of signed numbers"
    case 3: return "of floating-point numbers"
    case let other: return "of sample format \(other)"
    }
    let depths = Set(directory.all(258))
    let samples = directory.first(277) ?? 1
    guard depths.count <= 1 else { return "of components of \(depths.sorted().map(String.init).joined(separator: " and ")) bits" }
    let bits = depths.first ?? 1
    let kind = directory.first(262) ?? 1
    if directory.first(284) == 2, samples > 1, bits != 8 || kind == 5 {
      return "in planes of \(bits)-bit \(kind == 5 ? "CMYK" : "components")"
    }
    switch (kind, samples) {
    case (0...1, 1): if ![1, 2, 4, 8, 16].contains(bits) { return "of \(bits)-bit grey" }
    case (1, 2): if ![8, 16].contains(bits) { return "of \(bits)-bit grey with alpha" }
    case (2, 3...4): if ![8, 16].contains(bits) { return "of \(bits)-bit RGB" }
    case (3, 1): if ![1, 2, 4, 8].contains(bits) { return "of a palette with \(bits) bits" }
    case (5, 4): if ![8].contains(bits) { return "of \(bits)-bit CMYK" }
    default:
      let names = [
        0: "grey", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "CIE L*a*b*", 9: "CIE L*a*b*", 10: "CIE L*a*b*",
      ]
      return "of \(names[kind] ?? "photometric interpretation \(kind)") with \(samples) components"
    }
    return nil
  }
}
