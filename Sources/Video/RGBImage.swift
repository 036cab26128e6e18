/// A picture of 8-bit RGB pixels.
public struct RGBImage: Sendable, Equatable {
  public let width: Int
  public let height: Int
  /// Height × width × 3, row by row, red first; no padding.
  public let pixels: [UInt8]

  /// Fails with `invalidImage` unless both sides are at least 1 and `pixels` holds exactly that many pixels.
  package init(width: Int, height: Int, pixels: [UInt8]) throws(VideoError) {
    let (area, overflow) = width.multipliedReportingOverflow(by: height)
    let (bytes, overflowToo) = area.multipliedReportingOverflow(by: 3)
    guard width > 0, height > 0, !overflow, !overflowToo, bytes == pixels.count else {
      throw .invalidImage(width: width, height: height, bytes: pixels.count)
    }
    self.init(checkedWidth: width, height: height, pixels: pixels)
  }

  /// For sizes that are known to agree.
  init(checkedWidth width: Int, height: Int, pixels: [UInt8]) {
    self.width = width
    self.height = height
    self.pixels = pixels
  }
}
