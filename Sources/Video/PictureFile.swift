import CLibAV
import Support

/// What a picture is written as; the ending of its name decides.
package enum PictureFormat: String, CaseIterable, Sendable {
  case png, jpeg

  /// nil for a name without one of the endings .png, .jpg and .jpeg, whatever their case.
  package init?(path: String) {
    let name = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    guard let dot = name.lastIndex(of: ".") else { return nil }
    switch name[name.index(after: dot)...].lowercased() {
    case "png": self = .png
    case "jpg", "jpeg": self = .jpeg
    default: return nil
    }
  }
}

extension RGBImage {
  /// Writes this image as a file: the whole file appears under its name, or nothing does. A file of that name is replaced
  /// where `replacing` says so; none of `inputs` ever is. One that has these bytes already stays: a run that was killed wrote it.
  package func write(_ format: PictureFormat, to path: String, replacing: Bool = true, inputs: [String] = []) throws(VideoError) {
    let packet = try PictureEncoder(image: self, path: path).encode(format)
    // Its bytes are its own.
    defer { withExtendedLifetime(packet) {} }
    do throws(OutputError) {
      if !replacing, try OutputFile.holds(UnsafeRawBufferPointer(packet.bytes), at: path, inputs: inputs) { return }
      try OutputFile.write(UnsafeRawBufferPointer(packet.bytes), to: path, replacing: replacing, inputs: inputs)
    } catch { throw .output(error) }
  }

  /// A file's bytes.
  package func encoded(_ format: PictureFormat) throws(VideoError) -> [UInt8] {
    let packet = try PictureEncoder(image: self, path: "").encode(format)
    return withExtendedLifetime(packet) { Array(packet.bytes) }
  }

  package func writePNG(to path: String, replacing: Bool = true, inputs: [String] = []) throws(VideoError) {
    try write(.png, to: path, replacing: replacing, inputs: inputs)
  }
}

/// One picture's way through one of libav's encoders.
struct PictureEncoder {
  let image: RGBImage
  /// For messages.
  let path: String

  func encode(_ format: PictureFormat) throws(VideoError) -> Packet {
    _ = LibAV.silence
    guard let encoder = avcodec_find_encoder(format == .png ? AV_CODEC_ID_PNG : AV_CODEC_ID_MJPEG) else {
      throw refuse("this build of libav cannot write \(format.rawValue.uppercased())")
    }
    guard let width = Int32(exactly: image.width), let height = Int32(exactly: image.height) else { throw refuse("too large") }
    var context = avcodec_alloc_context3(encoder)
    defer { avcodec_free_context(&context) }
    guard let context else { throw .outOfMemory }
    context.pointee.width = width
    context.pointee.height = height
    context.pointee.pix_fmt = format == .png ? AV_PIX_FMT_RGB24 : AV_PIX_FMT_YUVJ444P
    context.pointee.time_base = AVRational(num: 1, den: 1)
    context.pointee.thread_count = 1
    switch format {
    // Rows as differences from the row above: smaller by a third at no cost.
    case .png: av_opt_set(context, "pred", "up", AV_OPT_SEARCH_CHILDREN)
    case .jpeg:
      context.pointee.color_range = AVCOL_RANGE_JPEG
      context.pointee.flags |= AV_CODEC_FLAG_QSCALE
      context.pointee.global_quality = PictureEncoder.quality
    }
    try check(avcodec_open2(context, encoder, nil))
    let frame = try Frame()
    let packet = try Packet()
    frame.pointer.pointee.format = context.pointee.pix_fmt.rawValue
    frame.pointer.pointee.width = width
    frame.pointer.pointee.height = height
    frame.pointer.pointee.quality = PictureEncoder.quality
    try check(av_frame_get_buffer(frame.pointer, 0))
    format == .png ? fillRGB(frame) : fillYCbCr(frame)
    try check(avcodec_send_frame(context, frame.pointer))
    try check(avcodec_receive_packet(context, packet.pointer))
    return packet
  }

  /// libav's scale goes down from 31; this comes to a quality of 95 as other programs count it.
  private static let quality = 2 * FF_QP2LAMBDA

  private func refuse(_ reason: String) -> VideoError {
    .unwritableImage(path: path, width: image.width, height: image.height, reason: reason)
  }

  private func check(_ code: Int32) throws(VideoError) {
    guard code >= 0 else { throw LibAV.failure(code, or: refuse) }
  }

  private func fillRGB(_ frame: Frame) {
    guard let target = frame.pointer.pointee.data.0 else { return }
    let stride = Int(frame.pointer.pointee.linesize.0)
    image.pixels.withUnsafeBufferPointer { source in
      guard let base = source.baseAddress else { return }
      for row in 0..<image.height { (target + row * stride).update(from: base + row * image.width * 3, count: image.width * 3) }
    }
  }

  /// BT.601 of the full range, as JFIF has it; chroma at every pixel.
  private func fillYCbCr(_ frame: Frame) {
    let fields = frame.pointer.pointee
    guard let luma = fields.data.0, let blue = fields.data.1, let red = fields.data.2 else { return }
    let (lumaStride, blueStride, redStride) = (Int(fields.linesize.0), Int(fields.linesize.1), Int(fields.linesize.2))
    // 16 bits behind the point.
    func weighed(_ r: Int, _ g: Int, _ b: Int, _ weights: (Int, Int, Int), _ offset: Int) -> UInt8 {
      let sum: Int = r * weights.0 + g * weights.1 + b * weights.2 + 1 << 15
      return UInt8(clamping: (sum >> 16) + offset)
    }
    image.pixels.withUnsafeBufferPointer { pixels in
      for row in 0..<image.height {
        for column in 0..<image.width {
          let from = (row * image.width + column) * 3
          let (r, g, b) = (Int(pixels[from]), Int(pixels[from + 1]), Int(pixels[from + 2]))
          luma[row * lumaStride + column] = weighed(r, g, b, (19595, 38470, 7471), 0)
          blue[row * blueStride + column] = weighed(r, g, b, (-11059, -21709, 32768), 128)
          red[row * redStride + column] = weighed(r, g, b, (32768, -27439, -5329), 128)
        }
      }
    }
  }
}

/// All sampled frames on one picture, small, each with its index and time.
package struct ContactSheet {
  /// Neither side of a sheet is longer, in pixels.
  package static let sideLimit = 16_384

  private let columns: Int
  private let rows: Int
  private let cellWidth: Int
  private let cellHeight: Int
  private var pixels: [UInt8]
  /// The last frame's index and thumbnail: it may come again.
  private var last: (index: Int, thumbnail: RGBImage)?

  private static let gap = 6
  private static let labelScale = 2
  private static let labelHeight = (BitmapFont.height + 2) * labelScale
  private static let background: UInt8 = 24
  private static let ink: UInt8 = 230

  /// For `count` frames; thumbnails fit into `thumbnailWidth` pixels and a box of the shape of `first`, the first frame.
  /// Fails with `invalidSheet` when the sheet would become too large.
  package init(count: Int, first: RGBImage, thumbnailWidth: Int = 240) throws(VideoError) {
    let sizes = 16...ContactSheet.sideLimit / 4
    guard sizes.contains(thumbnailWidth) else { throw .invalidSize(thumbnailWidth, expected: sizes) }
    // Portraits are as high as landscapes are wide, so that no shape makes a cell larger than a square.
    let long = max(first.width, first.height)
    cellWidth = max(1, thumbnailWidth * first.width / long, 16)
    cellHeight = max(1, thumbnailWidth * first.height / long, 16)
    let across = cellWidth + ContactSheet.gap
    let down = cellHeight + ContactSheet.labelHeight + ContactSheet.gap
    let most = (ContactSheet.sideLimit / across) * (ContactSheet.sideLimit / down)
    guard (1...most).contains(count) else { throw .invalidSheet(frames: count, limit: most) }
    // As wide as high, nearly.
    var columns = 1
    while columns * across < ((count + columns - 1) / columns) * down, columns < min(count, ContactSheet.sideLimit / across) {
      columns += 1
    }
    // A little higher than wide rather than a last row with holes.
    if columns > 2, count % columns != 0, count % (columns - 1) == 0 { columns -= 1 }
    while (count + columns - 1) / columns > ContactSheet.sideLimit / down { columns += 1 }
    self.columns = columns
    rows = (count + columns - 1) / columns
    let width = columns * across + ContactSheet.gap
    let height = rows * down + ContactSheet.gap
    pixels = [UInt8](repeating: ContactSheet.background, count: width * height * 3)
  }

  private var width: Int { columns * (cellWidth + ContactSheet.gap) + ContactSheet.gap }

  /// Puts a frame at a position; positions beyond the sheet's count are left out.
  package mutating func add(_ frame: SampledFrame, at position: Int) {
    guard position < columns * rows else { return }
    let thumbnail = if let last, last.index == frame.index { last.thumbnail } else { self.thumbnail(frame.image) }
    last = (frame.index, thumbnail)
    let left = ContactSheet.gap + (position % columns) * (cellWidth + ContactSheet.gap)
    let top = ContactSheet.gap + (position / columns) * (cellHeight + ContactSheet.labelHeight + ContactSheet.gap)
    draw(thumbnail, left + (cellWidth - thumbnail.width) / 2, top + (cellHeight - thumbnail.height) / 2)
    draw(label: frame, left, top + cellHeight + ContactSheet.labelScale)
  }

  package var image: RGBImage { RGBImage(checkedWidth: width, height: pixels.count / 3 / width, pixels: pixels) }

  private func thumbnail(_ image: RGBImage) -> RGBImage {
    let isWide = image.width * cellHeight > image.height * cellWidth
    let width = isWide ? cellWidth : max(1, image.width * cellHeight / image.height)
    let height = isWide ? max(1, image.height * cellWidth / image.width) : cellHeight
    return image.resized(width: width, height: height, columns: 0..<width, rows: 0..<height)
  }

  /// The index and the time; smaller if they do not fit, and without the time if they still do not.
  private mutating func draw(label frame: SampledFrame, _ left: Int, _ top: Int) {
    let index = "#\(frame.index)"
    let full = "\(index) \(secondsText(frame.seconds))s"
    let room = cellWidth / (BitmapFont.width + 1)
    if full.count <= room / ContactSheet.labelScale {
      draw(full, left, top, scale: ContactSheet.labelScale)
    } else {
      draw(full.count <= room ? full : String(index.prefix(room)), left, top, scale: 1)
    }
  }

  private mutating func draw(_ image: RGBImage, _ left: Int, _ top: Int) {
    for row in 0..<image.height {
      let target = ((top + row) * width + left) * 3
      let source = row * image.width * 3
      pixels.replaceSubrange(target..<target + image.width * 3, with: image.pixels[source..<source + image.width * 3])
    }
  }

  private mutating func draw(_ text: String, _ left: Int, _ top: Int, scale: Int) {
    for (place, character) in text.enumerated() {
      guard let glyph = BitmapFont.rows(character) else { continue }
      let x0 = left + place * (BitmapFont.width + 1) * scale
      for y in 0..<BitmapFont.height * scale {
        for x in 0..<BitmapFont.width * scale where glyph[y / scale] >> UInt8(BitmapFont.width - 1 - x / scale) & 1 == 1 {
          let offset = ((top + y) * width + x0 + x) * 3
          for channel in 0..<3 { pixels[offset + channel] = ContactSheet.ink }
        }
      }
    }
  }
}

/// Glyphs of 5 × 7 points for an index and a time: digits and a few signs.
enum BitmapFont {
  static let width = 5
  static let height = 7

  /// Seven rows, the leftmost point the highest of five bits; nil for a sign that has no glyph.
  static func rows(_ character: Character) -> [UInt8]? { glyphs[character] }

  private static let glyphs: [Character: [UInt8]] = [
    "0": [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
    "1": [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
    "2": [0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b01000, 0b11111],
    "3": [0b11111, 0b00010, 0b00100, 0b00010, 0b00001, 0b10001, 0b01110],
    "4": [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
    "5": [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
    "6": [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
    "7": [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
    "8": [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
    "9": [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
    "#": [0b01010, 0b01010, 0b11111, 0b01010, 0b11111, 0b01010, 0b01010],
    ":": [0b00000, 0b01100, 0b01100, 0b00000, 0b01100, 0b01100, 0b00000],
    ".": [0b00000, 0b00000, 0b00000, 0b00000, 0b00000, 0b01100, 0b01100],
    "-": [0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000],
    "s": [0b00000, 0b00000, 0b01110, 0b10000, 0b01110, 0b00001, 0b11110],
    " ": [0, 0, 0, 0, 0, 0, 0],
  ]
}
