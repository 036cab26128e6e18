import CLibAV

/// Turns decoded pictures of any format into RGB, by the matrix and range that each of them declares.
///
/// A YUV picture without a declared matrix is taken for BT.601 and one without a range for the limited one, whatever its size: what
/// libav's own converter does. Chroma is not interpolated, in keeping with the readers that video models are trained with; where the
/// picture's height is odd, or rows of chroma are halved and columns are not, it is, as these do. Alpha is flattened onto white.
final class FrameConverter {
  /// Whether the pictures come from image files: chroma is interpolated, as image libraries do it.
  private let isStill: Bool
  private let alpha: ImageHeader.Alpha
  private let path: String
  private var converter: UnsafeMutableRawPointer?
  private var current: Shape?
  /// Notices about what cannot be honoured.
  private(set) var warnings: [String] = []

  private struct Shape: Equatable {
    var width: Int, height: Int
    var format: AVPixelFormat, matrix: AVColorSpace
    var isFullRange: Bool, isLimitedRange: Bool
  }

  init(path: String, isStill: Bool = false, alpha: ImageHeader.Alpha = .straight) {
    self.path = path
    self.isStill = isStill
    self.alpha = alpha
  }

  deinit { lav_converter_close(converter) }

  func image(_ frame: Frame) throws(VideoError) -> RGBImage {
    guard isStill || frame.hasUnevenChroma, let upsampler = ChromaUpsampler(frame) else { return try converted(frame) }
    // In bands, so that no whole picture with all its chroma is in memory.
    let width = Int(frame.pointer.pointee.width)
    let height = Int(frame.pointer.pointee.height)
    try LibAV.check(width, height, path: path)
    try LibAV.reserve(width * height * 3)
    var pixels: [UInt8] = []
    pixels.reserveCapacity(width * height * 3)
    for top in stride(from: 0, to: height, by: 128) {
      pixels += try converted(try upsampler.rows(top..<min(top + 128, height))).pixels
    }
    return RGBImage(checkedWidth: width, height: height, pixels: pixels)
  }

  private func converted(_ frame: Frame) throws(VideoError) -> RGBImage {
    let source = frame.pointer.pointee
    let stored = AVPixelFormat(source.format)
    let format = stored.withoutRange
    let shape = Shape(
      width: Int(source.width), height: Int(source.height), format: format,
      // RGB of more than 8 bits goes through YUV in libav's converter, one way by this matrix and the other by BT.601.
      matrix: format.isRGB ? AVCOL_SPC_UNSPECIFIED : source.colorspace,
      // Grey is taken for the full range unless it declares the limited one, with and without alpha.
      isFullRange: format != stored || source.color_range == AVCOL_RANGE_JPEG || format.isGray && source.color_range != AVCOL_RANGE_MPEG,
      isLimitedRange: source.color_range == AVCOL_RANGE_MPEG)
    guard shape.width > 0, shape.height > 0 else { throw failure(shape) }
    try LibAV.check(shape.width, shape.height, path: path)
    if format.isGray, !format.hasAlpha, format.depth > 8 {
      try LibAV.reserve(shape.width * shape.height * 3)
      return try deepGrey(frame, shape)
    }
    let hasAlpha = format.hasAlpha && alpha != .ignored
    if shape != current { try open(shape, to: hasAlpha ? AV_PIX_FMT_RGBA : AV_PIX_FMT_RGB24) }
    note(source)
    let channels = hasAlpha ? 4 : 3
    // libav writes whole vectors: rows start at multiples of 64 bytes, and the last one has room behind it.
    let stride = (shape.width * channels + 63) & ~63
    try LibAV.reserve(stride * shape.height + shape.width * shape.height * 3)
    var failure: Int32 = 0
    if stride == shape.width * 3 {
      let size = stride * shape.height
      let pixels = [UInt8](unsafeUninitializedCapacity: size + 64) { buffer, count in
        failure = lav_converter_run(converter, frame.pointer, buffer.baseAddress, Int32(stride))
        count = size
      }
      try check(failure, shape)
      return finish(RGBImage(checkedWidth: shape.width, height: shape.height, pixels: pixels), shape)
    }
    let padded = [UInt8](unsafeUninitializedCapacity: stride * shape.height + 64) { buffer, count in
      failure = lav_converter_run(converter, frame.pointer, buffer.baseAddress, Int32(stride))
      count = stride * shape.height
    }
    try check(failure, shape)
    let pixels = packed(padded, stride: stride, shape.width, shape.height, alpha: hasAlpha ? alpha : nil)
    return finish(RGBImage(checkedWidth: shape.width, height: shape.height, pixels: pixels), shape)
  }

  private func open(_ shape: Shape, to target: AVPixelFormat) throws(VideoError) {
    lav_converter_close(converter)
    current = nil
    // libav's converter is off by two levels for more than 8 bits unless it is told to be exact, and by rows of chroma in formats that
    // have no way of their own through it: 4:2:0 in two planes and 4:1:0.
    let isExact =
      shape.format.depth > 8
      || shape.format.chromaShift.rows > 0 && ![AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUVA420P].contains(shape.format)
    // Where it has no instructions of the machine's own, its fast way never writes the last column of an odd width.
    #if arch(x86_64)
      let isWhole = true
    #else
      let isWhole = shape.width % 2 == 0
    #endif
    let flags = isStill ? lav_convert_smooth : isExact || !isWhole ? lav_convert_exact : lav_convert_fast
    converter = lav_converter_open(
      Int32(shape.width), Int32(shape.height), shape.format.rawValue, target.rawValue, flags, Int32(shape.matrix.rawValue),
      shape.isFullRange ? 1 : 0)
    guard converter != nil else {
      if sws_isSupportedInput(shape.format) != 0 { throw .outOfMemory }
      throw .unsupportedPixels(path: path, format: shape.format.name)
    }
    current = shape
  }

  private func check(_ rows: Int32, _ shape: Shape) throws(VideoError) {
    if rows == lav_error_of_errno(ENOMEM) { throw .outOfMemory }
    guard rows == Int32(shape.height) else { throw failure(shape) }
  }

  private func failure(_ shape: Shape) -> VideoError {
    .failedConversion(path: path, width: shape.width, height: shape.height, format: shape.format.name)
  }

  /// Grey that declares the limited range; libav's converter takes all grey for full range.
  private func finish(_ image: RGBImage, _ shape: Shape) -> RGBImage {
    guard shape.format.isGray, !shape.format.hasAlpha, shape.isLimitedRange else { return image }
    let levels = (0..<256).map { (level: Int) -> UInt8 in UInt8(clamping: ((level - 16) * 255 + 109) / 219) }
    return RGBImage(checkedWidth: image.width, height: image.height, pixels: image.pixels.map { levels[Int($0)] })
  }

  /// Grey of 9 to 16 bits, which libav's converter takes for the limited range and rounds twice.
  private func deepGrey(_ frame: Frame, _ shape: Shape) throws(VideoError) -> RGBImage {
    let depth = shape.format.depth
    let stride = Int(frame.pointer.pointee.linesize.0)
    guard depth <= 16, !shape.format.isFloat, let rows = frame.pointer.pointee.data.0 else {
      throw .unsupportedPixels(path: path, format: shape.format.name)
    }
    let black = shape.isLimitedRange ? 16 << (depth - 8) : 0
    let range = shape.isLimitedRange ? 219 << (depth - 8) : 1 << depth - 1
    let pixels = [UInt8](unsafeUninitializedCapacity: shape.width * shape.height * 3) { target, count in
      for row in 0..<shape.height {
        for column in 0..<shape.width {
          let bytes: UnsafeMutablePointer<UInt8> = rows + row * stride + column * 2
          let value = shape.format.isBigEndian ? Int(bytes[0]) << 8 | Int(bytes[1]) : Int(bytes[1]) << 8 | Int(bytes[0])
          let level = UInt8(clamping: (max(0, value - black) * 255 + range / 2) / range)
          for channel in 0..<3 { target[count + channel] = level }
          count += 3
        }
      }
    }
    return RGBImage(checkedWidth: shape.width, height: shape.height, pixels: pixels)
  }

  private func note(_ frame: AVFrame) {
    switch frame.color_trc {
    case AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67: warn("high dynamic range: colours are used as stored, without tone mapping")
    default: break
    }
    let aspect = frame.sample_aspect_ratio
    if aspect.num > 0, aspect.den > 0, aspect.num != aspect.den {
      warn("pixels are not square (\(aspect.num):\(aspect.den)): frames are used as stored, not stretched")
    }
    if frame.colorspace == AVCOL_SPC_YCGCO { warn("the colour matrix YCgCo is not supported: BT.601 is used instead") }
  }

  private func warn(_ text: String) {
    if !warnings.contains(text) { warnings.append(text) }
  }
}

/// Rows without padding; RGBA flattened onto white.
private func packed(_ source: [UInt8], stride: Int, _ width: Int, _ height: Int, alpha: ImageHeader.Alpha?) -> [UInt8] {
  [UInt8](unsafeUninitializedCapacity: width * height * 3) { target, count in
    source.withUnsafeBufferPointer { source in
      guard let from = source.baseAddress, let to = target.baseAddress else { return }
      for row in 0..<height {
        let line: UnsafePointer<UInt8> = from + row * stride
        let out: UnsafeMutablePointer<UInt8> = to + row * width * 3
        guard let alpha else {
          out.update(from: line, count: width * 3)
          continue
        }
        for column in 0..<width {
          let part = Int(line[column * 4 + 3])
          for channel in 0..<3 {
            let color = Int(line[column * 4 + channel])
            let onWhite: Int = alpha == .premultiplied ? color * 255 + 255 * (255 - part) : color * part + 255 * (255 - part)
            out[column * 3 + channel] = UInt8(clamping: (onWhite + 127) / 255)
          }
        }
      }
    }
    count = width * height * 3
  }
}

extension AVPixelFormat {
  fileprivate var name: String { av_get_pix_fmt_name(self).map { String(cString: $0) } ?? "unknown" }

  /// Bits of a component.
  fileprivate var depth: Int { av_pix_fmt_desc_get(self).map { Int($0.pointee.comp.0.depth) } ?? 8 }

  private var flags: UInt64 { av_pix_fmt_desc_get(self)?.pointee.flags ?? 0 }

  /// A palette may have transparent colours, so it counts as alpha.
  var hasAlpha: Bool { flags & UInt64(AV_PIX_FMT_FLAG_ALPHA | AV_PIX_FMT_FLAG_PAL) != 0 }

  /// One component, or two with alpha.
  fileprivate var isGray: Bool {
    guard let description = av_pix_fmt_desc_get(self) else { return false }
    return description.pointee.nb_components <= 2 && flags & UInt64(AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM) == 0
  }

  fileprivate var isRGB: Bool { flags & UInt64(AV_PIX_FMT_FLAG_RGB) != 0 }

  /// Halvings of chroma.
  fileprivate var chromaShift: (columns: Int, rows: Int) {
    av_pix_fmt_desc_get(self).map { (Int($0.pointee.log2_chroma_w), Int($0.pointee.log2_chroma_h)) } ?? (0, 0)
  }

  fileprivate var isBigEndian: Bool { flags & UInt64(AV_PIX_FMT_FLAG_BE) != 0 }

  fileprivate var isFloat: Bool { flags & UInt64(AV_PIX_FMT_FLAG_FLOAT) != 0 }

  /// The old formats whose name said “full range”, without that.
  fileprivate var withoutRange: AVPixelFormat {
    switch self {
    case AV_PIX_FMT_YUVJ411P: AV_PIX_FMT_YUV411P
    case AV_PIX_FMT_YUVJ420P: AV_PIX_FMT_YUV420P
    case AV_PIX_FMT_YUVJ422P: AV_PIX_FMT_YUV422P
    case AV_PIX_FMT_YUVJ440P: AV_PIX_FMT_YUV440P
    case AV_PIX_FMT_YUVJ444P: AV_PIX_FMT_YUV444P
    default: self
    }
  }
}

/// A decoded picture with less chroma than luma: gives parts of it with chroma at every pixel, three parts of the nearer sample and one of
/// the farther one in each direction, as image libraries do it. (libav's converter shifts chroma of half the height by half a row.)
struct ChromaUpsampler {
  private let frame: Frame
  private let width: Int
  private let height: Int
  private let isWide: Bool
  private let isHigh: Bool
  private let isDeep: Bool
  private let planes: [Frame.Plane]
  /// The same format with all chroma.
  private let format: AVPixelFormat

  /// nil where a picture has all its chroma, or a layout of its own.
  init?(_ frame: Frame) {
    let source = frame.pointer.pointee
    let stored = AVPixelFormat(source.format)
    guard let description = av_pix_fmt_desc_get(stored)?.pointee, let name = av_get_pix_fmt_name(stored).map({ String(cString: $0) }) else {
      return nil
    }
    isWide = description.log2_chroma_w == 1
    isHigh = description.log2_chroma_h == 1
    guard isWide || isHigh, description.log2_chroma_w < 2, description.log2_chroma_h < 2, description.nb_components >= 3,
      description.flags & UInt64(AV_PIX_FMT_FLAG_PLANAR) != 0, description.flags & UInt64(AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_RGB) == 0,
      description.comp.1.step == description.comp.0.step
    else { return nil }
    // yuv420p, yuvj420p, yuva420p, yuv422p10le, …
    format = av_get_pix_fmt(["420", "422", "440"].reduce(name) { $0.replacing($1, with: "444") })
    planes = (0..<Int(description.nb_components)).compactMap { frame.plane($0) }
    guard format != AV_PIX_FMT_NONE, format != stored, planes.count == Int(description.nb_components) else { return nil }
    self.frame = frame
    width = Int(source.width)
    height = Int(source.height)
    isDeep = description.comp.0.depth > 8
  }

  func rows(_ rows: Range<Int>) throws(VideoError) -> Frame {
    let result = try Frame()
    guard av_frame_copy_props(result.pointer, frame.pointer) >= 0 else { throw .outOfMemory }
    result.pointer.pointee.format = format.rawValue
    result.pointer.pointee.width = Int32(width)
    result.pointer.pointee.height = Int32(rows.count)
    guard av_frame_get_buffer(result.pointer, 0) >= 0 else { throw .outOfMemory }
    for (plane, from) in planes.enumerated() {
      guard let to = result.plane(plane) else { throw .outOfMemory }
      if plane == 0 || plane == 3 {
        let length = width * (isDeep ? 2 : 1)
        for row in rows { (to.start + (row - rows.lowerBound) * to.stride).update(from: from.start + row * from.stride, count: length) }
      } else if isDeep {
        upsample(from, to, rows, of: UInt16.self)
      } else {
        upsample(from, to, rows, of: UInt8.self)
      }
    }
    return result
  }

  private func upsample<Sample: FixedWidthInteger & UnsignedInteger>(
    _ from: Frame.Plane, _ to: Frame.Plane, _ rows: Range<Int>, of: Sample.Type
  ) {
    func samples(_ plane: Frame.Plane, _ row: Int) -> UnsafeMutablePointer<Sample> {
      UnsafeMutableRawPointer(plane.start + row * plane.stride).assumingMemoryBound(to: Sample.self)
    }
    let columns = isWide ? (width + 1) / 2 : width
    let lines = isHigh ? (height + 1) / 2 : height
    // Quarters, then sixteenths.
    var sums = [Int](repeating: 0, count: columns)
    sums.withUnsafeMutableBufferPointer { sums in
      for row in rows {
        let (near, far) = neighbours(row, lines, isHigh)
        let nearer = samples(from, near)
        let farther = samples(from, far)
        let line = samples(to, row - rows.lowerBound)
        for column in 0..<columns { sums[column] = Int(nearer[column]) * 3 + Int(farther[column]) }
        for column in 0..<width {
          let (near, far) = neighbours(column, columns, isWide)
          line[column] = Sample(truncatingIfNeeded: (sums[near] * 3 + sums[far] + 8) >> 4)
        }
      }
    }
  }

  /// The nearest of `count` samples to a pixel, and the next one.
  @inline(__always) private func neighbours(_ pixel: Int, _ count: Int, _ isHalved: Bool) -> (Int, Int) {
    guard isHalved else { return (pixel, pixel) }
    let near = pixel >> 1
    return (near, pixel & 1 == 0 ? max(0, near - 1) : min(count - 1, near + 1))
  }
}

extension Frame {
  /// Chroma that libav's converter interpolates, and does not put where it belongs.
  fileprivate var hasUnevenChroma: Bool {
    let (columns, rows) = AVPixelFormat(pointer.pointee.format).chromaShift
    return pointer.pointee.height % 2 != 0 ? columns + rows > 0 : rows > 0 && columns == 0
  }

  fileprivate typealias Plane = (start: UnsafeMutablePointer<UInt8>, stride: Int)

  fileprivate func plane(_ index: Int) -> Plane? {
    let (data, strides) = (pointer.pointee.data, pointer.pointee.linesize)
    let places = [data.0, data.1, data.2, data.3]
    let lengths = [strides.0, strides.1, strides.2, strides.3]
    return places[index].map { ($0, Int(lengths[index])) }
  }
}
