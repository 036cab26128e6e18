import CLibAV

/// The memory that decoding a clip takes, until its pictures are resized: an upper bound, which codecs that keep few earlier pictures
/// do not reach.
package struct DecodingMemory: Sendable, Equatable {
  /// With one thread.
  package var bytes: Int
  /// What each further thread of the decoder adds.
  package var bytesPerThread: Int

  package init(bytes: Int, bytesPerThread: Int) { (self.bytes, self.bytesPerThread) = (bytes, bytesPerThread) }

  package func bytes(threads: Int) -> Int { bytes + max(0, threads - 1) * bytesPerThread }

  /// Threads, at most `threads` and at least one, with which decoding stays within `limit` bytes.
  package func threads(_ threads: Int, within limit: Int) -> Int {
    bytesPerThread > 0 ? min(threads, 1 + max(0, limit - bytes) / bytesPerThread) : 1
  }

  /// Tables, packets, and what libraries keep.
  private static let fixedBytes = 16 << 20
}

extension DecodingMemory {
  /// Of one stream, whose pictures are not too large. Measured on pictures of 1080p and 4K with FFmpeg 5.1: H.264 with 1 and 16 references,
  /// VP9, AV1, ProRes, FFV1, MPEG-2.
  init(_ stream: VideoStream) {
    let parameters = stream.parameters.pointee
    let (width, height) = (max(1, Int(parameters.width)), max(1, Int(parameters.height)))
    let frame = DecodingMemory.frameBytes(AVPixelFormat(parameters.format), width, height)
    let isIntra = avcodec_descriptor_get(parameters.codec_id).map { $0.pointee.props & AV_CODEC_PROP_INTRA_ONLY != 0 } ?? false
    let areKept: Int
    switch parameters.codec_id {
    case AV_CODEC_ID_H264: areKept = DecodingMemory.h264Pictures(level: Int(parameters.level), width, height)
    case AV_CODEC_ID_HEVC: areKept = DecodingMemory.hevcPictures(level: Int(parameters.level), width, height)
    case AV_CODEC_ID_VP9, AV_CODEC_ID_AV1: areKept = 8
    default: areKept = isIntra ? 0 : 3
    }
    // One that is decoded, one that is handed out; beside each motion vectors and the like. Each is converted and packed.
    bytes = (areKept + 2) * (frame + frame * 2 / 5) + 2 * width * height * 3 + DecodingMemory.fixedBytes
    let isLarge = parameters.codec_id == AV_CODEC_ID_H264 || parameters.codec_id == AV_CODEC_ID_HEVC
    bytesPerThread = Decoder.usesFrameThreads(parameters.codec_id) ? frame * (isLarge ? 22 : 16) / 10 + (1 << 20) : 1 << 20
  }

  /// Rec. ITU-T H.264, table A-1: macroblocks of all pictures that a level keeps, 16 pictures at most.
  private static func h264Pictures(level: Int, _ width: Int, _ height: Int) -> Int {
    let blocks: Int
    switch level {
    case 1...10: blocks = 396
    case 11: blocks = 900
    case 12...20: blocks = 2376
    case 21: blocks = 4752
    case 22...30: blocks = 8100
    case 31: blocks = 18_000
    case 32: blocks = 20_480
    case 40, 41: blocks = 32_768
    case 42: blocks = 34_816
    case 50: blocks = 110_400
    case 51, 52: blocks = 184_320
    default: blocks = 696_320
    }
    return min(16, max(4, blocks / max(1, (width + 15) / 16 * ((height + 15) / 16))))
  }

  /// Rec. ITU-T H.265, A.4.2: 6 of a level's largest pictures, more of smaller ones. A level is stored times 30.
  private static func hevcPictures(level: Int, _ width: Int, _ height: Int) -> Int {
    let largest: Int
    switch level {
    case 1...30: largest = 36_864
    case 31...60: largest = 122_880
    case 61...63: largest = 245_760
    case 64...90: largest = 552_960
    case 91...93: largest = 983_040
    case 94...123: largest = 2_228_224
    case 124...156: largest = 8_912_896
    default: largest = 35_651_584
    }
    let size = width * height
    return size <= largest / 4 ? 16 : size <= largest / 2 ? 12 : size <= largest / 4 * 3 ? 8 : 6
  }

  /// Of an image file whose picture is decoded, converted, packed and turned upright.
  init(imageBytes: Int, frame: Int, width: Int, height: Int, hasAlpha: Bool, isTurned: Bool) {
    let pixels = width * height
    let stride = (width * (hasAlpha ? 4 : 3) + 63) & ~63
    let converted = stride == width * 3 ? stride * height : stride * height + pixels * 3
    bytes = imageBytes + max(imageBytes + frame, frame + max(converted, isTurned ? pixels * 6 : 0)) + DecodingMemory.fixedBytes
    bytesPerThread = 0
  }

  static func frameBytes(_ format: AVPixelFormat, _ width: Int, _ height: Int) -> Int {
    let (wide, high) = (Int32(clamping: (width + 63) & ~63), Int32(clamping: (height + 63) & ~63))
    let size = Int(av_image_get_buffer_size(format, wide, high, 64))
    return size > 0 ? size : 4 * Int(wide) * Int(high)
  }
}

extension MediaInput {
  /// What decoding takes at most; the file is opened and its pictures' size and format looked up.
  package func decodingMemory() throws(VideoError) -> DecodingMemory {
    guard let decoder else { return try memory(FileAccess()) }
    var (input, area) = (self, 0)
    switch kind {
    case .video: break
    case .image: area = pictureSize.map { $0.width * $0.height } ?? 0
    case .directory(let images):
      let (image, size) = Self.largest(of: images)
      (input, area) = (MediaInput(path: image, kind: .image, leftOut: [], shortClip: shortClip), size)
    }
    var memory = try RemoteClip(input, decoder, cancelled: { false }).memory()
    // The process, and a picture that is handed over; larger ones are refused.
    memory.bytes += DecoderProcesses.processBytes + 3 * min(area, Int(LibAV.pixelLimit))
    return memory
  }

  /// The same in this process.
  func memory(_ access: FileAccess) throws(VideoError) -> DecodingMemory {
    switch kind {
    case .video:
      let container = try Container(path: path, access: access)
      let stream = try container.select(nil)
      let parameters = stream.parameters.pointee
      try LibAV.check(max(1, Int(parameters.width)), max(1, Int(parameters.height)), path: path)
      return DecodingMemory(stream)
    case .image: return try StillImage.decodingMemory(of: path, access)
    case .directory(let images): return try StillImage.decodingMemory(of: Self.largest(of: images).path, access)
    }
  }

  /// The largest picture tells; the sizes are at the files' beginnings.
  private static func largest(of images: [String]) -> (path: String, area: Int) {
    var largest: (path: String, area: Int)?
    for image in images {
      guard let size = (try? StillImage.size(of: image)) ?? nil else { continue }
      if size.width * size.height > largest?.area ?? 0 { largest = (image, size.width * size.height) }
    }
    return largest ?? (images[0], 0)
  }
}

extension StillImage {
  fileprivate static func decodingMemory(of path: String, _ access: FileAccess) throws(VideoError) -> DecodingMemory {
    let bytes = try FileInput(path: path, access: access).readAll(limit: StillImage.sizeLimit)
    guard let format = ImageFormat(bytes) else { throw .notVideo(path: path, reason: "no known image format") }
    let header = ImageHeader(bytes, format)
    let found = format == .heif ? nil : try FirstPicture(bytes, format.codec)
    guard let size = found.map({ ($0.width, $0.height) }) ?? header.size else { return DecodingMemory(bytes: 64 << 20, bytesPerThread: 0) }
    try LibAV.check(size.0, size.1, path: path)
    return DecodingMemory(
      imageBytes: bytes.count, frame: found?.bytes ?? 8 * size.0 * size.1, width: size.0, height: size.1, hasAlpha: found?.hasAlpha ?? true,
      isTurned: header.orientation != .upright)
  }
}

/// Size and format of the picture that a decoder is about to make: it is stopped where it asks for the memory.
private struct FirstPicture {
  var width = 0
  var height = 0
  var bytes = 0
  var hasAlpha = false

  /// nil where the decoder does not come so far.
  init?(_ data: [UInt8], _ codec: AVCodecID) throws(VideoError) {
    _ = LibAV.silence
    guard let decoder = avcodec_find_decoder(codec) else { return nil }
    var context = avcodec_alloc_context3(decoder)
    defer { avcodec_free_context(&context) }
    guard let context else { throw .outOfMemory }
    context.pointee.max_pixels = LibAV.pixelLimit
    context.pointee.thread_count = 1
    // With threads for frames libav takes no such function.
    context.pointee.thread_type = FF_THREAD_SLICE
    context.pointee.get_buffer2 = { context, frame, _ in
      guard let frame, let seen = context?.pointee.opaque?.assumingMemoryBound(to: FirstPicture.self) else {
        return lav_error_of_errno(EINVAL)
      }
      let format = AVPixelFormat(frame.pointee.format)
      seen.pointee.width = Int(frame.pointee.width)
      seen.pointee.height = Int(frame.pointee.height)
      seen.pointee.bytes = DecodingMemory.frameBytes(format, seen.pointee.width, seen.pointee.height)
      seen.pointee.hasAlpha = format.hasAlpha
      return lav_error_of_errno(ENOMEM)
    }
    let packet = try Packet()
    let frame = try Frame()
    guard avcodec_open2(context, decoder, nil) >= 0 else { return nil }
    try packet.fill(data)
    withUnsafeMutablePointer(to: &self) { seen in
      context.pointee.opaque = UnsafeMutableRawPointer(seen)
      if avcodec_send_packet(context, packet.pointer) >= 0 { _ = avcodec_receive_frame(context, frame.pointer) }
      context.pointee.opaque = nil
    }
    if bytes == 0 { return nil }
  }
}
