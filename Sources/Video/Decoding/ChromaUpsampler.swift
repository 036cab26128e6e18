import CLibAV

/// A decoded picture with less chroma than luma, for image files: gives parts of it with chroma at every pixel, three parts of the nearer sample
/// and one of the farther one in each direction, as image libraries do it. (libav's converter shifts chroma of half the height by half a row.)
struct ChromaUpsampler {
  private let frame: Frame
  private let width: Int
  private let height: Int
  private let isWide: Bool
  private let isHigh: Bool
  private let isDeep: Bool
  private let planes: Int
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
    guard format != AV_PIX_FMT_NONE, format != stored else { return nil }
    self.frame = frame
    width = Int(source.width)
    height = Int(source.height)
    isDeep = description.comp.0.depth > 8
    planes = Int(description.nb_components)
  }

  func rows(_ rows: Range<Int>) throws(VideoError) -> Frame {
    let result = try Frame()
    guard av_frame_copy_props(result.pointer, frame.pointer) >= 0 else { throw .outOfMemory }
    result.pointer.pointee.format = format.rawValue
    result.pointer.pointee.width = Int32(width)
    result.pointer.pointee.height = Int32(rows.count)
    guard av_frame_get_buffer(result.pointer, 0) >= 0 else { throw .outOfMemory }
    for plane in 0..<planes {
      guard let from = frame.plane(plane), let to = result.plane(plane) else { throw .outOfMemory }
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
  fileprivate typealias Plane = (start: UnsafeMutablePointer<UInt8>, stride: Int)

  fileprivate func plane(_ index: Int) -> Plane? {
    let (data, strides) = (pointer.pointee.data, pointer.pointee.linesize)
    let places = [data.0, data.1, data.2, data.3]
    let lengths = [strides.0, strides.1, strides.2, strides.3]
    return places[index].map { ($0, Int(lengths[index])) }
  }
}
