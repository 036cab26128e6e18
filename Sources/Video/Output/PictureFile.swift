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
  /// where `replacing` says so; none of `inputs` ever is.
  package func write(_ format: PictureFormat, to path: String, replacing: Bool = true, inputs: [String] = []) throws(VideoError) {
    let packet = try PictureEncoder(image: self, path: path).encode(format)
    do throws(OutputError) {
      try OutputFile.write(UnsafeRawBufferPointer(packet.bytes), to: path, replacing: replacing, inputs: inputs)
    } catch { throw .output(error) }
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
