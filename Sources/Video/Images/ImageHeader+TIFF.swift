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
    size = pair(directory.first(256), directory.first(257))
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
