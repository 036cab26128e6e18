import CLibAV
import Support

extension RGBImage {
  /// Writes this image as a PNG file: the whole file appears under its name, or nothing does. A file of that name is replaced
  /// where `replacing` says so; none of `inputs` ever is.
  public func writePNG(to path: String, replacing: Bool = true, inputs: [String] = []) throws(VideoError) {
    _ = LibAV.silence
    let packet = try encodedPNG(path)
    do throws(OutputError) {
      try OutputFile.write(UnsafeRawBufferPointer(packet.bytes), to: path, replacing: replacing, inputs: inputs)
    } catch { throw .output(error) }
  }

  private func encodedPNG(_ path: String) throws(VideoError) -> Packet {
    func refuse(_ code: Int32) -> VideoError { .unwritableImage(path: path, width: width, height: height, reason: LibAV.text(code)) }
    guard let codec = avcodec_find_encoder(AV_CODEC_ID_PNG) else {
      throw .unwritableImage(path: path, width: width, height: height, reason: "this build of libav cannot write PNG")
    }
    guard let width32 = Int32(exactly: width), let height32 = Int32(exactly: height) else {
      throw .unwritableImage(path: path, width: width, height: height, reason: "too large")
    }
    var context = avcodec_alloc_context3(codec)
    defer { avcodec_free_context(&context) }
    guard let context else { throw .outOfMemory }
    context.pointee.width = width32
    context.pointee.height = height32
    context.pointee.pix_fmt = AV_PIX_FMT_RGB24
    context.pointee.time_base = AVRational(num: 1, den: 1)
    context.pointee.thread_count = 1
    // Rows as differences from the row above: smaller by a third at no cost.
    av_opt_set(context, "pred", "up", AV_OPT_SEARCH_CHILDREN)
    var code = avcodec_open2(context, codec, nil)
    guard code >= 0 else { throw refuse(code) }
    let frame = try Frame(), packet = try Packet()
    frame.pointer.pointee.format = AV_PIX_FMT_RGB24.rawValue
    frame.pointer.pointee.width = width32
    frame.pointer.pointee.height = height32
    code = av_frame_get_buffer(frame.pointer, 0)
    guard code >= 0, let target = frame.pointer.pointee.data.0 else { throw refuse(code) }
    let stride = Int(frame.pointer.pointee.linesize.0)
    pixels.withUnsafeBufferPointer { source in
      guard let base = source.baseAddress else { return }
      for row in 0..<height { (target + row * stride).update(from: base + row * width * 3, count: width * 3) }
    }
    code = avcodec_send_frame(context, frame.pointer)
    if code >= 0 { code = avcodec_receive_packet(context, packet.pointer) }
    guard code >= 0 else { throw refuse(code) }
    return packet
  }
}
