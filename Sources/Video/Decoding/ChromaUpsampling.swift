import CLibAV

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension Frame {
  /// The same picture with chroma at every pixel, for image files: three parts of the nearer sample and one of the farther one in each direction, as
  /// image libraries do it. (libav's converter shifts chroma of half the height by half a row.) The picture itself where nothing is to be done.
  func withFullChroma() throws(VideoError) -> Frame {
    let source = pointer.pointee, format = AVPixelFormat(source.format)
    guard let description = av_pix_fmt_desc_get(format)?.pointee, let name = av_get_pix_fmt_name(format).map({ String(cString: $0) }) else { return self }
    let isWide = description.log2_chroma_w == 1, isHigh = description.log2_chroma_h == 1
    guard isWide || isHigh, description.log2_chroma_w < 2, description.log2_chroma_h < 2, description.nb_components >= 3,
      description.flags & UInt64(AV_PIX_FMT_FLAG_PLANAR) != 0, description.flags & UInt64(AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_RGB) == 0,
      description.comp.1.step == description.comp.0.step
    else { return self }
    // yuvj420p, yuva420p, yuv422p10le, …
    let full = ["420", "422", "440"].reduce(name.replacing("yuvj", with: "yuv")) { $0.replacing($1, with: "444") }
    let target = av_get_pix_fmt(full)
    guard target != AV_PIX_FMT_NONE, target != format else { return self }

    let result = try Frame()
    guard av_frame_copy_props(result.pointer, pointer) >= 0 else { throw .outOfMemory }
    result.pointer.pointee.format = target.rawValue
    result.pointer.pointee.width = source.width
    result.pointer.pointee.height = source.height
    // The old formats' names say the range.
    if name.hasPrefix("yuvj") { result.pointer.pointee.color_range = AVCOL_RANGE_JPEG }
    guard av_frame_get_buffer(result.pointer, 0) >= 0 else { throw .outOfMemory }
    let width = Int(source.width), height = Int(source.height), isDeep = description.comp.0.depth > 8
    for plane in 0..<Int(description.nb_components) {
      guard let from = self.plane(plane), let to = result.plane(plane) else { throw .outOfMemory }
      if plane == 0 || plane == 3 {
        for row in 0..<height { memcpy(to.start + row * to.stride, from.start + row * from.stride, width * (isDeep ? 2 : 1)) }
      } else if isDeep {
        Upsampling<UInt16>(width: width, height: height, isWide: isWide, isHigh: isHigh).run(from, to)
      } else {
        Upsampling<UInt8>(width: width, height: height, isWide: isWide, isHigh: isHigh).run(from, to)
      }
    }
    return result
  }

  fileprivate typealias Plane = (start: UnsafeMutablePointer<UInt8>, stride: Int)

  private func plane(_ index: Int) -> Plane? {
    let (data, strides) = (pointer.pointee.data, pointer.pointee.linesize)
    let places = [data.0, data.1, data.2, data.3], lengths = [strides.0, strides.1, strides.2, strides.3]
    return places[index].map { ($0, Int(lengths[index])) }
  }
}

/// Chroma of a picture of this size, twice as wide or high or both.
private struct Upsampling<Sample: FixedWidthInteger & UnsignedInteger> {
  let width: Int
  let height: Int
  let isWide: Bool
  let isHigh: Bool

  func run(_ from: Frame.Plane, _ to: Frame.Plane) {
    let columns = isWide ? (width + 1) / 2 : width, rows = isHigh ? (height + 1) / 2 : height
    // Sixteenths.
    var sums = [Int](repeating: 0, count: columns)
    sums.withUnsafeMutableBufferPointer { sums in
      for row in 0..<height {
        let (near, far) = neighbours(row, rows, isHigh)
        let nearer = samples(from, near), farther = samples(from, far), line = samples(to, row)
        for column in 0..<columns { sums[column] = Int(nearer[column]) * 3 + Int(farther[column]) }
        for column in 0..<width {
          let (near, far) = neighbours(column, columns, isWide)
          line[column] = Sample(truncatingIfNeeded: (sums[near] * 3 + sums[far] + 8) >> 4)
        }
      }
    }
  }

  private func samples(_ plane: Frame.Plane, _ row: Int) -> UnsafeMutablePointer<Sample> {
    UnsafeMutableRawPointer(plane.start + row * plane.stride).assumingMemoryBound(to: Sample.self)
  }

  /// The nearest of `count` samples to a pixel, and the next one.
  @inline(__always) private func neighbours(_ pixel: Int, _ count: Int, _ isHalved: Bool) -> (Int, Int) {
    guard isHalved else { return (pixel, pixel) }
    let near = pixel >> 1
    return (near, pixel & 1 == 0 ? max(0, near - 1) : min(count - 1, near + 1))
  }
}
