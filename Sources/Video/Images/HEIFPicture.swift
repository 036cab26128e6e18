import CLibAV

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
