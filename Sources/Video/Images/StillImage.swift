import CLibAV
import Support

/// An image file: one picture, upright.
struct StillImage {
  let image: RGBImage
  let orientation: Orientation
  let warnings: [String]

  /// Larger files are no photographs.
  static let sizeLimit = 1 << 30

  init(path: String, access: FileAccess) throws(VideoError) {
    _ = LibAV.silence
    let bytes = try FileInput(path: path, access: access).readAll(limit: StillImage.sizeLimit)
    guard let format = ImageFormat(bytes) else { throw .notVideo(path: path, reason: "no known image format") }
    let header = ImageHeader(bytes, format)
    if let size = header.size { try LibAV.check(size.width, size.height, path: path) }
    if let reason = header.refusal { throw .unsupportedImage(path: path, reason: reason) }
    var warnings: [String] = []
    let stored: RGBImage
    if format == .heif {
      let picture = try HEIFPicture(bytes, path: path)
      stored = picture.image
      warnings = picture.warnings
    } else {
      let frame = try ImageDecoder(path: path, codec: format.codec, name: format.rawValue).decode(bytes)
      if header.isCut {
        warnings.append("\(path.escaped()): damaged: the file ends before its picture does; the rest is made up by the decoder")
      } else if frame.isCorrupt {
        warnings.append("\(path.escaped()): damaged: a part of the image is made up by the decoder")
      }
      // sYCC, the luma and chroma of JPEG 2000, has the full range.
      if format == .jpeg2000, frame.pointer.pointee.color_range == AVCOL_RANGE_UNSPECIFIED {
        frame.pointer.pointee.color_range = AVCOL_RANGE_JPEG
      }
      let converter = FrameConverter(path: path, isStill: true, alpha: header.alpha)
      stored = try converter.image(frame)
      warnings += converter.warnings
    }
    if header.pictures > 1 {
      warnings.append("\(path.escaped()): the first of its pictures is taken, \(header.pictures - 1) more are left out")
    }
    self.warnings = warnings
    orientation = header.orientation
    if orientation != .upright { try LibAV.reserve(stored.pixels.count) }
    image = orientation.upright(stored)
  }

  /// Pixels of the picture as stored, without decoding it; nil where the file does not say.
  static func size(of path: String) throws(VideoError) -> (width: Int, height: Int)? { try sizedHeader(of: path)?.size }

  /// A header that says the size.
  static func sizedHeader(of path: String) throws(VideoError) -> ImageHeader? {
    // Most formats say it at once; a JPEG after its metadata, a TIFF file anywhere.
    for limit in [1 << 16, sizeLimit] {
      let input = try FileInput(path: path)
      let bytes = try input.read(first: limit)
      guard let format = ImageFormat(bytes) else { return nil }
      let header = ImageHeader(bytes, format)
      if header.size != nil { return header }
      if bytes.count < limit { break }
    }
    return nil
  }
}

extension MediaInput {
  /// Pixels of a picture, upright, without decoding it; nil for anything else and where the file does not say.
  package var pictureSize: (width: Int, height: Int)? {
    guard kind == .image, let header = (try? StillImage.sizedHeader(of: path)) ?? nil, let size = header.size else { return nil }
    return header.orientation.quarterTurns % 2 == 0 ? size : (size.height, size.width)
  }
}

/// One picture's way through one of libav's decoders.
struct ImageDecoder {
  let path: String
  let codec: AVCodecID
  /// Of the format, for messages.
  let name: String

  func decode(_ bytes: [UInt8], setup: [UInt8] = []) throws(VideoError) -> Frame {
    guard let decoder = avcodec_find_decoder(codec) else { throw .unsupportedCodec(path: path, codec: name) }
    var context = avcodec_alloc_context3(decoder)
    defer { avcodec_free_context(&context) }
    guard let context else { throw .outOfMemory }
    context.pointee.max_pixels = LibAV.pixelLimit
    context.pointee.thread_count = 1
    if !setup.isEmpty {
      // The context frees it. libav reads whole words beyond its end.
      guard let copy = av_mallocz(setup.count + Int(AV_INPUT_BUFFER_PADDING_SIZE)) else { throw .outOfMemory }
      copy.copyMemory(from: setup, byteCount: setup.count)
      context.pointee.extradata = copy.assumingMemoryBound(to: UInt8.self)
      context.pointee.extradata_size = Int32(setup.count)
    }
    let packet = try Packet()
    let frame = try Frame()
    var code = avcodec_open2(context, decoder, nil)
    guard code >= 0 else { throw failure(code) }
    try packet.fill(bytes)
    packet.pointer.pointee.flags |= AV_PKT_FLAG_KEY
    code = avcodec_send_packet(context, packet.pointer)
    if code >= 0 { code = avcodec_send_packet(context, nil) }
    if code >= 0 { code = avcodec_receive_frame(context, frame.pointer) }
    guard code >= 0 else { throw failure(code) }
    return frame
  }

  private func failure(_ code: Int32) -> VideoError { LibAV.failure(code) { .damagedImage(path: path, reason: $0) } }
}

/// Samples image files, each a frame.
struct StillSampler {
  /// The directory, or the one file.
  let path: String
  let request: SamplingRequest
  let sink: FrameSink
  let access: FileAccess

  /// `files` in the order of the frames, one a second. Those that do not decode are left out, as damaged frames of a video are.
  func run(_ files: [String], leftOut: [String] = [], isDirectory: Bool) throws(VideoError) -> SamplingReport {
    guard request.stream ?? 0 == 0 else { throw .noSuchStream(path: path, stream: request.stream ?? 0, available: [0]) }
    var files = files
    var warnings = leftOut
    var rotation = 0
    restart: while true {
      guard !files.isEmpty else { throw .noFrames(path: path, reason: "none of its images can be read") }
      try sink.begin(try request.indices(of: files.count, FrameRate(numerator: 1, denominator: 1), path: path) { Double($0) })
      while let index = sink.next {
        if access.cancelled() { throw .cancelled }
        do {
          let still = try StillImage(path: files[index], access: access)
          for warning in still.warnings where !warnings.contains(warning) { warnings.append(warning) }
          rotation = still.orientation.degrees
          try sink.deliver(still.image, seconds: Double(index))
        } catch {
          guard isDirectory, error.isOfOneImage else { throw error }
          warnings.append("left out: \(error)")
          files.remove(at: index)
          continue restart
        }
      }
      return SamplingReport(
        decodedFrames: files.count, rotation: isDirectory ? 0 : rotation, frames: sink.delivered, warnings: warnings)
    }
  }
}

extension VideoError {
  /// Whether the other images of a directory may still be in order.
  fileprivate var isOfOneImage: Bool {
    switch self {
    case .notFound, .unreadable, .notAFile, .empty, .notVideo, .unsupportedCodec, .unsupportedPixels, .failedConversion, .damagedImage,
      .tooLarge, .tooManyBytes, .unsupportedImage:
      true
    default: false
    }
  }
}

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
