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
  /// Brands of files that are one picture; sequences are films.
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
    if let extent = file.property("ispe", of: item) { size = pair(extent.big(4, 4), extent.big(8, 4)) }
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
