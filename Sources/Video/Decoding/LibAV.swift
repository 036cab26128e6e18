import CLibAV

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What all uses of libav share.
enum LibAV {
  /// libav writes to standard error by itself, for the whole process. It is told to be quiet when the first clip is opened; what went
  /// wrong is in the errors and warnings of this module.
  static let silence: Void = av_log_set_level(AV_LOG_QUIET)

  /// Decoders refuse larger pictures: 134 million pixels, 400 MB as RGB.
  static let pixelLimit: Int64 = 1 << 27

  /// Whether a picture is not too large.
  static func check(_ width: Int, _ height: Int, path: String) throws(VideoError) {
    let (area, overflow) = width.multipliedReportingOverflow(by: height)
    guard !overflow, area <= Int(pixelLimit) else { throw .tooLarge(path: path, width: width, height: height, limit: Int(pixelLimit)) }
  }

  /// Whether the system gives so much memory, which an array that asks for it cannot survive to be refused. Asked of the system itself,
  /// for a limit of the address space counts before any page is used.
  static func reserve(_ bytes: Int) throws(VideoError) {
    guard bytes > 1 << 20 else { return }
    guard let pages = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), pages != MAP_FAILED else {
      throw .outOfMemory
    }
    munmap(pages, bytes)
  }

  /// What one of libav's codes means: that it got no memory, or else what the place of the call makes of libav's words.
  static func failure(_ code: Int32, or error: (_ reason: String) -> VideoError) -> VideoError {
    code == lav_error_of_errno(ENOMEM) ? .outOfMemory : error(text(code))
  }

  /// libav's words for one of its error codes.
  static func text(_ code: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
      guard let base = buffer.baseAddress, av_strerror(code, base, 256) == 0 else { return "error \(code)" }
      return String(cString: base)
    }
  }
}

/// A packet or nothing, freed with its owner.
final class Packet {
  let pointer: UnsafeMutablePointer<AVPacket>

  init() throws(VideoError) {
    guard let packet = av_packet_alloc() else { throw .outOfMemory }
    pointer = packet
  }

  deinit {
    var packet: UnsafeMutablePointer<AVPacket>? = pointer
    av_packet_free(&packet)
  }

  /// A copy of `bytes` becomes its content.
  func fill(_ bytes: [UInt8]) throws(VideoError) {
    guard let count = Int32(exactly: bytes.count), av_new_packet(pointer, count) >= 0 else { throw .outOfMemory }
    bytes.withUnsafeBufferPointer { source in
      if let base = source.baseAddress { pointer.pointee.data?.update(from: base, count: source.count) }
    }
  }

  var pts: Int64 { pointer.pointee.pts }
  var dts: Int64 { pointer.pointee.dts }
  var isKey: Bool { pointer.pointee.flags & AV_PKT_FLAG_KEY != 0 }
  var isCorrupt: Bool { pointer.pointee.flags & AV_PKT_FLAG_CORRUPT != 0 }
  /// Decoded because later frames need it, but not shown (an edit list begins behind it).
  var isDiscarded: Bool { pointer.pointee.flags & AV_PKT_FLAG_DISCARD != 0 }

  var bytes: UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: pointer.pointee.data, count: pointer.pointee.data == nil ? 0 : Int(pointer.pointee.size))
  }
}

/// A decoded picture or nothing, freed with its owner.
final class Frame {
  let pointer: UnsafeMutablePointer<AVFrame>

  init() throws(VideoError) {
    guard let frame = av_frame_alloc() else { throw .outOfMemory }
    pointer = frame
  }

  deinit {
    var frame: UnsafeMutablePointer<AVFrame>? = pointer
    av_frame_free(&frame)
  }

  /// As its packet said.
  var pts: Int64 { pointer.pointee.pts }
  /// As libav makes it out where the packet said nothing; it may not know either.
  var time: Int64 { pts != lav_no_timestamp ? pts : pointer.pointee.best_effort_timestamp }
  /// The decoder gave a picture but had to make up a part of it.
  var isCorrupt: Bool { pointer.pointee.flags & AV_FRAME_FLAG_CORRUPT != 0 || pointer.pointee.decode_error_flags != 0 }
}

/// What a decoder may take.
struct DecoderLimits: Sendable {
  /// nil for as many as the machine has processors.
  var threads: Int?
  /// Bytes: where pictures are large, fewer threads are at work. nil for no limit.
  var memory: Int?
}

/// A codec at work on one stream.
final class Decoder {
  /// How several threads share the work.
  enum Threading {
    /// Several frames at a time: fastest, but damage is not concealed, and is reported as an error instead.
    case frames
    /// Parts of one frame: as a player with one thread does it, with libav's concealment of damage.
    case slices
  }

  enum Output: Equatable {
    case frame
    case needsPacket
    case end
    /// libav's code.
    case failed(Int32)
  }

  private let context: UnsafeMutablePointer<AVCodecContext>

  init(_ stream: VideoStream, path: String, limits: DecoderLimits, threading: Threading) throws(VideoError) {
    guard let codec = avcodec_find_decoder(stream.parameters.pointee.codec_id) else {
      throw .unsupportedCodec(path: path, codec: stream.codecName)
    }
    guard let context = avcodec_alloc_context3(codec) else { throw .outOfMemory }
    self.context = context
    guard avcodec_parameters_to_context(context, stream.parameters) >= 0 else { throw .outOfMemory }
    try LibAV.check(Int(context.pointee.width), Int(context.pointee.height), path: path)
    context.pointee.pkt_timebase = stream.timeBase
    context.pointee.max_pixels = LibAV.pixelLimit
    context.pointee.thread_type = FF_THREAD_SLICE
    if threading == .frames {
      if Decoder.survivesFrameThreads(codec.pointee.id) { context.pointee.thread_type |= FF_THREAD_FRAME }
      context.pointee.err_recognition |= AV_EF_EXPLODE
    }
    var count = max(1, limits.threads ?? Int(av_cpu_count()))
    if let memory = limits.memory { count = DecodingMemory(stream).threads(count, within: memory) }
    while true {
      // libav by itself takes one more, with the memory of its frames.
      context.pointee.thread_count = Int32(clamping: count)
      let code = avcodec_open2(context, codec, nil)
      if code >= 0 { break }
      // Where the system gives no more threads, or no memory for them, fewer do.
      guard count > 1, code == lav_error_again || code == lav_error_of_errno(ENOMEM) else {
        throw LibAV.failure(code) { .noFrames(path: path, reason: $0) }
      }
      count /= 2
    }
  }

  /// Whether damage in this codec's frames, reported as an error, may meet threads that each decode a frame.
  ///
  /// A decoder of MPEG-4 part 2 and its relatives says both “here is a frame” and “it is damaged”; libav then gives the frame back on
  /// the thread and ends the process when it is missing (an assertion in `decode.c` of FFmpeg 5). Such codecs are old and quick to decode.
  static func survivesFrameThreads(_ codec: AVCodecID) -> Bool {
    switch codec {
    case AV_CODEC_ID_MPEG4, AV_CODEC_ID_H263, AV_CODEC_ID_H263P, AV_CODEC_ID_H263I, AV_CODEC_ID_FLV1, AV_CODEC_ID_MSMPEG4V1,
      AV_CODEC_ID_MSMPEG4V2, AV_CODEC_ID_MSMPEG4V3, AV_CODEC_ID_WMV1, AV_CODEC_ID_WMV2, AV_CODEC_ID_WMV3, AV_CODEC_ID_WMV3IMAGE,
      AV_CODEC_ID_VC1, AV_CODEC_ID_VC1IMAGE, AV_CODEC_ID_MSS2, AV_CODEC_ID_RV10, AV_CODEC_ID_RV20, AV_CODEC_ID_RV30, AV_CODEC_ID_RV40:
      false
    default: true
    }
  }

  /// Whether each thread decodes a frame of its own, and so keeps pictures of its own.
  static func usesFrameThreads(_ id: AVCodecID) -> Bool {
    guard let codec = avcodec_find_decoder(id), survivesFrameThreads(id) else { return false }
    return Int32(bitPattern: UInt32(truncatingIfNeeded: codec.pointee.capabilities)) & lav_frame_threads != 0
  }

  deinit {
    var context: UnsafeMutablePointer<AVCodecContext>? = context
    avcodec_free_context(&context)
  }

  /// Hands over a packet, or nil to have all that is held back. To be called when `receive` said `needsPacket`. Zero, or libav's code.
  func send(_ packet: Packet?) -> Int32 {
    min(0, avcodec_send_packet(context, packet?.pointer))
  }

  func receive(_ frame: Frame) -> Output {
    switch avcodec_receive_frame(context, frame.pointer) {
    case 0: .frame
    case lav_error_again: .needsPacket
    case lav_error_end: .end
    case let code: .failed(code)
    }
  }

  /// Forgets all that was sent: the next packet must be one that decoding can begin with.
  func flush() { avcodec_flush_buffers(context) }
}
