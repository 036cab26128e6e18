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
