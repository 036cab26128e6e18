import CLibAV
import Support

/// An image file: one picture, upright.
struct StillImage {
  let image: RGBImage
  let orientation: Orientation
  let warnings: [String]

  /// Larger files are no photographs.
  private static let sizeLimit = 1 << 30

  init(path: String, cancelled: @escaping () -> Bool) throws(VideoError) {
    _ = LibAV.silence
    let bytes = try FileInput(path: path, cancelled: cancelled).readAll(limit: StillImage.sizeLimit)
    guard let format = ImageFormat(bytes) else { throw .notVideo(path: path, reason: "no known image format") }
    let frame = try StillImage.decode(bytes, format, path: path)
    let converter = FrameConverter(path: path, isStill: true)
    let stored = try converter.image(frame)
    orientation = format == .jpeg ? Orientation(exif: exifOrientation(bytes) ?? 1) ?? .upright : .upright
    image = orientation.upright(stored)
    warnings = (frame.isCorrupt ? ["\(path.quoted): damaged: a part of the image is made up by the decoder"] : []) + converter.warnings
  }

  private static func decode(_ bytes: [UInt8], _ format: ImageFormat, path: String) throws(VideoError) -> Frame {
    guard let codec = avcodec_find_decoder(format.codec) else { throw .unsupportedCodec(path: path, codec: format.rawValue) }
    var context = avcodec_alloc_context3(codec)
    defer { avcodec_free_context(&context) }
    guard let context else { throw .outOfMemory }
    context.pointee.max_pixels = LibAV.pixelLimit
    context.pointee.thread_count = 1
    let packet = try Packet(), frame = try Frame()
    guard avcodec_open2(context, codec, nil) >= 0, av_new_packet(packet.pointer, Int32(bytes.count)) >= 0 else { throw .outOfMemory }
    bytes.withUnsafeBufferPointer { source in
      if let base = source.baseAddress { packet.pointer.pointee.data?.update(from: base, count: source.count) }
    }
    var code = avcodec_send_packet(context, packet.pointer)
    if code >= 0 { code = avcodec_send_packet(context, nil) }
    if code >= 0 { code = avcodec_receive_frame(context, frame.pointer) }
    guard code >= 0 else { throw .damagedImage(path: path, reason: LibAV.text(code)) }
    return frame
  }
}

/// Image formats, told by a file's first bytes.
enum ImageFormat: String {
  case png = "PNG", jpeg = "JPEG", webp = "WebP", bmp = "BMP", tiff = "TIFF"

  init?(_ bytes: [UInt8]) {
    func begins(_ prefix: [UInt8], at offset: Int = 0) -> Bool {
      bytes.count >= offset + prefix.count && bytes[offset..<offset + prefix.count].elementsEqual(prefix)
    }
    if begins([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
      self = .png
    } else if begins([0xFF, 0xD8, 0xFF]) {
      self = .jpeg
    } else if begins(Array("RIFF".utf8)), begins(Array("WEBP".utf8), at: 8) {
      self = .webp
    } else if begins(Array("BM".utf8)), begins([0, 0, 0, 0], at: 6) {
      self = .bmp
    } else if begins([0x49, 0x49, 0x2A, 0]) || begins([0x4D, 0x4D, 0, 0x2A]) {
      self = .tiff
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
    case .tiff: AV_CODEC_ID_TIFF
    }
  }
}

/// The orientation tag of a JPEG file's EXIF segment, 1 … 8; nil if it has none.
func exifOrientation(_ jpeg: [UInt8]) -> Int? {
  var position = 2
  // Segments: FF, a marker, a length that counts itself; the coded picture begins with the marker DA.
  while position + 4 <= jpeg.count, jpeg[position] == 0xFF, jpeg[position + 1] != 0xDA {
    let length = Int(jpeg[position + 2]) << 8 | Int(jpeg[position + 3])
    guard length >= 2, position + 2 + length <= jpeg.count else { return nil }
    let body = jpeg[position + 4..<position + 2 + length]
    if jpeg[position + 1] == 0xE1, body.starts(with: Array("Exif\0\0".utf8)) { return tiffOrientation(Array(body.dropFirst(6))) }
    position += 2 + length
  }
  return nil
}

/// Tag 0x0112 of the first directory of a TIFF structure.
private func tiffOrientation(_ tiff: [UInt8]) -> Int? {
  guard tiff.count >= 8 else { return nil }
  let isLittle = tiff[0] == 0x49
  func number(_ offset: Int, _ count: Int) -> Int? {
    guard offset >= 0, offset <= tiff.count - count else { return nil }
    let bytes = tiff[offset..<offset + count]
    return (isLittle ? Array(bytes.reversed()) : Array(bytes)).reduce(0) { $0 << 8 | Int($1) }
  }
  guard let directory = number(4, 4), let entries = number(directory, 2) else { return nil }
  for entry in 0..<entries {
    let offset = directory + 2 + entry * 12
    guard let tag = number(offset, 2) else { return nil }
    if tag == 0x0112 { return number(offset + 8, 2).flatMap { (1...8).contains($0) ? $0 : nil } }
  }
  return nil
}
