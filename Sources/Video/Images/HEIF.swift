import CLibAV

/// The boxes of a file of the ISO family: a length, a type of four letters, a body.
struct BoxReader {
  private var rest: ByteView

  init(_ view: ByteView) { rest = view }

  mutating func next() -> (type: String, body: ByteView)? {
    guard let length = rest.big(0, 4), let name = rest.part(4, 4) else { return nil }
    var header = 8
    var total = length
    if length == 1 {
      guard let long = rest.part(8, 8), long[0] ?? 255 < 0x80, let value = long.big(0, 8) else { return nil }
      (header, total) = (16, value)
    } else if length == 0 {
      total = rest.count
    }
    // A box that is cut is as long as what is there.
    guard total >= header, rest.count >= header, let body = rest.part(header, min(total, rest.count) - header) else { return nil }
    let type = String(decoding: name.bytes, as: UTF8.self)
    rest = rest.part(min(total, rest.count), rest.count - min(total, rest.count)) ?? body
    return (type, body)
  }

  /// The body of the first box of this type.
  func first(_ type: String) -> ByteView? {
    var reader = self
    while let box = reader.next() { if box.type == type { return box.body } }
    return nil
  }
}

/// The items of an HEIF file (AVIF, HEIC): coded pictures, tiles of one, what belongs to them.
struct HEIF {
  /// Brands of files that are one picture; sequences are videos.
  static let stillBrands = ["avif", "heic", "heix", "heim", "heis", "mif1", "mif2", "miaf"]

  struct Item {
    var type = ""
    /// Pieces of the file.
    var extents: [(offset: Int, length: Int)] = []
    /// The pieces are of the `idat` box.
    var isInside = false
    /// Indices into the properties, and whether a reader must know them.
    var properties: [(index: Int, isEssential: Bool)] = []
  }

  private(set) var items: [Int: Item] = [:]
  private(set) var primary: Int?
  private var properties: [(type: String, body: ByteView)] = []
  private var references: [(type: String, from: Int, to: [Int])] = []
  private let file: ByteView
  private var inside: ByteView?

  init?(_ view: ByteView) {
    file = view
    guard let meta = BoxReader(view).first("meta"), let children = meta.part(4, meta.count - 4) else { return nil }
    var boxes = BoxReader(children)
    while let (type, body) = boxes.next() {
      switch type {
      case "pitm": primary = body.big(4, body[0] == 0 ? 2 : 4)
      case "iinf": readTypes(body)
      case "iloc": readPlaces(body)
      case "iref": readReferences(body)
      case "iprp": readProperties(body)
      case "idat": inside = body
      default: break
      }
    }
  }

  func data(_ item: Item) -> [UInt8]? {
    guard !item.extents.isEmpty, let source = item.isInside ? inside : file else { return nil }
    var bytes: [UInt8] = []
    for extent in item.extents {
      // A length of zero is all that is there.
      let length = extent.length == 0 ? source.count - extent.offset : extent.length
      guard bytes.count <= file.count, let part = source.part(extent.offset, length) else { return nil }
      bytes += part.bytes
    }
    return bytes
  }

  func property(_ type: String, of item: Item) -> ByteView? { list(item).first { $0.type == type }?.body }

  /// The properties of an item in their order.
  func list(_ item: Item) -> [(type: String, body: ByteView)] {
    item.properties.compactMap { properties.indices.contains($0.index) ? properties[$0.index] : nil }
  }

  /// The first property that a reader must know and this one does not.
  func unknown(_ item: Item) -> String? {
    let known = ["av1C", "hvcC", "ispe", "pixi", "colr", "irot", "imir", "clap", "auxC", "pasp", "a1lx"]
    for (index, isEssential) in item.properties where isEssential && properties.indices.contains(index) {
      if !known.contains(properties[index].type) { return properties[index].type }
    }
    return nil
  }

  /// The items that `item` is made of.
  func parts(of item: Int) -> [Int] { references.first { $0.type == "dimg" && $0.from == item }?.to ?? [] }

  /// The item that holds the transparency of another.
  func alpha(of item: Int) -> Int? {
    references.first { reference in
      guard reference.type == "auxl", reference.to.contains(item), let auxiliary = items[reference.from] else { return false }
      guard let kind = property("auxC", of: auxiliary).flatMap({ $0.part(4, $0.count - 4) }) else { return false }
      return kind.begins("urn:mpeg:mpegB:cicp:systems:auxiliary:alpha") || kind.begins("urn:mpeg:hevc:2015:auxid:1\0")
    }?.from
  }

  func isPremultiplied(_ item: Int) -> Bool { references.contains { $0.type == "prem" && $0.from == item } }

  // MARK: Boxes

  private mutating func readTypes(_ body: ByteView) {
    let start = body[0] == 0 ? 6 : 8
    guard let list = body.part(start, body.count - start) else { return }
    var boxes = BoxReader(list)
    while let (type, entry) = boxes.next() {
      guard type == "infe", let version = entry[0], version >= 2 else { continue }
      let wide = version == 2 ? 2 : 4
      guard let id = entry.big(4, wide), let name = entry.part(4 + wide + 2, 4) else { continue }
      items[id, default: Item()].type = String(decoding: name.bytes, as: UTF8.self)
    }
  }

  private mutating func readPlaces(_ body: ByteView) {
    guard let version = body[0], version <= 2, let first = body[4], let second = body[5] else { return }
    let offsetSize = Int(first >> 4)
    let lengthSize = Int(first & 15)
    let baseSize = Int(second >> 4)
    let indexSize = version > 0 ? Int(second & 15) : 0
    guard [offsetSize, lengthSize, baseSize, indexSize].allSatisfy({ [0, 4, 8].contains($0) }) else { return }
    let wide = version < 2 ? 2 : 4
    var position = 6
    func number(_ size: Int) -> Int? {
      defer { position += size }
      // A place beyond 2^62 is beyond every file.
      guard let value = body.big(position, size), value >= 0, value < 1 << 62 else { return nil }
      return value
    }
    guard let count = number(wide) else { return }
    for _ in 0..<count {
      guard let id = number(wide), let method = version > 0 ? number(2) : 0, let source = number(2), let base = number(baseSize),
        let pieces = number(2)
      else { return }
      var extents: [(offset: Int, length: Int)] = []
      for _ in 0..<pieces {
        guard number(indexSize) != nil, let offset = number(offsetSize), let length = number(lengthSize) else { return }
        extents.append((base + offset, length))
      }
      // Other files, and items made of items, are not followed.
      guard source == 0, method & 15 < 2 else { continue }
      items[id, default: Item()].extents = extents
      items[id, default: Item()].isInside = method & 15 == 1
    }
  }

  private mutating func readReferences(_ body: ByteView) {
    let wide = body[0] == 0 ? 2 : 4
    guard let list = body.part(4, body.count - 4) else { return }
    var boxes = BoxReader(list)
    while let (type, entry) = boxes.next() {
      guard let from = entry.big(0, wide), let count = entry.big(wide, 2) else { continue }
      references.append((type, from, (0..<count).compactMap { entry.big(wide + 2 + $0 * wide, wide) }))
    }
  }

  private mutating func readProperties(_ body: ByteView) {
    guard let container = BoxReader(body).first("ipco"), let links = BoxReader(body).first("ipma") else { return }
    var boxes = BoxReader(container)
    while let box = boxes.next() { properties.append(box) }
    let wide = links[0] == 0 ? 2 : 4
    let isLong = (links[3] ?? 0) & 1 == 1
    guard let count = links.big(4, 4) else { return }
    var position = 8
    for _ in 0..<count {
      guard let id = links.big(position, wide), let number = links[position + wide] else { return }
      position += wide + 1
      for _ in 0..<number {
        guard let value = links.big(position, isLong ? 2 : 1) else { return }
        position += isLong ? 2 : 1
        let top = isLong ? 0x8000 : 0x80
        // Properties are counted from one; zero is none.
        if value & (top - 1) > 0 { items[id, default: Item()].properties.append((value & (top - 1) - 1, value & top != 0)) }
      }
    }
  }
}

extension ImageHeader {
  mutating func readHEIF(_ view: ByteView) {
    guard let file = HEIF(view), let primary = file.primary, let item = file.items[primary] else { return }
    if let extent = file.property("ispe", of: item) { size = Self.pair(extent.big(4, 4), extent.big(8, 4)) }
    // Turned and mirrored in the file's order; a cut comes before.
    for (type, body) in file.list(item) {
      switch type {
      case "irot": orientation = orientation.followed(by: Orientation(exif: [1, 8, 3, 6][Int((body[0] ?? 0) & 3)]) ?? .upright)
      case "imir": orientation = orientation.followed(by: Orientation(exif: (body[0] ?? 0) & 1 == 0 ? 4 : 2) ?? .upright)
      default: break
      }
    }
    let name = ["hvc1": "HEIC", "av01": "AVIF"][item.type] ?? "HEIF"
    if let unknown = file.unknown(item) { refusal = "\(name) with the property \"\(unknown)\" is not supported; save it as PNG or JPEG" }
    if !["hvc1", "av01", "grid"].contains(item.type) {
      refusal = "HEIF with a picture of type \"\(item.type)\" is not supported; save it as PNG or JPEG"
    }
  }
}

/// The picture of an HEIF file, as stored: decoded, put together from its tiles, cut, and laid onto white where it is transparent.
struct HEIFPicture {
  let image: RGBImage
  let warnings: [String]

  init(_ bytes: [UInt8], path: String) throws(VideoError) {
    guard let file = HEIF(ByteView(bytes)), let primary = file.primary, let item = file.items[primary] else {
      throw .damagedImage(path: path, reason: "it names no picture")
    }
    let (whole, notes) = try HEIFPicture.decode(primary, file, path)
    var picture = whole
    if let mask = file.alpha(of: primary) {
      let (alpha, _) = try HEIFPicture.decode(mask, file, path)
      guard alpha.width == picture.width, alpha.height == picture.height else {
        throw .unsupportedImage(path: path, reason: "transparency of another size than the picture's is not supported; save it as PNG")
      }
      try LibAV.reserve(picture.pixels.count)
      picture = picture.onWhite(alpha, isPremultiplied: file.isPremultiplied(primary))
    }
    if let aperture = file.property("clap", of: item) { picture = try HEIFPicture.cut(picture, aperture, path) }
    image = picture
    warnings = notes
  }

  private static func decode(_ id: Int, _ file: HEIF, _ path: String) throws(VideoError) -> (RGBImage, [String]) {
    guard let item = file.items[id] else { throw .damagedImage(path: path, reason: "a part of its picture is missing") }
    guard item.type == "grid" else { return try decode(item, colours: item, file, path) }
    guard let data = file.data(item), data.count >= 8 else {
      throw .damagedImage(path: path, reason: "the file ends before its picture does")
    }
    let view = ByteView(data)
    let wide = data[1] & 1 == 1 ? 4 : 2
    let rows = Int(data[2]) + 1
    let columns = Int(data[3]) + 1
    let tiles = file.parts(of: id)
    guard let width = view.big(4, wide), let height = view.big(4 + wide, wide), width > 0, height > 0, tiles.count == rows * columns else {
      throw .damagedImage(path: path, reason: "its \(rows) × \(columns) tiles are not there")
    }
    try LibAV.check(width, height, path: path)
    try LibAV.reserve(width * height * 3)
    var canvas = [UInt8](repeating: 0, count: width * height * 3)
    var warnings: [String] = []
    var size: (width: Int, height: Int)?
    for (place, tile) in tiles.enumerated() {
      guard let part = file.items[tile], part.type != "grid" else {
        throw .damagedImage(path: path, reason: "a tile of its picture is missing")
      }
      let colours = file.property("colr", of: item) == nil ? part : item
      let (image, notes) = try decode(part, colours: colours, file, path)
      for note in notes where !warnings.contains(note) { warnings.append(note) }
      let side = size ?? (image.width, image.height)
      size = side
      guard side == (image.width, image.height), side.width * columns >= width, side.height * rows >= height else {
        throw .damagedImage(path: path, reason: "its tiles do not cover the picture")
      }
      let left = place % columns * side.width
      let top = place / columns * side.height
      let taken = max(0, min(image.width, width - left)) * 3
      for row in 0..<max(0, min(image.height, height - top)) where taken > 0 {
        let target = ((top + row) * width + left) * 3
        let source = row * image.width * 3
        canvas.replaceSubrange(target..<target + taken, with: image.pixels[source..<source + taken])
      }
    }
    return (RGBImage(checkedWidth: width, height: height, pixels: canvas), warnings)
  }

  /// A coded picture. `colours` is the item whose colour property counts.
  private static func decode(_ item: HEIF.Item, colours: HEIF.Item, _ file: HEIF, _ path: String) throws(VideoError) -> (RGBImage, [String])
  {
    guard let data = file.data(item) else { throw .damagedImage(path: path, reason: "the file ends before its picture does") }
    let frame: Frame
    switch item.type {
    case "av01": frame = try ImageDecoder(path: path, codec: AV_CODEC_ID_AV1, name: "AV1").decode(data)
    case "hvc1":
      guard let setup = file.property("hvcC", of: item) else {
        throw .damagedImage(path: path, reason: "the decoder's settings are missing")
      }
      frame = try ImageDecoder(path: path, codec: AV_CODEC_ID_HEVC, name: "HEVC").decode(data, setup: Array(setup.bytes))
    default: throw .unsupportedImage(path: path, reason: "a picture of type \"\(item.type)\" is not supported; save it as PNG or JPEG")
    }
    // What the container says of colours comes before what the stream says.
    if let colour = file.property("colr", of: colours), colour.begins("nclx"), let transfer = colour.big(6, 2),
      let matrix = colour.big(8, 2),
      let range = colour[10]
    {
      if transfer != 2 { frame.pointer.pointee.color_trc = AVColorTransferCharacteristic(UInt32(transfer)) }
      if ![0, 2].contains(matrix) { frame.pointer.pointee.colorspace = AVColorSpace(UInt32(matrix)) }
      frame.pointer.pointee.color_range = range & 0x80 != 0 ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG
    }
    let converter = FrameConverter(path: path, isStill: true)
    let image = try converter.image(frame)
    let damaged = frame.isCorrupt ? ["damaged: a part of the image is made up by the decoder"] : []
    return (image, damaged + converter.warnings)
  }

  /// The part that a clean aperture names: width, height and the distance of its centre from the picture's, as fractions.
  private static func cut(_ image: RGBImage, _ aperture: ByteView, _ path: String) throws(VideoError) -> RGBImage {
    let numbers = (0..<8).map { Int(Int32(truncatingIfNeeded: aperture.big($0 * 4, 4) ?? 0)) }
    func refuse() -> VideoError {
      .unsupportedImage(path: path, reason: "its cut to a part of the picture is not supported; save it as PNG or JPEG")
    }
    guard [1, 3, 5, 7].allSatisfy({ numbers[$0] > 0 }), numbers[0] % numbers[1] == 0, numbers[2] % numbers[3] == 0 else { throw refuse() }
    let width = numbers[0] / numbers[1]
    let height = numbers[2] / numbers[3]
    // Twice the place of the left upper corner.
    let (left, top) = (
      (image.width - width) * numbers[5] + 2 * numbers[4], (image.height - height) * numbers[7] + 2 * numbers[6]
    )
    guard left % (2 * numbers[5]) == 0, top % (2 * numbers[7]) == 0 else { throw refuse() }
    let x = left / (2 * numbers[5])
    let y = top / (2 * numbers[7])
    guard width > 0, height > 0, x >= 0, y >= 0, x + width <= image.width, y + height <= image.height else { throw refuse() }
    let rows = (y..<y + height).map { ($0 * image.width + x) * 3 }
    return RGBImage(checkedWidth: width, height: height, pixels: rows.flatMap { image.pixels[$0..<$0 + width * 3] })
  }
}

extension RGBImage {
  /// Laid onto white; `alpha`, of the same size, is grey.
  fileprivate func onWhite(_ alpha: RGBImage, isPremultiplied: Bool) -> RGBImage {
    let blended = pixels.indices.map { index -> UInt8 in
      let part = Int(alpha.pixels[index])
      let value = Int(pixels[index])
      let sum: Int = isPremultiplied ? value + 255 - part : (value * part + 255 * (255 - part) + 127) / 255
      return UInt8(min(255, sum))
    }
    return RGBImage(checkedWidth: width, height: height, pixels: blended)
  }
}
