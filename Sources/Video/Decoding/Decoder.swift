import CLibAV

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

  /// `threads`: nil for as many as the machine has processors.
  init(_ stream: VideoStream, path: String, threads: Int?, threading: Threading) throws(VideoError) {
    guard let codec = avcodec_find_decoder(stream.parameters.pointee.codec_id) else {
      throw .unsupportedCodec(path: path, codec: stream.codecName)
    }
    guard let context = avcodec_alloc_context3(codec) else { throw .outOfMemory }
    self.context = context
    guard avcodec_parameters_to_context(context, stream.parameters) >= 0 else { throw .outOfMemory }
    context.pointee.pkt_timebase = stream.timeBase
    context.pointee.max_pixels = LibAV.pixelLimit
    // libav by itself takes one more, with the memory of its frames.
    context.pointee.thread_count = Int32(clamping: max(1, threads ?? Int(av_cpu_count())))
    switch threading {
    case .frames:
      context.pointee.thread_type = FF_THREAD_FRAME | FF_THREAD_SLICE
      context.pointee.err_recognition |= AV_EF_EXPLODE
    case .slices: context.pointee.thread_type = FF_THREAD_SLICE
    }
    let code = avcodec_open2(context, codec, nil)
    guard code >= 0 else { throw .noFrames(path: path, reason: LibAV.text(code)) }
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
